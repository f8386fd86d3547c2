"""Every threshold is scored by skeletons as its segmentation volume would be, with few reads of the fragments."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.skeleton_scores import score_skeletons
from sparse2dense.ops.skeletonisation import skeletonise
from sparse2dense.ops.skeletons import Skeletons, crop
from sparse2dense.stages.agglomerating import make_graph, make_merge_tree, read_merge_tree
from sparse2dense.stages.segmenting import make_fragments
from sparse2dense.stages.skeleton_scoring import COLUMNS, EDITS, fragments_of_nodes, score_by_skeletons
from sparse2dense.volumes.skeleton_files import write_graphml
from sparse2dense.volumes.volume import Volume, create_volume, open_volume
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

SHAPE, VOXEL_SIZE, OFFSET = (10, 30, 33), (20.5, 4.1, 8.0), (1000.25, -40.0, 8.3)
THRESHOLDS: list[float | str] = [0.1, "0.30", 0.58]


def points(position: np.ndarray) -> Skeletons:
    """Return nodes at these places, without edges."""
    count = len(position)
    ids = np.arange(1, count + 1, dtype=np.uint64)
    return Skeletons(ids, ids, position.astype(np.float64), np.zeros((0, 2), np.int64))


@pytest.fixture
def segmented(tmp_path: Path) -> Path:
    """A folder with fragments, merge tree and skeletons of twelve objects, of which the volume lacks a part."""
    truth = voronoi((12, 30, 33), 12)
    values = np.round(noisy_affinities(truth[:10], noise=0.35) * 255).astype(np.uint8)
    create_volume(
        tmp_path / "affinities.zarr", values.shape, "uint8", voxel_size=VOXEL_SIZE, offset=OFFSET, axes="czyx",
        attributes={"offsets": OFFSETS},
    )[...] = values  # fmt: skip
    make_fragments(tmp_path / "affinities.zarr", tmp_path / "fragments.zarr", seed_distance=4)
    make_graph(tmp_path / "affinities.zarr", tmp_path / "fragments.zarr", tmp_path / "graph")
    make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet")
    found = skeletonise(truth, VOXEL_SIZE, node_distance_nm=30, offset_nm=OFFSET)
    write_graphml(found, tmp_path / "skeletons.graphml")
    return tmp_path


def test_every_threshold_is_scored_as_its_segmentation(segmented: Path) -> None:
    output = segmented / "scores.csv"
    score_by_skeletons(
        segmented / "fragments.zarr", segmented / "tree.parquet", segmented / "skeletons.graphml", output,
        thresholds=THRESHOLDS, volume="test", track="pseudo",
    )  # fmt: skip
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["threshold"] for row in rows] == ["0.1", "0.3", "0.58"]
    fragments = open_volume(segmented / "fragments.zarr")
    end = [start + side * size for start, side, size in zip(OFFSET, SHAPE, VOXEL_SIZE, strict=True)]
    whole = skeletonise(voronoi((12, 30, 33), 12), VOXEL_SIZE, node_distance_nm=30, offset_nm=OFFSET)
    truth = crop(whole, OFFSET, end)
    assert 0 < len(truth) < len(whole)
    voxel = tuple(np.floor((truth.position - OFFSET) / VOXEL_SIZE).astype(int).T)
    for row in rows:
        segmentation = look_up(fragments[...], *read_merge_tree(segmented / "tree.parquet").cut(row["threshold"]))
        expected = score_skeletons(truth, segmentation[voxel])
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
        assert (row["volume"], row["track"], row["nodes"]) == ("test", "pseudo", str(len(truth)))
    assert len({row["erl_nm"] for row in rows}) == 3
    assert float(rows[0]["mergers"]) < float(rows[2]["mergers"])


def test_edits_are_counted_where_the_graph_is_given(segmented: Path) -> None:
    """Merge trees and mutex watersheds alike; cuts mend mergers, joins splits, and one partition has one count."""
    files = [segmented / name for name in ("fragments.zarr", "tree.parquet", "skeletons.graphml", "scores.csv")]
    names = {"volume": "test", "track": "pseudo"}
    score_by_skeletons(*files, thresholds=[0, 0.3, 1], **names, graph=segmented / "graph", edits_seconds=20)  # type: ignore[arg-type]
    with files[-1].open() as file:
        rows = [{name: float(row[name]) for name in (*EDITS, "mergers")} for row in csv.DictReader(file)]
    assert all(row["edits"] == row["edit_cuts"] + row["edit_joins"] for row in rows)
    assert rows[0]["edit_cuts"] == 0 < rows[0]["edit_joins"], "fragments only need joins"
    assert rows[2]["edit_cuts"] > 0, "all in one segment"
    assert len({row["unsplittable"] for row in rows}) == 1, "that is of the fragments, not of the threshold"
    make_graph(segmented / "affinities.zarr", files[0], segmented / "far", long_range=True)
    files[1] = segmented / "far"
    score_by_skeletons(*files, thresholds=[0, 1], **names, graph=segmented / "far", edits_seconds=20)  # type: ignore[arg-type]
    with files[-1].open() as file:
        mutex = [{name: float(row[name]) for name in (*EDITS, "mergers")} for row in csv.DictReader(file)]
    assert mutex[0] == rows[0]
    assert mutex[1]["mergers"] > 0


def test_nodes_find_their_voxel_in_any_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.arange(np.prod(SHAPE), dtype=np.uint64).reshape(SHAPE) + np.uint64(2**63)
    volume = create_volume(
        tmp_path / "ids.zarr", SHAPE, "uint64", voxel_size=VOXEL_SIZE, offset=OFFSET, chunks=(4, 8, 16)
    )
    volume[...] = ids
    voxels = np.argwhere(ids)
    for within in ([0, 0, 0], [0.5, 0.5, 0.5], [0.999, 0.5, 0]):
        found = fragments_of_nodes(volume, points((voxels + within) * VOXEL_SIZE + OFFSET))
        assert np.array_equal(found, ids.reshape(-1))
    reads: list[Any] = []
    read = Volume.__getitem__

    def counting(volume: Volume, box: Any) -> np.ndarray:
        reads.append(box)
        return read(volume, box)

    monkeypatch.setattr(Volume, "__getitem__", counting)
    few = np.array([[9, 29, 32], [0, 0, 0], [3, 7, 15], [9, 24, 32]])
    found = fragments_of_nodes(volume, points((few + 0.5) * VOXEL_SIZE + OFFSET))
    assert found.tolist() == ids[tuple(few.T)].tolist()
    assert len(reads) == 2, "one read for each chunk that holds nodes"
    assert len(fragments_of_nodes(volume, points(np.zeros((0, 3))))) == 0


def test_skeletons_elsewhere_are_refused(segmented: Path) -> None:
    write_graphml(points(np.array([[0.0, 0, 0], [5, 5, 5]])), segmented / "elsewhere.graphml")
    with pytest.raises(InputError, match=r"2 nodes from \[0\.0, 0\.0, 0\.0\] to \[5\.0, 5\.0, 5\.0\] nm"):
        score_by_skeletons(
            segmented / "fragments.zarr", segmented / "tree.parquet", segmented / "elsewhere.graphml",
            segmented / "scores.csv", thresholds=[0.5], volume="test", track="pseudo",
        )  # fmt: skip
    assert not (segmented / "scores.csv").exists()
