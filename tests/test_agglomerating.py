"""The region graph on disk is that of the whole volume, however it was cut up and whatever interrupted it."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.agglomeration import MergeTree, merge_tree
from sparse2dense.ops.graph import RegionGraph, region_graph
from sparse2dense.ops.mutex_sweep import MutexSweep
from sparse2dense.stages import agglomerating
from sparse2dense.stages.agglomerating import (
    make_graph,
    make_lut,
    make_luts,
    make_merge_tree,
    read_graph,
    read_merge_tree,
)
from sparse2dense.volumes import blockwise, sorted_pieces, tables
from sparse2dense.volumes.tables import read_table, write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import noisy_affinities, voronoi

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -5, 0], [0, 0, 3]]
SHAPE = (9, 21, 23)
PLACE: dict[str, Any] = {"voxel_size": (40.5, 8.0, 8.0), "offset": (-81.0, 16.0, 1000.0)}


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path]:
    """Affinities, and fragments with large ids."""
    labels = voronoi(SHAPE, 30, ids=[0, *(2**63 + 7 * i for i in range(29))])
    values = np.round(noisy_affinities(labels, OFFSETS, noise=0.3) * 255).astype(np.uint8)
    paths = tmp_path / "affinities.zarr", tmp_path / "fragments.zarr"
    create_volume(paths[0], values.shape, "uint8", axes="czyx", attributes={"offsets": OFFSETS}, **PLACE)[...] = values
    create_volume(paths[1], SHAPE, "uint64", labels=True, **PLACE)[...] = labels
    return paths


def assert_equal_graphs(one: RegionGraph, two: RegionGraph) -> None:
    assert set(vars(one)) == set(vars(two))
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(two, name), err_msg=name)


@pytest.mark.parametrize("kinds", [{}, {"histogram": True}, {"long_range": True}], ids=str)
def test_the_graph_does_not_depend_on_blocks_or_workers(
    volumes: tuple[Path, Path], tmp_path: Path, kinds: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockwise, "PATIENCE", 1e-9)
    whole = region_graph(open_volume(volumes[1])[...], open_volume(volumes[0])[...], offsets=OFFSETS, **kinds)
    assert len(whole) > 30
    for block, workers in (((9, 21, 23), 1), ((1, 21, 23), 1), ((4, 5, 7), 2), ((3, 32, 1), 1)):
        make_graph(*volumes, tmp_path / "graph", block_shape=block, workers=workers, **kinds)
        assert_equal_graphs(read_graph(tmp_path / "graph"), whole)
    assert {path.name for path in tmp_path.iterdir()} == {"affinities.zarr", "fragments.zarr", "graph"}


def test_parts_and_a_failure_leave_no_trace(
    volumes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that are done are not done again; what one part left is made up for at the end."""
    calls = []

    def counted(*args: object, **kwargs: object) -> RegionGraph:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return region_graph(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(agglomerating, "region_graph", counted)
    block = (4, 21, 8)
    with pytest.raises(KeyboardInterrupt):
        make_graph(*volumes, tmp_path / "graph", block_shape=block, part=(0, 2))
    make_graph(*volumes, tmp_path / "graph", block_shape=block, part=(1, 2))
    assert not (tmp_path / "graph").exists()
    make_graph(*volumes, tmp_path / "graph", block_shape=block)
    assert len(calls) == 3 * 3 + 1
    whole = region_graph(open_volume(volumes[1])[...], open_volume(volumes[0])[...], offsets=OFFSETS)
    assert_equal_graphs(read_graph(tmp_path / "graph"), whole)


def test_conclude_takes_ranges_and_writes_the_same_bytes(
    volumes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks, rows that are added up at a time, and rows that are written at a time leave no trace in the tables."""
    files = []
    for rows, block in ((2**22, (9, 21, 23)), (40, (4, 9, 8))):
        monkeypatch.setattr(sorted_pieces, "ROWS", rows)
        monkeypatch.setattr(sorted_pieces, "STEP", 4)
        make_graph(*volumes, tmp_path / "graph", block_shape=block, histogram=True, long_range=True)
        files.append({path.name: path.read_bytes() for path in (tmp_path / "graph").iterdir()})
    assert sorted(files[0]) == ["edges.parquet", "fragments.parquet", "histograms.parquet"]
    assert files[0] == files[1]


@pytest.mark.parametrize("merge_function", ["mean", "hist_quant_50", "hist_quant_25_initmax"])
def test_trees_of_differently_cut_graphs_are_the_same(
    volumes: tuple[Path, Path], tmp_path: Path, merge_function: str
) -> None:
    graph = region_graph(
        open_volume(volumes[1])[...], open_volume(volumes[0])[...], offsets=OFFSETS, histogram=merge_function != "mean"
    )
    expected = merge_tree(graph, merge_function)
    assert len(expected.a) > 20
    for block, workers in (((9, 21, 23), 1), ((2, 5, 11), 2)):
        make_graph(*volumes, tmp_path / "graph", block_shape=block, workers=workers, histogram=merge_function != "mean")
        make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet", merge_function=merge_function)
        tree = read_merge_tree(tmp_path / "tree.parquet")
        for name in ("fragments", "a", "b", "score"):
            np.testing.assert_array_equal(getattr(tree, name), getattr(expected, name))


def test_fragments_of_another_place_are_refused(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.zarr"
    create_volume(other, SHAPE, "uint64", labels=True, voxel_size=(40.5, 8, 8))
    with pytest.raises(InputError, match=r"elsewhere\.zarr cover"):
        make_graph(volumes[0], other, tmp_path / "graph")


def test_a_graph_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"edges\.parquet doesn't exist"):
        read_graph(tmp_path / "graph")


@pytest.mark.parametrize("batch", [2**16, 7, 1])
def test_a_look_up_table_is_the_cut_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Whatever is read and written at a time; scores that fall again, fragments that never merge, ids around 2^63."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.arange(2**63 - 30, 2**63 + 30, dtype=np.uint64))
    into = ids[[rng.integers(0, place + 1) for place in range(45)]]
    score = np.round(np.linspace(0, 1, 45) + rng.uniform(-0.1, 0.1, 45), 2)
    alone = ids[46:]
    columns = {"a": [into, alone], "b": [ids[1:46], alone], "score": [score, np.full(len(alone), np.inf)]}
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    monkeypatch.setattr(agglomerating, "BATCH", batch)
    monkeypatch.setattr(tables, "BATCH", batch)
    write_table(tmp_path / "tree.parquet", whole, {})
    segments, thresholds = [], ("-1", "0", str(score[20]), "0.5", "2", "3")
    make_luts(tmp_path / "tree.parquet", {threshold: tmp_path / threshold for threshold in reversed(thresholds)})
    for threshold in thresholds:
        make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold=threshold)
        fragment, segment = read_table(tmp_path / "lut.parquet", "fragment", "segment")
        known = MergeTree(np.sort(ids), into, ids[1:46], score)
        assert [fragment.tolist(), segment.tolist()] == [column.tolist() for column in known.cut(threshold)]
        assert fragment.dtype == segment.dtype == np.uint64
        assert (tmp_path / threshold).read_bytes() == (tmp_path / "lut.parquet").read_bytes()
        segments.append(int(segment.max()))
    assert (segments[0], segments[-1]) == (60, 15)
    assert 15 < segments[2] < 60


def test_repulsion_is_for_graphs_and_theirs_has_one_default(volumes: tuple[Path, Path], tmp_path: Path) -> None:
    """What a tree gives is the same file whatever the repulsion; a graph without a word has that of the library."""
    make_graph(*volumes, tmp_path / "graph", long_range=True)
    make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet")
    for source in ("graph", "tree.parquet"):
        for repulsion in (None, 0.0, MutexSweep.repulsion):
            lut = tmp_path / f"{source}.{repulsion}"
            make_lut(tmp_path / source, lut, threshold="0.6", repulsion=repulsion)
    tree = {(tmp_path / f"tree.parquet.{repulsion}").read_bytes() for repulsion in (None, 0.0, MutexSweep.repulsion)}
    graph = [(tmp_path / f"graph.{repulsion}").read_bytes() for repulsion in (None, MutexSweep.repulsion, 0.0)]
    assert len(tree) == 1
    assert graph[0] == graph[1] != graph[2]


def test_no_fragments_have_an_empty_look_up_table(tmp_path: Path) -> None:
    none = np.zeros(0, np.uint64)
    write_table(tmp_path / "tree.parquet", {"a": none, "b": none, "score": none.astype(np.float64)}, {})
    make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold="0.5")
    columns = read_table(tmp_path / "lut.parquet", "fragment", "segment")
    assert [(len(column), column.dtype) for column in columns] == [(0, np.uint64)] * 2


def test_a_look_up_table_needs_the_ids_of_the_tree_and_little_more(tmp_path: Path) -> None:
    """16 bytes per fragment are two columns of ids; what is read and written at a time adds the same to any tree."""
    ids = np.arange(2**63, 2**63 + 400_000, dtype=np.uint64)
    write_table(tmp_path / "tree.parquet", {"a": ids, "b": ids[::-1], "score": np.linspace(0, 1, len(ids))}, {})
    make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold="0.5")
    tracemalloc.start()
    try:
        make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold="0.5")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * len(ids)
    assert np.array_equal(read_table(tmp_path / "lut.parquet", "fragment")[0], ids)
