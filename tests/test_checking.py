"""Checks of the input from its headers alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sparse2dense.stages.checking import input_problems, known_sizes
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.volumes.volume import create_volume

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    """A volume of 12 x 40 x 50 voxels with painted labels on a crop of it."""
    tifffile.imwrite(folder / "raw.tif", np.zeros((12, 40, 50), np.uint16))
    tifffile.imwrite(folder / "painted.tif", np.zeros((12, 20, 20), np.uint32))
    volume = {
        "role": "annotated",
        "raw": {"path": str(folder / "raw.tif"), "voxel_size": [40, 4.5, 4]},
        "painted": {"path": str(folder / "painted.tif"), "voxel_size": [40, 4.5, 4], "offset": [0, 45, 40]},
        "annotation": {"zero": "unlabelled", "sections": [0, 11]},
        **changes,
    }
    nets = {"2d": {"offsets": [[-1, 0], [0, -1], [0, -27]]}, "2d_to_3d": {"offsets": SHORT}, "3d": {"offsets": SHORT}}
    return complete({"volumes": {"lab": volume}, "nets": nets}, SCHEMA)


SHORT = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


def test_good_input_is_described(tmp_path: Path) -> None:
    """Shape, type and place of every image and its labels are found, after cropping."""
    full = config(tmp_path, raw={"path": str(tmp_path / "raw.tif"), "voxel_size": [40, 4.5, 4], "crop": CROP})
    full["volumes"]["lab"]["annotation"]["sections"] = [4, 7]
    problems, found = input_problems(full)
    assert problems == []
    same = {"voxel_size": [40.0, 4.5, 4.0], "dataset": None, "whole_sections": False}
    image = {"dtype": "uint16", "shape": [8, 40, 50], "offset": [160.0, 0.0, 0.0], "path": str(tmp_path / "raw.tif")}
    labels = {"dtype": "uint64", "shape": [12, 20, 20], "offset": [0.0, 45.0, 40.0]}
    painted = {**same, **labels, "path": str(tmp_path / "painted.tif")}
    assert found == {"lab": {"role": "annotated", **same, **image, "labels": {"painted": painted}}}


CROP = [[4, 12], [0, 40], [0, 50]]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"raw": {"path": "absent.tif", "voxel_size": [40, 4, 4]}}, ["`volumes.lab.raw`: absent.tif doesn't exist"]),
        (
            {"raw": {"path": "{folder}/raw.tif", "voxel_size": [40, 4.5, 4], "crop": [[0, 13], [0, 9], [0, 9]]}},
            ["crop"],
        ),
        (
            {"painted": {"path": "{folder}/painted.tif", "voxel_size": [40, 4, 4]}},
            ["`volumes.lab.painted`", "voxel size"],
        ),
        ({"annotation": {"zero": "background", "sections": [3, 12, 15]}}, ["sections` holds [12, 15]", "0 to 11"]),
    ],
)
def test_problems_name_the_key(tmp_path: Path, changes: dict[str, Any], told: list[str]) -> None:
    """What a header contradicts is reported with its key, and nothing is written."""
    placed = json.loads(json.dumps(changes).replace("{folder}", str(tmp_path)))
    full = config(tmp_path, **placed)
    problems, _ = input_problems(full)
    text = "\n".join(map(str, problems))
    assert all(part in text for part in told), text


@pytest.mark.parametrize(
    ("offset", "told"),
    [
        ([0, 45, 40], None),
        ([0, 45.001, 40], None),
        ([0, 47, 40], "begins 0 x 10.4444 x 10 voxels behind"),
        ([20, 45, 40], "begins 0.5 x 10 x 10 voxels behind"),
    ],
)
def test_labels_lie_on_the_voxels_of_the_image(tmp_path: Path, offset: list[float], told: str | None) -> None:
    """Whole voxels from its corner, but for the digits that a format rounds off."""
    size = [40, 4.5, 4]
    full = config(tmp_path, painted={"path": str(tmp_path / "painted.tif"), "voxel_size": size, "offset": offset})
    full["volumes"]["lab"]["annotation"]["sections"] = [0, 10]
    problems = [str(problem) for problem in input_problems(full)[0]]
    assert len(problems) == (told is not None)
    assert told is None or ("`volumes.lab.painted`: " in problems[0] and told in problems[0])


@pytest.mark.parametrize(
    ("first", "sections", "told"),
    [
        (3, [0, 8], []),
        (3, [0, 9, 11], ["holds [9, 11]", "allowed: 0 to 8: sections of the labels that lie in the image"]),
        (-2, [1, 2], ["holds [1]", "allowed: 2 to 11: sections of the labels"]),
        (3, [0, 12], ["holds [12]", "allowed: 0 to 11: the labels have 12 sections"]),
    ],
)
def test_annotated_sections_are_those_of_labels_and_image(
    tmp_path: Path, first: int, sections: list[int], told: list[str]
) -> None:
    """They are counted in the labels, which may begin elsewhere, and must lie in the image too."""
    place = {"voxel_size": [40, 4.5, 4], "offset": [40 * first, 0, 0]}
    full = config(tmp_path, painted={"path": str(tmp_path / "painted.tif"), **place})
    full["volumes"]["lab"]["annotation"]["sections"] = sections
    problems = "".join(str(problem) for problem in input_problems(full)[0])
    assert bool(problems) == bool(told)
    assert all(part in problems for part in told), problems


def test_a_mask_lies_on_its_labels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((12, 20, 20), np.uint8))
    place = {"voxel_size": [40, 4.5, 4], "offset": [0, 45, 44]}
    full = config(tmp_path, painted_mask={"path": str(tmp_path / "mask.tif"), **place})
    (problem,) = input_problems(full)[0]
    assert problem.problem.startswith("volumes.lab.painted_mask: shape [12, 20, 20], offset [0.0, 45.0, 44.0]")
    full["volumes"]["lab"]["painted_mask"]["offset"] = [0, 45, 40]
    assert input_problems(full)[0] == []


def test_missing_skeletons_are_named(tmp_path: Path) -> None:
    full = config(tmp_path)
    test = {
        "role": "test",
        "phantom": {"shape": [40, 40, 40], "voxel_size": [40, 4.5, 4]},
        "skeletons": {"path": str(tmp_path / "nodes.swc")},
    }
    full["volumes"] |= complete({"volumes": {**full["volumes"], "held_out": test}}, SCHEMA)["volumes"]
    told = [str(problem) for problem in input_problems(full)[0]]
    assert len(told) == 1
    assert f"`volumes.held_out.skeletons`: {tmp_path / 'nodes.swc'} doesn't exist" in told[0]
    (tmp_path / "nodes.swc").touch()
    assert input_problems(full)[0] == []


def test_offset_longer_than_a_volume_is_refused(tmp_path: Path) -> None:
    """A step that leaves the volume from everywhere would have no target anywhere."""
    full = config(tmp_path)
    full["nets"]["3d"]["offsets"] = [*SHORT, [-12, 0, 0]]
    full["nets"]["2d"]["offsets"] = [[-1, 0], [0, -1], [0, -49], [-40, 0]]
    told = [problem.problem for problem in input_problems(full)[0]]
    assert told == [
        "`nets.2d.offsets` holds [-40, 0], and volume lab has the shape [12, 40, 50]",
        "`nets.3d.offsets` holds [-12, 0, 0], and volume lab has the shape [12, 40, 50]",
    ]


def test_the_size_of_a_download_is_known_by_its_crop_or_once_it_was_imported(tmp_path: Path) -> None:
    """So the memory of its blocks can be compared with what jobs get before it is downloaded, or at the next start."""
    full = config(tmp_path)
    address, size = {"url": "https://example.org/raw.tif"}, [40, 8, 8]
    given = {
        "cropped": {**address, "crop": [[5, 105], [0, 300], [100, 500]], "voxel_size": size},
        "unknown": {**address, "voxel_size": size},
        "imported": address,
    }
    volumes = {name: {"role": "unlabelled", "raw": raw} for name, raw in given.items()}
    full["volumes"] |= complete({"volumes": {**full["volumes"], **volumes}}, SCHEMA)["volumes"]
    create_volume(tmp_path / "imported/raw.zarr", (7, 30, 20), "uint8", voxel_size=(40, 4, 4))
    known = known_sizes(full, input_problems(full)[1], tmp_path)
    assert known == {
        "lab": {"shape": [12, 40, 50], "voxel_size": [40, 4.5, 4]},
        "cropped": {"shape": [100, 300, 400], "voxel_size": size},
        "imported": {"shape": [7, 30, 20], "voxel_size": [40, 4, 4]},
    }
