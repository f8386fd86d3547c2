"""The workflow on a real SLURM: `snakemake --profile slurm`, as typed."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.slurm.one_node import one_node, why_not
from tests.workflow.invocation import ROOT, TINY, command, snakemake, started, written

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

# Of some rules: CPUs, memory in MB, minutes and GPUs, as the rules declare them for a first attempt.
DECLARED = {
    "make_phantom": (1, 4000, 30, 0),
    "train_2d": (8, 16000, 720, 1),
    "train_2d_to_3d": (8, 16000, 720, 1),
    "predict_2d": (8, 8000, 240, 1),
    "make_fragments": (2, 8000, 120, 0),
    "score": (1, 4000, 60, 0),
    "train_3d_bootstrapped": (8, 16000, 1440, 1),
    "predict_3d": (8, 8000, 240, 1),
}

OPTIONS = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "5")


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
    """Every job runs as a SLURM job with the CPUs, memory, time and GPUs that its rule declares, up to the scores."""
    tracks = written(tmp_path, {"evaluate": {"tracks": ["bootstrapped"]}})
    outcome = snakemake(tmp_path, "evaluate", *OPTIONS, "--retries", "0", configfiles=(TINY, tracks))
    assert (tmp_path / "results/tiny/held_out/bootstrapped/best.json").exists()
    jobs = slurm_jobs()
    finished = [job for job in started(outcome) if job != "evaluate"]
    assert {rule: len(found) for rule, found in jobs.items()} == {rule: finished.count(rule) for rule in finished}
    assert {facts["JobState"] for found in jobs.values() for facts in found} == {"COMPLETED"}
    for rule, (cpus, memory, runtime, gpus) in DECLARED.items():
        assert jobs[rule], rule
        for facts in jobs[rule]:
            reserved = dict(part.split("=") for part in facts["TRES"].split(","))
            assert int(reserved["cpu"]) == cpus, rule
            assert reserved["mem"] == f"{memory}M", rule
            assert minutes(facts["TimeLimit"]) == runtime, rule
            assert sum(map(int, re.findall(r"gpu[:=](\d+)", facts.get("TresPerJob", "")))) == gpus, rule


def test_failing_job_gets_more_of_everything(tmp_path: Path) -> None:
    """The retries of the profile are new SLURM jobs, each with twice the memory and time."""
    stack = np.ones((20, 40, 50), np.uint8)
    stack[4] = 2  # which the table lacks, on a section that no check looks at
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    (tmp_path / "ids.csv").write_text("1,7\n")
    source = {"path": "stack.tif", "voxel_size": [8, 8, 8]}
    volume = {"role": "test", "raw": source, "truth": {**source, "mapping": "ids.csv"}}
    change = written(tmp_path, {"volumes": {"mine": volume}})
    target = "results/tiny/mine/truth.zarr"
    outcome = snakemake(tmp_path, target, *OPTIONS, configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "holds ids that the mapping lacks: 2" in outcome.text
    failed = [facts for facts in slurm_jobs()["import_labels"] if facts["JobState"] == "FAILED"]
    reserved = [dict(part.split("=") for part in facts["TRES"].split(",")) for facts in failed]
    assert sorted(part["mem"] for part in reserved) == ["2000M", "4000M", "8000M"]
    assert sorted(minutes(facts["TimeLimit"]) for facts in failed) == [60, 120, 240]


FRAGMENTS = Path("results/tiny/held_out/pseudo/fragments.zarr")


def wait_for(found: Callable[[], bool], run: subprocess.Popen[bytes], log: Path, seconds: float = 300) -> None:
    """Wait until something is so, while Snakemake runs."""
    deadline = time.monotonic() + seconds
    while not found():
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def marked(directory: Path, blocks: range) -> set[int]:
    """Those of the blocks of fragments that are marked as finished."""
    marks = directory.glob(f"{FRAGMENTS}.*.partial/.blockwise/done/*")
    return {int(mark.name) for mark in marks} & set(blocks)


def first_part(state: str) -> list[str]:
    """SLURM's numbers of the jobs in a state that compute the first of two parts of the fragments."""
    found = slurm_jobs().get("make_fragments_part", [])
    return [facts["JobId"] for facts in found if facts["JobState"] == state and "0-of-2" in facts["Comment"]]


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cancelled_job_keeps_its_finished_blocks(finished: Path) -> None:
    """One of two jobs that share the fragments is cancelled in their midst; after another run nobody sees it.

    What else may happen to a job, of any stage, is in tests/test_crash.py.
    """
    small = {"segment": {"block": [1, 8, 8], "context": [0, 4, 4]}}
    logs = finished / "results/tiny/logs/make_fragments"
    snakemake(finished, str(FRAGMENTS), configfiles=(TINY, written(finished, small)))
    computed = re.search(r": computed (\d+) of \1 blocks", (logs / "held_out.pseudo.log").read_text())
    assert computed
    first = range(int(computed[1]) // 2)
    expected = content(finished / FRAGMENTS)
    shutil.rmtree(finished / FRAGMENTS)

    shared = written(finished, {**small, "volumes": {"held_out": {"jobs": 2}}})
    options, log = (*OPTIONS, "--retries", "0"), finished / "stopped.log"
    with log.open("w") as file:
        call = command(finished, str(FRAGMENTS), *options, configfiles=(TINY, shared))
        run = subprocess.Popen(call, cwd=ROOT, stdout=file, stderr=file)
    wait_for(lambda: len(marked(finished, first)) > 5, run, log)
    (job,) = first_part("RUNNING")
    subprocess.run(["scancel", job], check=True)
    assert run.wait(timeout=600) != 0, log.read_text()
    assert not (finished / FRAGMENTS).exists()
    assert job in first_part("CANCELLED")
    before = marked(finished, first)
    assert 0 < len(before) < len(first)
    outcome = snakemake(finished, str(FRAGMENTS), *options, configfiles=(TINY, shared))
    assert started(outcome) == ["make_fragments", "make_fragments_part"]
    again = re.search(r": (\d+) of (\d+) done before", (logs / "held_out.pseudo.0-of-2.log").read_text())
    assert again
    assert len(before) <= int(again[1]) < int(again[2]) == len(first)
    assert content(finished / FRAGMENTS) == expected
    assert not list((finished / FRAGMENTS.parent).glob("*.partial*"))
