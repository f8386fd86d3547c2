"""Checks of the input from its headers alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sparse2dense.errors import InputError
from sparse2dense.stages.checking import check_run, input_problems
from sparse2dense.stages.configuration import complete, load_schema

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
    """Shape, type and place of every image are found, and written as JSON."""
    full = config(tmp_path, raw={"path": str(tmp_path / "raw.tif"), "voxel_size": [40, 4.5, 4], "crop": CROP})
    full["volumes"]["lab"]["annotation"]["sections"] = [0, 7]
    check_run(full, tmp_path / "check.json")
    facts = {"role": "annotated", "dtype": "uint16", "shape": [8, 40, 50], "voxel_size": [40.0, 4.5, 4.0]}
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["volumes"] == {"lab": {**facts, "offset": [160.0, 0.0, 0.0]}}
    (fragments,) = [plan for plan in found["blocks"] if plan["rule"] == "make_fragments"]
    assert fragments["volume"] == "lab"
    assert (fragments["key"], fragments["halo"]) == ("segment.block", [16, 32, 32])


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
    with pytest.raises(InputError):
        check_run(full, tmp_path / "check.json")
    assert not (tmp_path / "check.json").exists()


def test_missing_skeletons_are_named(tmp_path: Path) -> None:
    full = config(tmp_path)
    test = {"role": "test", "phantom": {"shape": [40, 40, 40]}, "skeletons": {"path": str(tmp_path / "nodes.swc")}}
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
