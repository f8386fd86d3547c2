"""What is wrong is said before any job starts, and nothing already computed is touched."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.workflow.invocation import ROOT, TINY, snakemake, started, written


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"volumes": {"painted": {"anotation": {}}}}, ["`volumes.painted.anotation`", "did you mean `annotation`"]),
        ({"nets": {"2d": {"iterations": "many"}}}, ['`nets.2d.iterations` is "many"', "whole number >= 1"]),
        ({"segment": {"thresholds": [0.5, 0.2]}}, ["`segment.thresholds` is [0.5, 0.2]", "ascending"]),
        (
            {"volumes": {"bare": {"role": "test", "raw": {"path": "nowhere.tif"}, "phantom": {"shape": [9, 9, 9]}}}},
            ["`volumes.bare` has both `phantom` and `raw`"],
        ),
    ],
)
def test_wrong_configuration(tmp_path: Path, change: dict[str, Any], names: list[str]) -> None:
    """The message is ours, names key, value and what to do, and comes without a traceback."""
    outcome = snakemake(tmp_path, "--dry-run", configfiles=(TINY, written(tmp_path, change)), check=False)
    assert outcome.status != 0
    assert all(name in outcome.text for name in [*names, "allowed:", "what to do:"]), outcome.text
    assert "Traceback" not in outcome.text


def sources(folder: Path, **labels: Any) -> dict[str, Any]:
    """A configuration that reads files which exist."""
    tifffile.imwrite(folder / "raw.tif", np.zeros((20, 40, 50), np.uint8))
    tifffile.imwrite(folder / "painted.tif", np.ones((20, 40, 50), np.uint16))
    raw = {"path": "raw.tif", "voxel_size": [8, 8, 8]}
    painted = {"path": "painted.tif", "voxel_size": [8, 8, 8], **labels}
    annotation = {"zero": "unlabelled", "sections": [3, 9]}
    return {"role": "annotated", "raw": raw, "painted": painted, "annotation": annotation}


def test_absent_file(tmp_path: Path) -> None:
    """A path at which there is nothing is named with its key, not as a missing input of a rule."""
    change = {"volumes": {"mine": sources(tmp_path, path="painting.tif")}}
    outcome = snakemake(tmp_path, "check", configfiles=(TINY, written(tmp_path, change)), check=False)
    assert outcome.status != 0
    assert "`volumes.mine.painted`: painting.tif doesn't exist" in outcome.text


def test_all_input_problems_are_found_before_any_other_job(tmp_path: Path) -> None:
    """Labels beside raw, a section that is not there and offsets longer than a volume are reported in one go."""
    volume = sources(tmp_path, offset=[0, 4000, 0])
    volume["annotation"]["sections"] = [3, 20]
    offsets = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-19, 0, 0]]
    change = {"volumes": {"mine": volume}, "nets": {"3d": {"offsets": offsets, "input_shape": [24, 32, 32]}}}
    outcome = snakemake(tmp_path, configfiles=(TINY, written(tmp_path, change)), check=False)
    assert outcome.status != 0
    assert "`volumes.mine.painted`" in outcome.text
    assert "labels that overlap the raw volume" in outcome.text
    assert "`volumes.mine.annotation.sections` holds [20]" in outcome.text
    assert "`nets.3d.offsets` holds [-19, 0, 0], and volume bare has the shape [18, 52, 50]" in outcome.text
    assert "Traceback" not in outcome.text
    assert started(outcome) == []
    assert not (tmp_path / "results/tiny/painted").exists()


def test_good_input_is_shown_whenever_it_is_asked_for(tmp_path: Path) -> None:
    """`snakemake check` shows what it found each time, keeps it, and finds it anew when a file is replaced."""
    files = (TINY, written(tmp_path, {"volumes": {"mine": sources(tmp_path)}}))
    for rules in (["check", "write_check"], ["check"]):
        outcome = snakemake(tmp_path, "check", configfiles=files)
        assert started(outcome) == rules
        text = (tmp_path / "results/tiny/check.txt").read_text()
        assert text in outcome.text
        assert "mine, annotated" in text
        assert re.search("  raw +20 x 40 x 50 +uint8", text)
    tifffile.imwrite(tmp_path / "raw.tif", np.zeros((20, 40, 50), np.uint16))
    outcome = snakemake(tmp_path, "check", configfiles=files)
    assert started(outcome) == ["check", "write_check"]
    assert re.search("  raw +20 x 40 x 50 +uint16", outcome.text)


@pytest.mark.parametrize(
    ("target", "name", "values", "told"),
    [
        ("check", "painted", np.zeros((20, 40, 50), np.uint16), "annotation.sections` holds [3, 9], on which nothing"),
        ("prepare", "painted", np.full((20, 40, 50), -2, np.int16), "painted.tif holds the negative id -2"),
        ("check", "raw", np.full((20, 40, 50), 255, np.float32), "raw.tif holds values from 255.0 to 255.0"),
        ("prepare", "painted", np.ones((8, 40, 50), np.uint16), "`volumes.mine.annotation.sections` holds [9]"),
    ],
    ids=["unpainted", "negative", "floats", "absent"],
)
def test_contents_are_checked_before_any_job(tmp_path: Path, target: str, name: str, values: Any, told: str) -> None:
    """What headers don't show is refused too, by every target, and nothing is begun."""
    volume = sources(tmp_path, offset=[0, 0, 0])
    tifffile.imwrite(tmp_path / f"{name}.tif", values)
    change = written(tmp_path, {"volumes": {"mine": volume}})
    outcome = snakemake(tmp_path, target, configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert told in outcome.text
    assert "Traceback" not in outcome.text
    assert started(outcome) == []
    assert list((tmp_path / "results").rglob("*.*")) == []


def test_blocks_beyond_all_memory(tmp_path: Path) -> None:
    """Blocks that no machine can hold are refused before the first job, and not where only a plan is asked for."""
    large = {"role": "unlabelled", "phantom": {"shape": [20000, 20000, 20000]}}
    change = written(tmp_path, {"volumes": {"large": large}, "segment": {"block": [20000, 20000, 20000]}})
    outcome = snakemake(tmp_path, "check", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "`segment.block` is [20000, 20000, 20000] for make_fragments of volume large: 2 processes" in outcome.text
    assert "the memory of this machine" in outcome.text
    assert "use `segment.block: [" in outcome.text
    assert "Traceback" not in outcome.text
    assert started(outcome) == []
    assert snakemake(tmp_path, "check", "--dry-run", configfiles=(TINY, change)).status == 0


def test_failing_job_is_tried_again_with_more_memory_and_time(tmp_path: Path) -> None:
    """Resources double with every attempt; the number of attempts is the profile's or the user's."""
    volume = sources(tmp_path, mapping="numbers.csv")
    (tmp_path / "numbers.csv").write_text("1,7\n")
    painted = np.ones((20, 40, 50), np.uint16)
    painted[5] = 2  # which the table lacks, on a section that isn't named
    tifffile.imwrite(tmp_path / "painted.tif", painted)
    change = written(tmp_path, {"volumes": {"mine": volume}})
    target = "results/tiny/mine/painted.zarr"
    outcome = snakemake(tmp_path, target, "--retries", "1", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "holds ids that the mapping lacks: 2" in outcome.text
    tries = [line for line in outcome.text.splitlines() if "resources:" in line and "runtime=" in line]
    assert any("mem_mb=2000" in line and "runtime=60" in line for line in tries)
    assert any("mem_mb=4000" in line and "runtime=120" in line for line in tries)
    assert not (tmp_path / target).exists()


def test_the_demo_says_that_it_is_one(tmp_path: Path) -> None:
    """A target of one's own run, asked for without its file, is unknown to the demo: the reason stands beside that."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    target = "results/mine/crop/raw.zarr"
    outcome = snakemake(tmp_path, target, "--dry-run", configfiles=(), check=False)
    assert outcome.status != 0
    assert "No volumes are configured: this is the demo. Name your own with --configfile." in outcome.text
    assert "this is the demo" not in snakemake(tmp_path, "check", "--dry-run").text
