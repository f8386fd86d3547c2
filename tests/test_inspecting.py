"""What a few sections of the input show, and what is refused for it before anything is computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.input_table import input_text, write_check
from sparse2dense.stages.inspecting import SMALL, inspect_input

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
SIZE = [40, 4.5, 4]
DEPTH, HEIGHT, WIDTH = 11, 17, 23


def labels() -> NDArray[Any]:
    """Two objects on section 2, one on section 8 with an id that no float holds, nothing elsewhere."""
    painted = np.zeros((DEPTH, HEIGHT, WIDTH), np.int64)
    painted[2, :5, :4], painted[2, 9:, 5:] = 7, 3
    painted[8, 3:9, :] = 2**62 + 1
    return painted


def config(
    folder: Path,
    image: NDArray[Any] | None = None,
    painted: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    **annotation: Any,
) -> dict[str, Any]:
    """An annotated volume of files in `folder`, whose painted sections 2 and 8 are named by default."""
    files = {"raw": np.full((DEPTH, HEIGHT, WIDTH), 9, np.uint8) if image is None else image}
    files["painted"] = labels() if painted is None else painted
    if mask is not None:
        files["painted_mask"] = mask
    for name, values in files.items():
        np.save(folder / f"{name}.npy", values)
    sources = {name: {"path": str(folder / f"{name}.npy"), "voxel_size": SIZE} for name in files}
    settings = {"zero": "unlabelled", "sections": [2, 8], **annotation}
    volumes = {"lab": {"role": "annotated", **sources, "annotation": settings}}
    offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    nets = {"2d": {"offsets": [[-1, 0], [0, -1]]}, "2d_to_3d": {"offsets": offsets}, "3d": {"offsets": offsets}}
    return complete({"volumes": volumes, "nets": nets}, SCHEMA)


def inspected(full: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """What is told of a configuration in whose headers nothing is wrong, and what was seen."""
    problems, found = input_problems(full)
    assert problems == []
    told, seen = inspect_input(full, found)
    return [str(problem) for problem in told], seen


def test_good_input_is_seen_as_it_is(tmp_path: Path) -> None:
    image = np.full((DEPTH, HEIGHT, WIDTH), 9, np.uint16)
    image[8, 0, 0], image[7] = 60000, 65535  # on an annotated section, and on one that nobody looks at
    told, seen = inspected(config(tmp_path, image))
    assert told == []
    assert seen["lab"]["raw"] == {"sections": [0, 2, 5, 8, 10], "low": 9, "high": 60000}
    assert seen["lab"]["painted"]["all"] is False
    rows = [list(row.values()) for row in seen["lab"]["painted"]["sections"]]
    pixels = HEIGHT * WIDTH
    assert rows == [[2, 2, (20 + 8 * 18) / pixels], [8, 1, 6 * WIDTH / pixels]]


def changed(section: int, value: float, dtype: str = "int64") -> NDArray[Any]:
    """The labels with another value on one voxel of a section."""
    painted = labels().astype(dtype)
    painted[section, 1, 2] = value
    return painted


@pytest.mark.parametrize(
    ("painted", "annotation", "told"),
    [
        (None, {"sections": [2, 4, 8, 5]}, "`volumes.lab.annotation.sections` holds [4, 5], on which nothing"),
        (None, {"sections": None, "validation": 3}, "`volumes.lab.annotation.validation` is 3, on which nothing"),
        (None, {"minimum_size": 200}, "painted.npy has no object of at least 200 voxels to learn from"),
        (np.zeros((DEPTH, HEIGHT, WIDTH), int), {"sections": None}, "painted.npy has no object to learn from"),
        (np.zeros((DEPTH, HEIGHT, WIDTH), int), {"zero": "background"}, "painted.npy has no object to learn from"),
        (changed(8, -4), {}, "`volumes.lab.painted`: {folder}/painted.npy holds the negative id -4"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    tmp_path: Path, painted: NDArray[Any] | None, annotation: dict[str, Any], told: str
) -> None:
    problems, _ = inspected(config(tmp_path, painted=painted, **annotation))
    assert len(problems) == 1
    assert told.replace("{folder}", str(tmp_path)) in problems[0]


def test_an_empty_section_may_be_background(tmp_path: Path) -> None:
    """Where 0 is known to be no object, or a mask speaks, a section without any object is an annotation too."""
    assert inspected(config(tmp_path, sections=[2, 4], zero="background"))[0] == []
    mask = np.zeros((DEPTH, HEIGHT, WIDTH), np.uint8)
    mask[2], mask[4] = 1, 1
    assert inspected(config(tmp_path, mask=mask, sections=[2, 4]))[0] == []
    (problem,) = inspected(config(tmp_path, mask=mask, sections=[2, 4, 8]))[0]
    assert "holds [8], on which nothing is annotated" in problem


def test_small_files_are_read_whole_where_no_section_is_named(tmp_path: Path) -> None:
    assert labels().nbytes <= SMALL
    told, seen = inspected(config(tmp_path, sections=None))
    assert told == []
    assert [row["section"] for row in seen["lab"]["painted"]["sections"]] == [2, 8]
    assert seen["lab"]["painted"]["all"] is True
    full = config(tmp_path, sections=None)
    full["volumes"]["lab"]["painted"]["offset"] = [3 * SIZE[0], 0, 0]
    (problem,) = inspected(full)[0]
    assert "`volumes.lab.painted` is annotated on the sections [8], which lie outside of the image" in problem


@pytest.mark.parametrize("section", [0, 5, 8])
@pytest.mark.parametrize("value", [1.5, -0.25, np.nan])
def test_floats_beyond_the_range_are_refused(tmp_path: Path, section: int, value: float) -> None:
    """On annotated sections as on those in the middle and at the ends."""
    image = np.full((DEPTH, HEIGHT, WIDTH), 0.5, np.float32)
    image[section, 3, 3] = value
    (problem,) = inspected(config(tmp_path, image))[0]
    assert f"`volumes.lab.raw`: {tmp_path}/raw.npy holds values from" in problem
    assert "floats from 0 to 1" in problem


def test_ids_that_the_mapping_lacks_are_named(tmp_path: Path) -> None:
    full = config(tmp_path)
    (tmp_path / "numbers.csv").write_text("7,1\n3,2\n")
    full["volumes"]["lab"]["painted"]["mapping"] = str(tmp_path / "numbers.csv")
    (problem,) = inspected(full)[0]
    assert f"holds ids that the mapping lacks: {2**62 + 1}" in problem
    (tmp_path / "numbers.csv").write_text(f"7,1\n3,1\n{2**62 + 1},0\n")
    (problem,) = inspected(full)[0]
    assert "`volumes.lab.annotation.sections` holds [8], on which nothing is annotated" in problem


@pytest.mark.parametrize(("draw", "key"), [("objects", "objects"), ("fraction", "parts")])
def test_more_objects_than_there_are(tmp_path: Path, draw: str, key: str) -> None:
    """Those of the named sections count, of which section 8 has one and section 2 two."""
    for asked, there in ((3, True), (4, False)):
        full = config(tmp_path)
        full["volumes"]["lab"]["annotation"] |= {"draw": draw, key: asked}
        full["volumes"]["lab"]["truth"] = full["volumes"]["lab"].pop("painted")
        told, _ = inspected(full)
        assert (told == []) == there
    assert f"`volumes.lab.annotation.{key}` is 4, but {tmp_path}/painted.npy has 3 objects there" in told[0]


def test_skeletons_beside_the_image_are_refused(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes.csv"
    full = config(tmp_path)
    skeletons = {"path": str(nodes), "voxel_size": SIZE, "offset": [0, 0, 0], "region": None, "from_truth": False}
    full["volumes"]["lab"]["skeletons"] = skeletons
    nodes.write_text("id,skeleton,z,y,x,parent\n1,5,10,16,22,\n2,5,10,16,23,1\n")
    told, seen = inspected(full)
    assert told == []
    assert seen["lab"]["skeletons"] == {"skeletons": 1, "nodes": 1}
    nodes.write_text("id,skeleton,z,y,x,parent\n1,5,11,16,22,\n")
    (problem,) = inspected(full)[0]
    assert f"`volumes.lab.skeletons`: {nodes} has its 1 nodes from" in problem
    nodes.write_text("id,skeleton,z,y,x\n")
    (problem,) = inspected(full)[0]
    assert "has no column 'parent'" in problem


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    full = config(tmp_path)
    file = tmp_path / "labels.tif"
    tifffile.imwrite(file, labels().astype(np.uint32), compression="zlib", rowsperstrip=HEIGHT)
    with tifffile.TiffFile(file) as opened:
        strip = opened.pages[8].dataoffsets[0]
    content = bytearray(file.read_bytes())
    content[strip : strip + 8] = b"\xff" * 8
    file.write_bytes(content)
    full["volumes"]["lab"]["painted"]["path"] = str(file)
    (problem,) = inspected(full)[0]
    assert f"`volumes.lab.painted`: {file}: section 8 can't be read: " in problem


def test_the_table_says_what_was_found(tmp_path: Path) -> None:
    """Every file with its place, every annotated section, and what can't be known yet, in lines of 120 columns."""
    full = config(tmp_path, sections=[2, 8, 9], painted=changed(9, 5), validation=8)
    far = {"role": "unlabelled", "raw": {"url": "https://example.org/far.tif"}}
    made = {"role": "test", "phantom": {"shape": [20, 30, 40]}}
    volumes = {**full["volumes"], "far": far, "made": made}
    full = complete({**full, "volumes": volumes}, SCHEMA)
    _, found = input_problems(full)
    seen = inspect_input(full, found)[1]
    write_check(tmp_path / "check.json", tmp_path / "check.txt", full, found, seen)
    text = (tmp_path / "check.txt").read_text()
    assert text == input_text(full, found, seen)
    lines = [line.split() for line in text.splitlines()]
    assert "lab, annotated" in text
    size = ["40", "x", "4.5", "x", "4"]
    shape = ["11", "x", "17", "x", "23"]
    read = ["9", "to", "9", "in", "6", "sections"]
    assert ["raw", *shape, "uint8", *size, "0", "x", "0", "x", "0", "0.000", *read] in lines
    assert ["2", "2", "41.9%"] in lines
    assert ["9", "1", "0.3%", "hardly", "annotated:", "by", "accident?"] in lines
    assert f"  painted: {tmp_path}/painted.npy" in text
    assert "  annotation: painted, 0 is unlabelled, 3 sections, section 8 for validation" in text
    assert "far, unlabelled: not known before it is downloaded" in text
    assert "raw: generated" in text
    assert all(len(line) <= 120 for line in text.splitlines() if str(tmp_path) not in line)
    content = json.loads((tmp_path / "check.json").read_text())
    assert content["volumes"] == found
    assert content["seen"] == seen
    (fragments,) = [plan for plan in content["blocks"] if plan["volume"] == "lab" and plan["rule"] == "make_fragments"]
    assert (fragments["key"], fragments["halo"]) == ("segment.block", [16, 32, 32])
