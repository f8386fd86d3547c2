"""The workflow on a real SLURM: `snakemake --profile slurm`, as typed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.slurm.one_node import one_node, why_not
from tests.workflow.invocation import TINY, planned, snakemake, started, written

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

# Of some rules: CPUs, memory in MB, minutes and GPUs, as the rules declare them for a first attempt.
DECLARED = {
    "make_phantom": (1, 4000, 30, 0),
    "train_2d": (8, 16000, 720, 1),
    "train_2d_to_3d": (8, 16000, 720, 1),
    "predict_2d": (8, 8000, 240, 1),
    "make_fragments": (2, 8000, 120, 0),
    "score": (1, 4000, 60, 0),
}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Path]:
    """A SLURM of one node with eight CPUs and two GPUs, all of them invented."""
    with one_node() as folder:
        yield folder


def slurm_jobs() -> dict[str, list[dict[str, str]]]:
    """What SLURM remembers of every job, by rule."""
    printed = subprocess.run(["scontrol", "show", "jobs", "--oneliner"], capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, str]]] = {}
    for line in printed.stdout.splitlines():
        facts = dict(re.findall(r"(\S+?)=(\S*)", line))
        rule = re.match(r"rule_(.*?)(?:_wildcards_|$)", facts.get("Comment", ""))
        if rule:
            found.setdefault(rule[1], []).append(facts)
    return found


def minutes(limit: str) -> int:
    """SLURM's days-hours:minutes:seconds in minutes."""
    days, _, clock = limit.rpartition("-")
    hours, mins, _ = clock.split(":")
    return int(days or 0) * 1440 + int(hours) * 60 + int(mins)


def test_tiny_workflow(tmp_path: Path) -> None:
    """Every job runs as a SLURM job with the CPUs, memory, time and GPUs that its rule declares."""
    change = written(tmp_path, {"evaluate": {"tracks": ["pseudo"]}})
    files = (TINY, change)
    options = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5", "--retries", "0")
    plan = planned(snakemake(tmp_path, "evaluate", "--dry-run", configfiles=files))
    outcome = snakemake(tmp_path, "evaluate", *options, configfiles=files)
    assert (tmp_path / "results/tiny/held_out/pseudo/best.json").exists()
    jobs = slurm_jobs()
    expected: dict[str, int] = {}
    for job in plan:
        if job.rule != "evaluate":
            expected[job.rule] = expected.get(job.rule, 0) + 1
    assert {rule: len(found) for rule, found in jobs.items()} == expected
    assert set(started(outcome)) == {*expected, "evaluate"}
    assert {facts["JobState"] for found in jobs.values() for facts in found} == {"COMPLETED"}
    for rule, (cpus, memory, runtime, gpus) in DECLARED.items():
        for facts in jobs[rule]:
            reserved = dict(part.split("=") for part in facts["TRES"].split(","))
            assert int(reserved["cpu"]) == cpus, rule
            assert reserved["mem"] == f"{memory}M", rule
            assert minutes(facts["TimeLimit"]) == runtime, rule
            assert int(reserved.get("gres/gpu", 0)) == gpus, rule


def test_failing_job_gets_more_of_everything(tmp_path: Path) -> None:
    """The retries of the profile are new SLURM jobs, each with twice the memory and time."""
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((20, 40, 50), np.uint8))
    (tmp_path / "ids.csv").write_text("2,7\n")  # the labels hold id 1, which the table lacks
    source = {"path": "stack.tif", "voxel_size": [8, 8, 8]}
    volume = {"role": "test", "raw": source, "truth": {**source, "mapping": "ids.csv"}}
    change = written(tmp_path, {"volumes": {"mine": volume}})
    options = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5")
    target = "results/tiny/mine/truth.zarr"
    outcome = snakemake(tmp_path, target, *options, configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "holds ids that the mapping lacks: 1" in outcome.text
    failed = [facts for facts in slurm_jobs()["import_labels"] if facts["JobState"] == "FAILED"]
    reserved = [dict(part.split("=") for part in facts["TRES"].split(",")) for facts in failed]
    assert sorted(part["mem"] for part in reserved) == ["2000M", "4000M", "8000M"]
    assert sorted(minutes(facts["TimeLimit"]) for facts in failed) == [60, 120, 240]
