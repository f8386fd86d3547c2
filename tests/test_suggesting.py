"""Suggestions from volumes: the same in any blocks, with places that can be found, for awkward volumes too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sparse2dense.errors import InputError
from sparse2dense.ops.regions import MEASURED
from sparse2dense.stages.suggesting import SUGGESTED, measure_regions, suggest_painting
from sparse2dense.volumes.tables import read_table, table_facts, write_table
from sparse2dense.volumes.volume import create_volume
from tests.voronoi import noisy_affinities, voronoi

SHAPE, VOXEL_SIZE, OFFSET = (11, 41, 53), (20.5, 8.0, 8.0), (-20.5, 16.0, 1000.0)
OFFSETS = [[0, -1, 0], [0, 0, -1], [0, -7, 0], [0, 0, -7]]
FIRST = 2**63 - 6
BLURRED = 7


def save(path: Path, values: NDArray, offset: Sequence[float] = OFFSET, **attributes: object) -> Path:
    """Write an array as a volume."""
    axes = "czyx" if values.ndim == 4 else "zyx"
    volume = create_volume(
        path, values.shape, values.dtype, voxel_size=VOXEL_SIZE, offset=offset, axes=axes, attributes=attributes
    )
    volume[...] = values
    return path


def write_volume(folder: Path, shape: Sequence[int] = SHAPE, seed: int = 0) -> dict[str, Any]:
    """An image of noise, one section of it blurred, predictions of a tessellation, and its fragments."""
    folder.mkdir()
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    if shape[0] > BLURRED:
        image[BLURRED] = gaussian_filter(image[BLURRED], 1)
    labels = voronoi(shape, 12, seed, ids=range(FIRST, FIRST + 12))
    ids = np.arange(FIRST, FIRST + 12, dtype=np.uint64)
    write_table(folder / "lut.parquet", {"fragment": ids, "segment": ids // np.uint64(2)}, {"threshold": "0.5"})
    values = np.rint(noisy_affinities(labels, OFFSETS, seed=seed) * 255).astype(np.uint8)
    return {
        "raw": save(folder / "raw.zarr", image),
        "affinities": save(folder / "affinities.zarr", values, offsets=OFFSETS),
        "fragments": save(folder / "fragments.zarr", labels),
        "lut": folder / "lut.parquet",
    }


def suggested(folder: Path, tables: dict[str, Path], kind: str = "section", **settings: Any) -> pd.DataFrame:
    """The suggestions of one kind."""
    suggest_painting(tables, folder / "paint_next.csv", **settings)
    table = pd.read_csv(folder / "paint_next.csv", dtype={"volume": str})
    assert tuple(table.columns) == SUGGESTED
    return table[table["kind"] == kind].reset_index(drop=True)


def annotate(folder: Path, sections: Sequence[int], cut: int = 2) -> Path:
    """A mask of some sections of raw, for a crop of it that begins at section and voxel `cut`."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[list(sections), 20:30, 20:30] = 1
    corner = [start + cut * size for start, size in zip(OFFSET, VOXEL_SIZE, strict=True)]
    return save(folder / "mask.zarr", mask[cut:, cut:, cut:], corner)


def test_the_blurred_section_comes_first_and_annotated_ones_never(tmp_path: Path) -> None:
    paths = write_volume(tmp_path / "a")
    regions = tmp_path / "regions.parquet"
    mask = annotate(tmp_path, (3, 10))
    measure_regions(**paths, output=regions, mask=mask, region=(41, 53))
    table = suggested(tmp_path, {"007": regions}, count=99)
    assert table["section"][0] == BLURRED
    assert sorted(table["section"]) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert table["novelty_score"][0] > 0.9
    assert set(table["volume"]) == {"007"}
    assert table["rank"].tolist() == list(range(1, 10))
    assert list(table["gain"]) == sorted(table["gain"], reverse=True)


def test_places_are_in_voxels_and_in_nanometres(tmp_path: Path) -> None:
    """Odd sides are divided evenly, and the box of a section is all of it."""
    paths = write_volume(tmp_path / "a")
    measure_regions(**paths, output=tmp_path / "regions.parquet", region=(20, 26))
    whole = suggested(tmp_path, {"a": tmp_path / "regions.parquet"}).iloc[0]
    assert whole[["begin_y", "end_y", "begin_x", "end_x"]].tolist() == [0, 41, 0, 53]
    assert whole["section_nm"] == -20.5 + 20.5 * whole["section"]
    assert whole[["begin_y_nm", "end_y_nm", "begin_x_nm", "end_x_nm"]].tolist() == [16, 344, 1000, 1424]
    regions = suggested(tmp_path, {"a": tmp_path / "regions.parquet"}, "region", count=99)
    assert len(regions) == 11 * 4
    assert set(zip(regions["begin_y"], regions["end_y"], strict=True)) == {(0, 20), (20, 41)}
    assert set(zip(regions["begin_x"], regions["end_x"], strict=True)) == {(0, 26), (26, 53)}


def test_the_region_in_which_the_net_is_unsure_comes_first(tmp_path: Path) -> None:
    """By what it predicts, on an image that looks the same everywhere."""
    paths = write_volume(tmp_path / "a", (5, 41, 53))
    values = np.full((4, 5, 41, 53), 255, np.uint8)
    values[:, 2, 25:, :20] = 120
    save(paths["affinities"], values, offsets=OFFSETS)
    save(paths["fragments"], np.full((5, 41, 53), FIRST, np.uint64))
    measure_regions(**paths, output=tmp_path / "regions.parquet", region=(20, 26))
    table = suggested(tmp_path, {"a": tmp_path / "regions.parquet"}, "region")
    assert [table[name][0] for name in ("section", "begin_y", "begin_x")] == [2, 20, 0]
    assert 0.5 < table["uncertainty"][0] < 1
    assert table["uncertainty"][1:].max() < 0.01


def test_segments_that_contradict_the_net_come_first(tmp_path: Path) -> None:
    """The net is sure of one object; the fragments of one section are in two."""
    paths = write_volume(tmp_path / "a", (5, 41, 53))
    save(paths["affinities"], np.full((4, 5, 41, 53), 255, np.uint8), offsets=OFFSETS)
    labels = np.full((5, 41, 53), FIRST, np.uint64)
    labels[3, :, 25:] += np.uint64(2)
    labels[4, :, 25:] += np.uint64(1)  # of the same segment
    save(paths["fragments"], labels)
    measure_regions(**paths, output=tmp_path / "regions.parquet", region=(99, 99))
    table = suggested(tmp_path, {"a": tmp_path / "regions.parquet"})
    disagreement = dict(zip(table["section"], table["disagreement"], strict=True))
    pairs = np.full((41, 53), 4.0) - (np.arange(53) < 1) - (np.arange(53) < 7)
    pairs -= ((np.arange(41) < 1).astype(int) + (np.arange(41) < 7))[:, None]
    cut = np.zeros((41, 53))
    cut[:, 25:26] += 1
    cut[:, 25:32] += 1
    assert disagreement[3] == pytest.approx((cut / np.maximum(pairs, 1)).sum() / np.count_nonzero(pairs), abs=1e-4)
    assert {disagreement[z] for z in (0, 1, 2, 4) if z in disagreement} == {0}


def test_tables_are_the_same_in_any_blocks_and_by_several_jobs(tmp_path: Path) -> None:
    paths = write_volume(tmp_path / "a")
    more: dict[str, Any] = {"mask": annotate(tmp_path, (3,)), "region": (15, 15)}
    tissue = np.ones(SHAPE, np.uint8)
    tissue[:, :9, :20] = 0
    more["tissue"] = save(tmp_path / "tissue.zarr", tissue)
    whole, again = tmp_path / "whole.parquet", tmp_path / "again.parquet"
    measure_regions(**paths, **more, output=whole)
    for part in (None, (1, 2), (0, 2), None):
        measure_regions(**paths, **more, output=again, block_shape=(4, 17, 19), part=part)
    assert again.read_bytes() == whole.read_bytes()
    counted, annotated = read_table(whole, *MEASURED[:2])
    assert (counted.sum(), annotated.sum()) == (tissue.sum(), 10 * 10)
    assert not (tmp_path / "pieces").exists()


def test_a_volume_of_one_section(tmp_path: Path) -> None:
    paths = write_volume(tmp_path / "a", (1, 9, 5))
    measure_regions(**paths, output=tmp_path / "regions.parquet")
    table = suggested(tmp_path, {"a": tmp_path / "regions.parquet"})
    assert table["section"].tolist() == [0]
    assert table_facts(tmp_path / "regions.parquet")["correlations"] == [0] * 6


def test_an_empty_prediction_leaves_only_what_the_image_says(tmp_path: Path) -> None:
    """No affinity above 0, no fragment: nothing is unsure and nothing disagrees, and numbers stay numbers."""
    paths = write_volume(tmp_path / "a")
    save(paths["affinities"], np.zeros((4, *SHAPE), np.uint8), offsets=OFFSETS)
    save(paths["fragments"], np.zeros(SHAPE, np.uint64))
    write_table(paths["lut"], dict.fromkeys(("fragment", "segment"), np.zeros(0, np.uint64)), {"threshold": "0.5"})
    measure_regions(**paths, output=tmp_path / "regions.parquet", mask=annotate(tmp_path, (3,)))
    table = suggested(tmp_path, {"a": tmp_path / "regions.parquet"})
    assert table["section"][0] == BLURRED
    assert not table[["uncertainty", "disagreement"]].to_numpy().any()
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()


def test_what_is_annotated_in_one_volume_is_known_in_others(tmp_path: Path) -> None:
    """A blurred section is annotated in the first volume; that of the second is nothing new then."""
    tables: dict[str, Path] = {}
    for name in ("first", "second"):
        paths = write_volume(tmp_path / name, seed=len(tables))
        tables[name] = tmp_path / f"{name}.parquet"
        mask = annotate(tmp_path, (3, BLURRED)) if name == "first" else None
        measure_regions(**paths, output=tables[name], mask=mask, region=(99, 99))
    both = suggested(tmp_path, tables, count=99).set_index(["volume", "section"])
    alone = suggested(tmp_path, {"second": tables["second"]}, count=99).set_index("section")["novelty"]
    assert alone.idxmax() == BLURRED
    assert both.loc[("second", BLURRED), "novelty"] < 0.5 * alone[BLURRED]
    assert len(both) == 9 + 11


def test_without_volumes_the_table_is_empty(tmp_path: Path) -> None:
    assert len(suggested(tmp_path, {})) == 0
    measure_regions(**write_volume(tmp_path / "a"), output=tmp_path / "regions.parquet")
    assert len(suggested(tmp_path, {"a": tmp_path / "regions.parquet"}, count=0)) == 0


def test_volumes_of_other_places_are_refused(tmp_path: Path) -> None:
    paths = write_volume(tmp_path / "a")
    elsewhere = save(tmp_path / "mask.zarr", np.ones(SHAPE, np.uint8), (OFFSET[0] + 300 * 20.5, 16.0, 1000.0))
    with pytest.raises(InputError, match="they share nothing"):
        measure_regions(**paths, output=tmp_path / "regions.parquet", mask=elsewhere)
    with pytest.raises(InputError, match="not the same place"):
        measure_regions(**paths, output=tmp_path / "regions.parquet", tissue=elsewhere)
    save(paths["affinities"], np.zeros((4, *SHAPE), np.uint8))
    with pytest.raises(InputError, match="holds no affinities"):
        measure_regions(**paths, output=tmp_path / "regions.parquet")
