"""Fragments, merge tree, look-up tables and segmentations as files."""

import shutil
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pyarrow.parquet as pq
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.agglomeration import merge_tree
from sparse2dense.ops.fragments import crop_fragments, watershed_fragments
from sparse2dense.ops.graph import region_graph
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.stages import segmenting, sourcecode
from sparse2dense.stages.agglomerating import make_graph, make_lut, make_merge_tree, read_merge_tree
from sparse2dense.stages.segmenting import make_fragments, write_segmentation
from sparse2dense.volumes import provenance, tables
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.tables import growing_table, read_table, table_facts, write_table
from sparse2dense.volumes.volume import Volume, create_volume, open_volume
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

VOXEL_SIZE, OFFSET = (40.5, 8.0, 8.0), (-81.0, 16.0, 1000.0)
SHAPE = (9, 31, 37)


@pytest.fixture
def affinities(tmp_path: Path) -> Path:
    """Noisy affinities of ten objects, channels in an unusual order."""
    offsets = [[0, 0, -1], [-1, 0, 0], [0, -5, 0], [0, -1, 0]]
    values = np.round(noisy_affinities(voronoi(SHAPE, 10), offsets, noise=0.3) * 255).astype(np.uint8)
    path = tmp_path / "affinities.zarr"
    volume = create_volume(
        path, values.shape, "uint8", voxel_size=VOXEL_SIZE, offset=OFFSET, axes="czyx", attributes={"offsets": offsets}
    )
    volume[...] = values
    return path


def test_a_commit_changes_nothing_and_code_does(
    affinities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs that share a volume go on over a commit; what other code made is never gathered."""
    output = tmp_path / "fragments.zarr"

    def work(part: tuple[int, int]) -> None:
        caplog.clear()
        make_fragments(affinities, output, block_shape=(4, 16, 16), part=part)

    caplog.set_level("INFO")
    monkeypatch.setattr(provenance, "git_commit", lambda: "0123456789abcdef")
    work((0, 2))
    monkeypatch.setattr(provenance, "git_commit", lambda: "fedcba9876543210+")
    work((1, 2))
    with monkeypatch.context() as edited, pytest.raises(InputError, match="other settings, inputs or code"):
        edited.setattr(sourcecode, "code_hash", lambda *_: "of other code")
        work((2, 2))
    work((2, 2))
    assert "computed 0 of" in caplog.text
    assert open_volume(output)[...].any()
    assert not list(tmp_path.glob("*.partial*"))


def test_the_whole_way_gives_what_the_functions_give(affinities: Path, tmp_path: Path) -> None:
    make_fragments(affinities, tmp_path / "fragments.zarr", seed_distance=5, debris=3)
    make_graph(affinities, tmp_path / "fragments.zarr", tmp_path / "graph")
    make_merge_tree(tmp_path / "graph", tmp_path / "merge_tree.parquet")
    make_lut(tmp_path / "merge_tree.parquet", tmp_path / "luts/0.58.parquet", threshold=0.58)
    write_segmentation(tmp_path / "fragments.zarr", tmp_path / "luts/0.58.parquet", tmp_path / "segmentation/0.58.zarr")

    source = open_volume(affinities)
    offsets = source.attributes["offsets"]
    fragments = watershed_fragments(source[...], offsets=offsets, seed_distance=5, debris=3, voxel_size=VOXEL_SIZE)
    tree = merge_tree(region_graph(fragments, source[...], offsets=offsets))
    written = open_volume(tmp_path / "fragments.zarr")
    assert np.array_equal(written[...], fragments)
    assert (written.voxel_size, written.offset, written.dtype) == (VOXEL_SIZE, OFFSET, np.uint64)
    assert written.attributes["provenance"]["settings"]["debris"] == 3
    assert table_facts(tmp_path / "merge_tree.parquet")["method"] == "mean"

    segmentation = open_volume(tmp_path / "segmentation/0.58.zarr")
    ids, segments = tree.cut("0.58")
    assert np.array_equal(segmentation[...], np.concatenate([[0], segments]).astype(np.uint64)[fragments])
    assert np.array_equal(ids, read_table(tmp_path / "luts/0.58.parquet", "fragment")[0])
    assert (segmentation.voxel_size, segmentation.offset) == (VOXEL_SIZE, OFFSET)
    assert 1 < segments.max() < len(ids)
    assert score(overlaps(fragments, segmentation[...]))["voi_split"] == 0
    assert not list(tmp_path.rglob("*.partial*"))


def test_every_merge_function_makes_its_tree(affinities: Path, tmp_path: Path) -> None:
    make_fragments(affinities, tmp_path / "fragments.zarr", seed_distance=5)
    source, fragments = open_volume(affinities), open_volume(tmp_path / "fragments.zarr")[...]
    graph = region_graph(fragments, source[...], offsets=source.attributes["offsets"], histogram=True)
    scores = []
    for name in ("mean", "hist_quant_75", "hist_quant_75_initmax"):
        make_graph(affinities, tmp_path / "fragments.zarr", tmp_path / "graph", histogram=name != "mean")
        make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet", merge_function=name)
        assert table_facts(tmp_path / "tree.parquet")["method"] == name
        scores.append(read_merge_tree(tmp_path / "tree.parquet").score.tolist())
        assert scores[-1] == merge_tree(graph, name).score.tolist()
    assert len(set(map(tuple, scores))) == 3


def test_the_same_settings_give_the_same_bytes(affinities: Path, tmp_path: Path) -> None:
    outputs = []
    for _ in range(2):
        make_fragments(affinities, tmp_path / "fragments.zarr")
        make_graph(affinities, tmp_path / "fragments.zarr", tmp_path / "graph")
        make_merge_tree(tmp_path / "graph", tmp_path / "merge_tree.parquet")
        make_lut(tmp_path / "merge_tree.parquet", tmp_path / "lut.parquet", threshold="0.4")
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        outputs.append({path: path.read_bytes() for path in files})
    assert outputs[0] == outputs[1]


def test_fragments_that_never_merge_are_in_the_tree(tmp_path: Path) -> None:
    values = np.zeros((3, 3, 8, 9), np.uint8)
    values[:, :, :, :3] = values[:, :, :, 6:] = 255
    source = tmp_path / "affinities.zarr"
    create_volume(source, values.shape, "uint8", voxel_size=(8, 8, 8), axes="czyx", attributes={"offsets": OFFSETS})[
        ...
    ] = values
    make_fragments(source, tmp_path / "fragments.zarr")
    make_graph(source, tmp_path / "fragments.zarr", tmp_path / "graph")
    make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet")
    make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold=1)
    assert read_merge_tree(tmp_path / "tree.parquet").fragments.tolist() == [1, 2]
    assert read_table(tmp_path / "lut.parquet", "segment")[0].tolist() == [1, 2]


def test_no_foreground_goes_through(tmp_path: Path) -> None:
    source = tmp_path / "affinities.zarr"
    create_volume(source, (3, 2, 5, 7), "uint8", voxel_size=(8, 8, 8), axes="czyx", attributes={"offsets": OFFSETS})
    make_fragments(source, tmp_path / "fragments.zarr")
    make_graph(source, tmp_path / "fragments.zarr", tmp_path / "graph")
    make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet")
    make_lut(tmp_path / "tree.parquet", tmp_path / "lut.parquet", threshold=0.5)
    write_segmentation(tmp_path / "fragments.zarr", tmp_path / "lut.parquet", tmp_path / "segmentation.zarr")
    assert not open_volume(tmp_path / "segmentation.zarr")[...].any()


def test_there_are_no_fragments_outside_the_mask(affinities: Path, tmp_path: Path) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :10] = 0
    for name, offset in (("tissue.zarr", OFFSET), ("elsewhere.zarr", (0, 0, 0))):
        create_volume(tmp_path / name, SHAPE, "uint8", voxel_size=VOXEL_SIZE, offset=offset)[...] = mask
    make_fragments(affinities, tmp_path / "fragments.zarr", mask=tmp_path / "tissue.zarr")
    fragments = open_volume(tmp_path / "fragments.zarr")[...]
    assert fragments.any()
    assert not fragments[:, :10].any()
    with pytest.raises(InputError, match=r"elsewhere.zarr covers .* not the same place"):
        make_fragments(affinities, tmp_path / "fragments.zarr", mask=tmp_path / "elsewhere.zarr")


def test_a_fragment_without_segment_leaves_no_segmentation(tmp_path: Path) -> None:
    ids = np.array([3, 2**63 + 1], np.uint64)
    create_volume(tmp_path / "fragments.zarr", (1, 2, 3), "uint64", voxel_size=(8, 8, 8), labels=True)[0, 0, :2] = ids
    write_table(tmp_path / "lut.parquet", {"fragment": ids[:1], "segment": np.ones(1, np.uint64)}, {})
    with pytest.raises(InputError, match="for example 9223372036854775809, are missing"):
        write_segmentation(tmp_path / "fragments.zarr", tmp_path / "lut.parquet", tmp_path / "segmentation.zarr")
    assert not (tmp_path / "segmentation.zarr").exists()
    write_table(tmp_path / "lut.parquet", {"fragment": ids, "segment": np.array([1, 2], np.uint64)}, {})
    write_segmentation(tmp_path / "fragments.zarr", tmp_path / "lut.parquet", tmp_path / "segmentation.zarr")
    assert open_volume(tmp_path / "segmentation.zarr")[0, 0].tolist() == [1, 2, 0]
    assert not list(tmp_path.glob("*.partial*"))


def test_a_segmentation_doesnt_depend_on_blocks_workers_or_parts(tmp_path: Path) -> None:
    fragments = voronoi(SHAPE, 30, ids=[0, *range(2**63, 2**63 + 29)])
    source, lut, output = (tmp_path / name for name in ("fragments.zarr", "lut.parquet", "0.5.zarr"))
    create_volume(source, SHAPE, "uint64", voxel_size=VOXEL_SIZE, offset=OFFSET, labels=True, chunks=(2, 16, 8))[
        ...
    ] = fragments
    ids = np.unique(fragments)[1:]
    segments = np.arange(len(ids), dtype=np.uint64) // 3 + np.uint64(2**63)
    write_table(lut, {"fragment": ids, "segment": segments}, {})
    write_segmentation(source, lut, output)
    whole = files(output)
    written = open_volume(output)
    assert np.array_equal(written[...], look_up(fragments, ids, segments))
    assert (written.voxel_size, written.offset) == (VOXEL_SIZE, OFFSET)
    for block_shape, workers in (((1, 1, 1), 1), ((3, 17, 9), 2), ((5, 40, 16), 1)):
        write_segmentation(source, lut, output, block_shape=block_shape, workers=workers)
        assert files(output) == whole
    shutil.rmtree(output)
    for part in ((1, 2), (0, 2), None):
        assert not output.exists()
        write_segmentation(source, lut, output, block_shape=(3, 17, 9), part=part)
    assert files(output) == whole


BLOCK = (5, 11, 16)


def files(store: Path) -> dict[str, bytes]:
    """Content of every file of a store by its relative path."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("per_section", [False, True])
@pytest.mark.parametrize("context", [(0, 0, 0), (2, 7, 3)])
def test_blocks_cover_the_foreground_with_fragments_of_their_own(
    affinities: Path, tmp_path: Path, per_section: bool, context: tuple[int, int, int]
) -> None:
    make_fragments(
        affinities, tmp_path / "f.zarr", per_section=per_section, seed_distance=5, block_shape=BLOCK, context=context
    )
    volume = open_volume(tmp_path / "f.zarr")
    assert all(side % chunk == 0 for side, chunk in zip(BLOCK, volume.array.chunks, strict=True))
    tiles = blocks(SHAPE, BLOCK)
    assert len(tiles) == 18
    for tile in tiles:
        found = volume[tile.write]
        ids = np.unique(found[found > 0])
        local = ids - np.uint64(tile.index * np.prod(BLOCK))
        assert np.array_equal(local, np.arange(1, len(ids) + 1))
        assert cc3d.connected_components(found, connectivity=6).max() == len(ids)
    source = open_volume(affinities)
    whole = watershed_fragments(source[...], offsets=source.attributes["offsets"], per_section=per_section)
    # without context, the first voxels of a block don't know their predecessors
    if context != (0, 0, 0):
        assert np.array_equal(volume[...] > 0, whole > 0)


def test_blocks_that_see_the_whole_volume_hold_what_it_holds(affinities: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed_distance": (3, 9, 9), "debris": 30, "minimum_affinity": 0.4, "fill_holes": True}
    make_fragments(affinities, tmp_path / "f.zarr", block_shape=BLOCK, context=SHAPE, **settings)
    source = open_volume(affinities)
    whole = watershed_fragments(source[...], offsets=source.attributes["offsets"], voxel_size=VOXEL_SIZE, **settings)
    volume = open_volume(tmp_path / "f.zarr")
    for tile in blocks(SHAPE, BLOCK):
        expected = crop_fragments(whole, tile.write)
        assert np.array_equal(volume[tile.write], np.where(expected > 0, expected + tile.index * 5 * 11 * 16, 0))
    assert volume[...].max() > 17 * 5 * 11 * 16


def test_the_number_of_workers_and_interruptions_dont_show(
    affinities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"seed_distance": 5, "block_shape": BLOCK, "context": (1, 4, 4)}
    output = tmp_path / "fragments.zarr"
    make_fragments(affinities, output, **settings)
    alone = files(output)
    make_fragments(affinities, output, workers=2, **settings)
    assert files(output) == alone

    shutil.rmtree(output)
    number = segmenting.number_in_block
    done: list[int] = []

    def killed(fragments: np.ndarray, block: int, voxels: int) -> np.ndarray:
        if block == 7 and 7 not in done:
            done.append(7)
            raise KeyboardInterrupt
        done.append(block)
        return number(fragments, block, voxels)

    monkeypatch.setattr(segmenting, "number_in_block", killed)
    with pytest.raises(KeyboardInterrupt):
        make_fragments(affinities, output, **settings)
    assert not output.exists()
    make_fragments(affinities, output, **settings)
    assert done == [*range(8), *range(7, 18)]
    assert files(output) == alone
    make_fragments(affinities, output, **{**settings, "context": (2, 4, 4)})
    assert files(output) != alone


def test_an_object_that_a_block_cuts_is_no_debris(tmp_path: Path) -> None:
    values = np.zeros((3, 6, 20, 32), np.uint8)
    values[:, :, 4:8, 2:17] = 255  # one voxel beyond a block of 16
    values[:, 2, 14:16, 20:24] = 255  # small
    source = tmp_path / "affinities.zarr"
    volume = create_volume(
        source, values.shape, "uint8", voxel_size=(8, 8, 8), axes="czyx", attributes={"offsets": OFFSETS}
    )
    volume[...] = values
    for context in ((0, 0, 0), (0, 0, 4)):
        make_fragments(source, tmp_path / "f.zarr", debris=40, block_shape=(6, 20, 16), context=context)
        fragments = open_volume(tmp_path / "f.zarr")[...]
        assert np.array_equal(fragments > 0, (values[0] > 0) & (np.arange(20) < 10)[:, None])


def test_a_block_reads_no_more_than_its_context(
    affinities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_volume(tmp_path / "mask.zarr", SHAPE, "uint8", voxel_size=VOXEL_SIZE, offset=OFFSET)[...] = 1
    shapes = []
    read = Volume.__getitem__

    def watched(self: Volume, selection: Any) -> Any:
        values = read(self, selection)
        shapes.append(values.shape)
        return values

    monkeypatch.setattr(Volume, "__getitem__", watched)
    make_fragments(affinities, tmp_path / "f.zarr", mask=tmp_path / "mask.zarr", block_shape=BLOCK, context=(1, 2, 3))
    assert len(shapes) == 18 * 4  # three channels of four, and the mask
    assert np.max(shapes, axis=0).tolist() == [6, 15, 22]


def test_affinities_without_offsets_are_refused(tmp_path: Path) -> None:
    create_volume(tmp_path / "affinities.zarr", (3, 2, 5, 7), "uint8", voxel_size=(8, 8, 8), axes="czyx")
    with pytest.raises(InputError, match="holds no affinities"):
        make_fragments(tmp_path / "affinities.zarr", tmp_path / "fragments.zarr")


def test_tables_keep_ids_and_facts(tmp_path: Path) -> None:
    ids = np.array([0, 2**53 + 1, 2**64 - 1], np.uint64)
    write_table(tmp_path / "a/table.parquet", {"id": ids, "x": np.array([0.1, np.inf, 3])}, {"offsets": [[-1, 0, 0]]})
    assert pq.read_schema(tmp_path / "a/table.parquet").field("id").type == "uint64"
    found, x = read_table(tmp_path / "a/table.parquet", "id", "x")
    assert found.dtype == np.uint64
    assert found.tolist() == ids.tolist()
    assert x.tolist() == [0.1, np.inf, 3]
    assert table_facts(tmp_path / "a/table.parquet") == {"offsets": [[-1, 0, 0]]}
    with pytest.raises(InputError, match="no column 'y'"):
        read_table(tmp_path / "a/table.parquet", "y")
    with pytest.raises(InputError, match="doesn't exist"):
        read_table(tmp_path / "b.parquet", "y")


def test_a_table_that_grows_is_that_of_all_rows_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 100)
    ids = np.arange(1012, dtype=np.uint64) + np.uint64(2**63)
    for rows in (0, 1, 100, 1000, 1012):
        columns = {"id": ids[:rows], "name": np.array(["one", "two"], object)[np.arange(rows) // 7 % 2]}
        write_table(tmp_path / "whole.parquet", columns, {"x": [1]})
        assert pq.ParquetFile(tmp_path / "whole.parquet").num_row_groups == max(1, -(-rows // 100))
        for step in (1012, 100, 37, 250):
            with growing_table(tmp_path / "grown.parquet", {"x": [1]}) as append:
                for start in range(0, max(rows, 1), step):
                    append({name: values[start : start + step] for name, values in columns.items()})
            assert (tmp_path / "grown.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert read_table(tmp_path / "whole.parquet", "id", where=("name", "two"))[0].tolist() == [
        value for place, value in enumerate(ids.tolist()) if place // 7 % 2
    ]
    with pytest.raises(InputError, match="no column 'y'"):
        read_table(tmp_path / "whole.parquet", "id", where=("y", 1))


def test_a_table_that_fails_to_grow_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), growing_table(tmp_path / "grown.parquet", {}) as append:
        append({"id": np.arange(5)})
        raise KeyError
    assert list(tmp_path.iterdir()) == []
