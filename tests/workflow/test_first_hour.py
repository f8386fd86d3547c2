"""The first hour of a newcomer: a stack, painted labels, and the commands of the tutorial."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sparse2dense.stages.command import main
from tests.voronoi import voronoi
from tests.workflow.invocation import ROOT, planned, snakemake

SHAPE = (33, 50, 61)


def test_from_two_stacks_to_a_plan_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new configuration passes the check as it is, leads to a whole plan, and the status tells what was done."""
    for name in ("workflow", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    objects = voronoi(SHAPE, 12)
    labels = np.zeros(SHAPE, np.uint16)
    labels[[5, 15, 25]] = np.where(objects < 9, objects, 0)[[5, 15, 25]]
    tifffile.imwrite("crop.tif", np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8))
    tifffile.imwrite("painted.tif", labels)
    files = ["--raw", "crop.tif", "--painted", "painted.tif", "--voxel-size", "8", "8", "8"]
    assert main(["new", "mine.yaml", *files, "--nets", "cpu"]) == 0
    assert "sections 5, 15, 25; 25 is kept for validation" in capsys.readouterr().out
    mine = (tmp_path / "mine.yaml",)
    snakemake(tmp_path, "check", configfiles=mine)
    assert main(["status"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("results/mine: finished, 2 of 2 steps")
    assert "\nwrite_check  1" in told
    rules = {job.rule for job in planned(snakemake(tmp_path, "--dry-run", configfiles=mine))}
    assert {"train_2d", "train_2d_to_3d", "train_3d_bootstrapped", "write_report"} <= rules
    assert "train_3d_baseline" not in rules
