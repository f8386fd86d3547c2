"""Pictures of errors, sections side by side, and surfaces of objects, where they mislead or break most easily."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sparse2dense.stages import error_pictures
from sparse2dense.stages.colours import label_colours, match_labels, matched_colours
from sparse2dense.stages.error_pictures import figure_errors
from sparse2dense.stages.locating import ERROR_COLUMNS
from sparse2dense.stages.shapes import figure_shapes, surface
from sparse2dense.stages.side_by_side import write_panes
from sparse2dense.volumes.tables import write_table
from sparse2dense.volumes.volume import create_volume, open_volume

VOXEL = (40.0, 4.0, 8.0)
HUGE = 2**63 - 2
SHAPE = (6, 40, 50)


def store(path: Path, values: np.ndarray) -> Path:
    create_volume(path, values.shape, values.dtype, voxel_size=VOXEL, offset=(80, 4, 8))[...] = values
    return path


@pytest.fixture
def run(tmp_path: Path) -> dict[str, Path]:
    """An object of a huge id, halved in section 2 and whole elsewhere; a second one that its segment swallows."""
    truth = np.zeros(SHAPE, np.uint64)
    truth[:, 4:36, 3:20], truth[:, 4:36, 24:48] = HUGE, HUGE - 1
    fragments = np.zeros(SHAPE, np.uint64)
    fragments[:, 5:35, 4:19], fragments[:, 5:35, 25:47] = 11, 12
    fragments[2, 20:35, 4:19] = 13
    raw = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
    lut = {"fragment": np.array([11, 12, 13], np.uint64), "segment": np.array([HUGE, HUGE, 5], np.uint64)}
    write_table(tmp_path / "lut.parquet", lut, {})
    return {
        "raw": store(tmp_path / "raw.zarr", raw),
        "truth": store(tmp_path / "truth.zarr", truth),
        "fragments": store(tmp_path / "fragments.zarr", fragments),
        "lut": tmp_path / "lut.parquet",
    }


def error(kind: str, label: int, main: int, box: tuple[int, ...] = (0, 4, 3, 6, 36, 20)) -> dict[str, Any]:
    names = ("begin_z", "begin_y", "begin_x", "end_z", "end_y", "end_x")
    row = dict.fromkeys(ERROR_COLUMNS, 0) | {"convention": "interior"} | dict(zip(names, box, strict=True))
    return row | {"threshold": "0.5", "kind": kind, "label": label, "main": main, "bits": 0.25, "partners": 2}


def errors_of(run: dict[str, Path], *rows: dict[str, Any]) -> Path:
    file = run["truth"].with_name("errors.csv")
    pd.DataFrame(list(rows), columns=list(ERROR_COLUMNS)).to_csv(file, index=False)
    return file


def test_an_error_is_shown_where_wrong_and_right_meet(run: dict[str, Path]) -> None:
    """Of six sections, only the third shows both segments of the halved object."""
    volumes = open_volume(run["truth"]), open_volume(run["fragments"])
    table = (np.array([11, 12, 13], np.uint64), np.array([HUGE, HUGE, 5], np.uint64))
    view = error_pictures._view(*volumes, table, error("split", HUGE, HUGE))
    assert view.plane.name == "section 2" and view.plane.axis == 0
    near = error_pictures._around(view)
    assert near.wrong.sum() == 32 * 17 - 15 * 15, "all of the object that isn't in its main segment, gaps included"
    assert near.right.sum() == 15 * 15
    assert not (near.wrong & near.right).any()


def test_what_no_section_shows_is_shown_across_them(run: dict[str, Path]) -> None:
    truth = np.zeros(SHAPE, np.uint64)
    truth[:, 4:36, 3:20] = 7
    fragments = truth.copy()
    fragments[3:] *= 2
    store(run["truth"], truth), store(run["fragments"], fragments)
    table = (np.array([7, 14], np.uint64), np.array([1, 2], np.uint64))
    view = error_pictures._view(
        open_volume(run["truth"]), open_volume(run["fragments"]), table, error("split", 7, 1, (0, 4, 3, 6, 36, 20))
    )
    assert view.plane.axis == 1 and view.plane.name.startswith("xz cut at y ")
    assert view.wrong.sum() == view.right.sum() == 3 * 17
    assert view.plane.size == (40.0, 8.0)


def test_large_objects_are_shown_in_part(tmp_path: Path) -> None:
    """A picture has the same number of voxels however far an object reaches, and holds the place of the error."""
    truth = np.full((3, 300, 900), HUGE, np.uint64)
    fragments = np.ones((3, 300, 900), np.uint64)
    fragments[:, 290:, 880:] = 2
    volumes = open_volume(store(tmp_path / "t.zarr", truth)), open_volume(store(tmp_path / "f.zarr", fragments))
    table = (np.array([1, 2], np.uint64), np.array([1, 2], np.uint64))
    near = error_pictures._around(
        error_pictures._view(*volumes, table, error("split", HUGE, 1, (0, 0, 0, 3, 300, 900)))
    )
    assert near.objects.shape == (192, 192)
    assert near.wrong.sum() == 10 * 20
    assert near.plane.box[1:] == (slice(108, 300), slice(708, 900))


def test_worst_errors_are_drawn_and_none_is_said(run: dict[str, Path], tmp_path: Path) -> None:
    outputs = {"split": tmp_path / "out/splits.png", "merge": tmp_path / "out/merges.png"}
    split, merge = error("split", HUGE, HUGE), error("merge", HUGE, HUGE - 1, (0, 5, 4, 6, 35, 47))
    figure_errors(**run, errors=errors_of(run, *[split] * 7, merge), outputs=outputs)
    sizes = {kind: Image.open(file).size for kind, file in outputs.items()}
    assert sizes["split"][1] > 3 * sizes["merge"][1], "five of the seven, and one"
    figure_errors(**run, errors=errors_of(run), outputs=outputs)
    assert all(Image.open(file).size[1] < 100 for file in outputs.values())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["merges.png", "splits.png"]


def test_panes_of_a_section_are_of_one_size_with_square_pixels(run: dict[str, Path], tmp_path: Path) -> None:
    tracks = {track: run["fragments"] for track in ("pseudo", "bootstrapped_2")}
    write_panes(run["raw"], run["truth"], tracks, dict.fromkeys(tracks, run["lut"]), tmp_path / "panes")
    sections = json.loads((tmp_path / "panes/panes.json").read_text())["sections"]
    assert [section["number"] for section in sections] == [1, 3, 5]
    files = [pane["file"] for section in sections for pane in section["panes"]]
    assert [pane["name"] for pane in sections[0]["panes"]] == ["raw", "truth", "pseudo", "bootstrapped_2"]
    assert {Image.open(tmp_path / "panes" / file).size for file in files} == {(100, 40)}, "x is twice as coarse as y"
    assert sorted(files) == sorted(file.name for file in (tmp_path / "panes").glob("*.png"))
    truth, track = (np.asarray(Image.open(tmp_path / f"panes/section_3_{name}.png").convert("RGB"))
                    for name in ("truth", "pseudo"))  # fmt: skip
    assert np.array_equal(truth[20, 70], track[20, 70]), "the segment wears the colour of the object it overlaps most"
    assert not np.array_equal(truth[20, 20], track[20, 20]), "and what it swallowed another one"


def test_segments_that_were_not_matched_have_colours_of_their_own() -> None:
    """Matched in some sections, shown elsewhere too."""
    matching = match_labels(np.array([1, 1, 0], np.uint64), np.array([HUGE, HUGE, 0], np.uint64))
    colours = matched_colours(np.array([[0, 1], [HUGE, HUGE + 1]], np.uint64), matching)
    assert np.array_equal(colours[0, 1], label_colours(np.array([HUGE], np.uint64))[0])
    assert colours[0, 0].sum() == 0
    assert len({tuple(colour) for colour in colours.reshape(-1, 3)}) == 4


def test_a_surface_encloses_its_voxels() -> None:
    """Closed even at the border of the volume, in nm, its outside outside; as large as the voxels but for its edges."""
    mask = np.zeros((10, 20, 30), bool)
    mask[:, 4:16, 5:25] = True
    triangles = surface(mask, (40, 4, 8)).astype(float)
    volume = np.einsum("ij,ij", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
    assert 0.95 * 10 * 12 * 20 < volume / (40 * 4 * 8) <= 10 * 12 * 20
    assert triangles.min((0, 1)).tolist() == [0, 16, 40] and triangles.max((0, 1)).tolist() == [400, 64, 200]
    assert surface(np.zeros((2, 3, 4), bool), (1, 1, 1)).shape == (0, 3, 3)


@pytest.mark.parametrize("depth", [6, 1])
@pytest.mark.parametrize("empty", [False, True])
def test_largest_objects_are_drawn(run: dict[str, Path], tmp_path: Path, depth: int, empty: bool) -> None:
    """Of a thin volume too, and of one in which there is no segment."""
    for name in ("raw", "truth", "fragments"):
        values = open_volume(run[name])[:depth]
        store(tmp_path / f"thin_{name}.zarr", np.zeros_like(values) if empty and name == "fragments" else values)
    raw, truth, fragments = (tmp_path / f"thin_{name}.zarr" for name in ("raw", "truth", "fragments"))
    figure_shapes(raw, truth, fragments, run["lut"], tmp_path / "shapes.png")
    with Image.open(tmp_path / "shapes.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    coloured = int((np.ptp(pixels, axis=2) > 40).sum())
    assert (coloured > 1000) != empty
