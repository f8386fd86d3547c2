"""Disagreement of whole volumes: the same in any blocks, lowest where nothing is contradicted, refused elsewhere."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities, axis_offsets
from sparse2dense.ops.descriptors import local_shape_descriptors, section_descriptors
from sparse2dense.ops.disagreement import affinity_error, descriptor_error, mean_errors, sum_errors
from sparse2dense.ops.far_links import far_links
from sparse2dense.ops.overlaps import look_up
from sparse2dense.stages.agglomerating import read_merge_tree
from sparse2dense.stages.disagreeing import (
    choose_agreeing,
    count_links,
    measure_disagreement,
    read_sweep,
    sweep_disagreement,
)
from sparse2dense.stages.evaluating import read_threshold
from sparse2dense.volumes import sorted_pieces
from sparse2dense.volumes.tables import read_table, table_facts, write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import noisy_affinities, voronoi

SHAPE, VOXEL_SIZE = (9, 22, 27), (20.5, 8.0, 8.0)
OFFSETS = axis_offsets((1, 1, 1), (3, 7, 7))
FAR = slice(3, 6)
HUGE = 2**63
THRESHOLDS = ["0.1", "0.3", "0.5", "0.9"]


def save(path: Path, values: np.ndarray, offset: Sequence[float] = (0, 0, 0), **attributes: object) -> Path:
    """Write an array as a volume."""
    axes = "czyx" if values.ndim == 4 else "zyx"
    create_volume(
        path, values.shape, values.dtype, voxel_size=VOXEL_SIZE, offset=offset, axes=axes, attributes=attributes
    )[...] = values
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six true objects of two fragments each, joined at 0.2, then all others at 0.4; predictions of the objects."""
    fragments = voronoi(SHAPE, 12, ids=range(HUGE - 6, HUGE + 6))
    fragments[2:5, 3:9, 4:11] = 0
    save(tmp_path / "fragments.zarr", fragments)
    ids = np.arange(HUGE - 6, HUGE + 6, dtype=np.uint64)
    pairs = (ids[0::2], ids[1::2], np.full(6, 0.2))
    rest = (ids[0:-2:2], ids[2::2], np.full(5, 0.4))
    a, b, score = (np.concatenate(both) for both in zip(pairs, rest, strict=True))
    write_table(tmp_path / "tree.parquet", {"a": a, "b": b, "score": score}, {})
    fragment, segment = read_merge_tree(tmp_path / "tree.parquet").cut("0.3")
    write_table(tmp_path / "lut.parquet", {"fragment": fragment, "segment": segment}, {"threshold": "0.3"})
    truth = look_up(fragments, fragment, segment)
    values = np.rint(noisy_affinities(truth, OFFSETS) * 255).astype(np.uint8)
    save(tmp_path / "affinities.zarr", values, offsets=OFFSETS)
    return tmp_path


def swept(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """Count links and judge all thresholds."""
    count_links(folder / "affinities.zarr", folder / "fragments.zarr", folder / "links.parquet", **settings)
    sweep_disagreement(
        folder / "links.parquet",
        folder / "tree.parquet",
        folder / "disagreement.csv",
        thresholds=[0.1, "0.30", 0.5, 0.9],
        volume="cube",
        track="pseudo",
    )
    return read_sweep(folder / "disagreement.csv")


def test_every_threshold_is_judged_and_the_truth_contradicts_least(folder: Path) -> None:
    rows = swept(folder)
    fragments, values = (open_volume(folder / f"{name}.zarr")[...] for name in ("fragments", "affinities"))
    assert [row["threshold"] for row in rows] == THRESHOLDS
    links = far_links(fragments, values[FAR], OFFSETS[FAR])
    for row in rows:
        split, merge = links.disagreement(*read_merge_tree(folder / "tree.parquet").cut(row["threshold"]))
        assert (row["disagreement_split"], row["disagreement_merge"]) == (split, merge)
        assert row["disagreement"] == pytest.approx(split + merge)
    assert rows[0]["disagreement_merge"] == rows[2]["disagreement_split"] == 0
    chosen = choose_agreeing([folder / "disagreement.csv"])
    assert (chosen["threshold"], chosen["volumes"]) == (0.3, ["cube"])
    assert chosen["disagreement"] == rows[1]["disagreement"] < 0.25
    assert read_threshold(folder / "disagreement.csv") == "0.3"
    assert table_facts(folder / "links.parquet")["offsets"] == [list(offset) for offset in OFFSETS[FAR]]


def test_links_are_the_same_in_any_blocks_and_by_several_jobs(folder: Path) -> None:
    swept(folder)
    names = ("u", "v", "pairs", "total")
    whole = read_table(folder / "links.parquet", *names)
    paths = (folder / "affinities.zarr", folder / "fragments.zarr", folder / "again.parquet")
    for part in (None, (1, 2), (0, 2), None):
        count_links(*paths, block_shape=(4, 9, 11), part=part)
    for ours, expected in zip(read_table(folder / "again.parquet", *names), whole, strict=True):
        assert np.array_equal(ours, expected)
    assert len(whole[0]) > 12
    assert not (folder / "pieces").exists()


def test_links_are_the_same_bytes_however_many_are_added_up_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_pieces, "STEP", 2)
    paths, files = (folder / "affinities.zarr", folder / "fragments.zarr", folder / "links.parquet"), []
    for rows, block in ((2**22, SHAPE), (10, (4, 9, 11)), (1, (9, 9, 27))):
        monkeypatch.setattr(sorted_pieces, "ROWS", rows)
        count_links(*paths, block_shape=block)
        files.append(paths[2].read_bytes())
    fragments, values = (open_volume(path)[...] for path in (paths[1], paths[0]))
    whole = far_links(fragments, values[FAR], OFFSETS[FAR])
    for name, found in zip(("u", "v", "pairs", "total"), read_table(paths[2], "u", "v", "pairs", "total"), strict=True):
        assert np.array_equal(found, getattr(whole, name))
    assert len(set(files)) == 1


def test_where_nothing_is_linked_nothing_is_contradicted(tmp_path: Path) -> None:
    for name, fragment in (("empty", 0), ("single", HUGE)):
        folder = tmp_path / name
        save(folder / "fragments.zarr", np.full((3, 9, 9), fragment, np.uint64))
        save(folder / "affinities.zarr", np.zeros((6, 3, 9, 9), np.uint8), offsets=axis_offsets((1, 1, 1), (2, 3, 3)))
        ids = np.array([fragment] if fragment else [], np.uint64)
        write_table(folder / "tree.parquet", {"a": ids, "b": ids, "score": np.full(len(ids), np.inf)}, {})
        assert [row["disagreement"] for row in swept(folder)] == [0, 0, 0, 0]
        assert choose_agreeing([folder / "disagreement.csv"])["threshold"] == 0.1, "of equals the lowest"


def test_the_threshold_agrees_best_on_average_over_the_volumes(tmp_path: Path) -> None:
    for name, values in (("one", {"0.1": 0.2, "0.29": 0.1, "0.3": 0.0}), ("two", {"0.1": 0.1, "0.29": 0.15})):
        lines = [f"{name},pseudo,{threshold},0,{value},{value}" for threshold, value in values.items()]
        head = "volume,track,threshold,disagreement_split,disagreement_merge,disagreement"
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n")
    chosen = choose_agreeing([tmp_path / "one.csv", tmp_path / "two.csv"])
    assert chosen["threshold"] == 0.29, "0.3 is judged on one volume only"
    assert chosen["reason"] == (
        "lowest disagreement with the affinities that reach farthest, a mean of 0.1250, on one, two"
    )
    (tmp_path / "three.csv").write_text(f"{head}\nthree,pseudo,0.7,0,0,0\n")
    with pytest.raises(InputError, match="no threshold is in all of"):
        choose_agreeing([tmp_path / "one.csv", tmp_path / "three.csv"])
    (tmp_path / "none.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="holds no disagreement"):
        choose_agreeing([tmp_path / "none.csv"])


@pytest.fixture
def predicted(folder: Path) -> dict[str, Path]:
    """Affinities, and descriptors of sections and of the volume, all of other objects than the segments."""
    other = voronoi(SHAPE, 7, 5)
    described = {
        "flat": section_descriptors(other, (2.0, 2.5)),
        "deep": local_shape_descriptors(other, (1.5, 2.0, 2.0)),
    }
    for name, sigma in (("flat", [2.0, 2.5]), ("deep", [1.5, 2.0, 2.0])):
        save(folder / f"{name}.zarr", np.rint(described[name] * 255).astype(np.uint8), sigma=sigma)
    return {name: folder / f"{name}.zarr" for name in ("flat", "deep", "affinities")}


def measured(folder: Path, predicted: dict[str, Path], name: str, **settings: Any) -> tuple[Any, list[dict[str, str]]]:
    """Measure, and return the rows of objects and of sections."""
    outputs = (folder / name / "objects.parquet", folder / name / "sections.csv")
    measure_disagreement(folder / "fragments.zarr", folder / "lut.parquet", predicted, outputs, **settings)
    if not outputs[0].exists():
        return None, []
    columns = read_table(outputs[0], "prediction", "segment", "disagreement", "voxels")
    with outputs[1].open() as file:
        return list(zip(*(column.tolist() for column in columns), strict=True)), list(csv.DictReader(file))


def means(keys: np.ndarray, errors: np.ndarray, voxels: np.ndarray) -> list[tuple[Any, ...]]:
    """Objects or sections with the mean of their errors and their voxels."""
    return list(zip(keys.tolist(), mean_errors(errors, voxels).tolist(), voxels.tolist(), strict=True))


def test_objects_and_sections_are_those_of_the_whole_in_any_blocks(folder: Path, predicted: dict[str, Path]) -> None:
    objects, sections = measured(folder, predicted, "whole", downsample=2)
    segments = look_up(
        open_volume(folder / "fragments.zarr")[...], *read_table(folder / "lut.parquet", "fragment", "segment")
    )
    for name, path in predicted.items():
        values = open_volume(path)[...]
        if name == "affinities":
            table = sum_errors(affinity_error(values, segments, OFFSETS), segments)
        else:
            sigma = open_volume(path).attributes["sigma"]
            table = sum_errors(descriptor_error(values, segments, sigma, downsample=2), segments)
        mine = [row[1:] for row in objects if row[0] == name]
        assert mine == means(*table.object_sums())
        found = [
            (int(row["section"]), float(row["disagreement"]), int(row["voxels"]))
            for row in sections
            if row["prediction"] == name
        ]
        assert found == means(*table.section_sums())
        assert len(found) == 9
    for part in ((0, 2), (1, 2), None):
        again = measured(folder, predicted, "parts", downsample=2, block_shape=(3, 9, 13), part=part)
    assert again[0] is not None
    # the filters of blocks add up in another order: at most one step of the sums per voxel
    for (name, label, error, voxels), ours in zip(objects, again[0], strict=True):
        assert (name, label, voxels) == (ours[0], ours[1], ours[3])
        assert error == pytest.approx(ours[2], abs=2**-16)


def test_errors_are_the_same_bytes_however_many_are_added_up_at_a_time(
    folder: Path, predicted: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_pieces, "STEP", 1)
    found = []
    for rows in (2**22, 11, 1):
        monkeypatch.setattr(sorted_pieces, "ROWS", rows)
        measured(folder, predicted, "ranges", downsample=2, block_shape=(4, 11, 27))
        found.append([(folder / "ranges" / name).read_bytes() for name in ("objects.parquet", "sections.csv")])
    assert found[0] == found[1] == found[2]
    assert min(map(len, found[0])) > 500


def test_a_segmentation_agrees_with_its_own_predictions(folder: Path) -> None:
    segments = look_up(
        open_volume(folder / "fragments.zarr")[...], *read_table(folder / "lut.parquet", "fragment", "segment")
    )
    own = {
        "affinities": save(folder / "own.zarr", affinities(segments, OFFSETS) * np.uint8(255), offsets=OFFSETS),
        "flat": save(folder / "flat.zarr", section_descriptors(segments, (2.0, 2.5)), sigma=[2.0, 2.5]),
    }
    objects, sections = measured(folder, own, "own")
    assert {row[0] for row in objects} == {"affinities", "flat"}
    assert max(row[2] for row in objects) == 0
    assert {row["disagreement"] for row in sections} == {"0.0"}
    assert (
        json.loads(json.dumps(table_facts(folder / "own/objects.parquet")))["provenance"]["stage"]
        == "measure_disagreement"
    )


def test_empty_volumes_have_no_objects(folder: Path) -> None:
    save(folder / "fragments.zarr", np.zeros(SHAPE, np.uint64))
    save(folder / "flat.zarr", np.zeros((6, *SHAPE), np.uint8), sigma=[2.0, 2.0])
    objects, sections = measured(folder, {"flat": folder / "flat.zarr"}, "empty")
    assert objects == sections == []


def test_predictions_from_elsewhere_are_refused(folder: Path) -> None:
    save(folder / "moved.zarr", np.zeros((6, *SHAPE), np.uint8), offset=(0, 8, 0), sigma=[2.0, 2.0])
    with pytest.raises(InputError, match="not the same place"):
        measured(folder, {"moved": folder / "moved.zarr"}, "refused")
    save(folder / "bare.zarr", np.zeros((6, *SHAPE), np.uint8))
    with pytest.raises(InputError, match="neither offsets nor sigma"):
        measured(folder, {"bare": folder / "bare.zarr"}, "refused")
    save(folder / "shifted.zarr", open_volume(folder / "fragments.zarr")[...], offset=(0, 8, 0))
    with pytest.raises(InputError, match="not the same place"):
        count_links(folder / "affinities.zarr", folder / "shifted.zarr", folder / "links.parquet")
