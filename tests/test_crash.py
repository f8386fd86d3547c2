"""Every stage that works in blocks, killed again and again, or stopped by SLURM: it goes on to the same bytes."""

import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.crash_stages import STAGES, write_inputs
from tests.slurm.one_node import one_node, why_not

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all stages read."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


Begun = list[tuple[str, int]]
"""Blocks in the order in which they were begun: the folder they were written in, and their index."""
Files = dict[str, bytes]
"""Files of a folder by their path in it."""


class Job:
    """A stage that runs in a process group of its own."""

    def __init__(self, description: Path, attempt: int) -> None:
        self.journal, self.log = (description.with_name(f"{attempt}.{name}") for name in ("journal", "log"))
        call = [sys.executable, str(ROOT / "tests/blockwise_job.py"), str(description), str(self.journal)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(call, start_new_session=True, stdout=log, stderr=log)

    def begun(self) -> Begun:
        """The blocks begun so far; a kill never cuts a line, which is written at once."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [(folder, int(index)) for folder, index in map(str.split, lines)]

    def end(self) -> None:
        """Wait until it has ended by itself, without an error."""
        assert self.process.wait(timeout=600) == 0, self.log.read_text()

    def kill(self, blocks: int, delay: float, everyone: bool) -> bool:
        """Kill it when so many blocks were begun and some seconds passed; return whether it had not ended before.

        The whole group is killed, or the process that leads it, as where memory runs out: the others must follow it.
        """
        try:
            while self.process.poll() is None and len(self.begun()) < blocks:
                time.sleep(0.001)
            time.sleep(delay)
        finally:
            if self.process.poll() is None:
                (os.killpg if everyone else os.kill)(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        assert status in (0, -signal.SIGKILL), self.log.read_text()
        deadline = time.monotonic() + 30
        while alive(self.process.pid):
            assert time.monotonic() < deadline, f"processes {alive(self.process.pid)} survived the kill"
            time.sleep(0.02)
        return status != 0


def alive(group: int) -> list[int]:
    """The processes of a group that still run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while the list was read
        if int(its_group) == group and state not in "ZX":
            found.append(int(file.parent.name))
    return found


def finished(folder: Path, begun: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """The blocks that need not be computed again: marked ones, and all of a pass that is whole."""
    marked = {(file.parents[2].name, int(file.name)) for file in folder.glob("**/*.partial/.blockwise/done/*")}
    passes = {path.name for path in folder.glob("*.passes/*")}
    # the folder of blocks is named <output>.<stamp>.partial
    return marked | {(root, index) for root, index in begun if root.rsplit(".", 2)[0] in passes}


def crash_generator() -> np.random.Generator:
    """A source of moments, another one at each run; CRASH_SEED repeats one that failed."""
    seed = int(os.environ.get("CRASH_SEED", secrets.randbits(32)))
    print(f"CRASH_SEED={seed}")
    return np.random.default_rng(seed)


def content(folder: Path) -> Files:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def below(name: str, files: Files) -> Files:
    """Those of one output."""
    return {path: value for path, value in files.items() if path.split("/")[0] == name}


@pytest.fixture(scope="module")
def undisturbed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Files, Begun]]:
    """The files that a stage leaves when nobody stops it, and its blocks; each stage runs once."""

    @cache
    def run(name: str) -> tuple[Files, Begun]:
        folder = tmp_path_factory.mktemp("whole")
        job = Job(described(name, inputs, folder / "whole"), 0)
        job.end()
        begun = job.begun()
        assert len(begun) == len(set(begun)) >= 27
        return content(folder / "whole"), begun

    return run


def described(name: str, inputs: Path, folder: Path) -> Path:
    """Make the folder of a stage's outputs; return the file beside it that describes the stage."""
    folder.mkdir()
    description = folder.with_suffix(".job")
    description.write_bytes(STAGES[name].description(inputs, folder))
    return description


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts the processes of a group as Linux lists them")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_killed_three_times_ends_with_the_same_bytes(
    name: str, inputs: Path, undisturbed: Callable[[str], tuple[Files, Begun]], tmp_path: Path
) -> None:
    """No kill leaves a half-made output or a process, and no run computes a block that an earlier one marked.

    Nothing that these stages write depends on time, so every file is compared, and there may be no others.
    """
    rng = crash_generator()
    expected, whole = undisturbed(name)
    folder, everything = tmp_path / "killed", set(whole)
    description = described(name, inputs, folder)
    begun: Begun = []
    done: set[tuple[str, int]] = set()
    # of the blocks that are left; the last kill may come too late
    for attempt, share in enumerate((1 / 3, 1 / 2, 1), start=1):
        most = max(1, int(share * (len(everything) - len(done))))
        moment: dict[str, Any] = {"blocks": int(rng.integers(1, most + 1)), "delay": rng.uniform(0, 0.02)}
        moment["everyone"] = attempt != 2
        print(f"kill {attempt}, {len(done)} of {len(everything)} blocks done: {moment}")
        job = Job(description, attempt)
        struck = job.kill(**moment)
        assert struck or attempt > 1, job.log.read_text()
        assert not done & set(job.begun()), "a finished block was computed again"
        begun += job.begun()
        there = {path.split("/")[0] for path in content(folder)} & {path.split("/")[0] for path in expected}
        assert all(below(output, content(folder)) == below(output, expected) for output in there)
        assert not (there and list(folder.glob("*.partial"))), "an output has its name before all is done"
        kept = finished(folder, begun)
        # in the moment in which outputs get their names, the marks go first
        assert kept >= done or there or list(folder.rglob("*.leaving"))
        done = kept
        if not struck or there:  # what is called again although its output stands starts anew
            break
    if struck:
        last = Job(description, 4)
        last.end()
        assert sorted(last.begun()) == sorted(everything - done)
        counts = re.findall(r": computed (\d+) of \d+ blocks", last.log.read_text())
        assert sum(map(int, counts)) == len(everything - done)
    assert content(folder) == expected


class ClusterJob(Job):
    """A stage that runs as a job of SLURM, slowed down."""

    def __init__(self, description: Path, attempt: int, pause: float = 0.0) -> None:
        self.journal, self.log = (description.with_name(f"{attempt}.{name}") for name in ("journal", "log"))
        script = description.with_name(f"{attempt}.sh")
        call = [sys.executable, str(ROOT / "tests/blockwise_job.py"), str(description), str(self.journal), str(pause)]
        script.write_text(f"#!/bin/bash\nexec {shlex.join(call)}\n")
        options = ["--requeue", "--cpus-per-task=2", "--mem=2000", f"--output={self.log}", "--open-mode=append"]
        answer = subprocess.run(
            ["sbatch", "--parsable", *options, str(script)], capture_output=True, text=True, check=True
        )
        self.number = answer.stdout.strip()

    def shown(self) -> str:
        """What SLURM says of it."""
        call = ["scontrol", "show", "job", self.number]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout

    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED ..."""
        return re.findall(r"JobState=(\w+)", self.shown())[0]

    def wait(self, met: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + 120
        while not met():
            assert time.monotonic() < deadline, f"{self.state()}: {self.log.read_text() if self.log.exists() else ''}"
            time.sleep(0.02)

    def end(self) -> None:
        """Wait until it has ended by itself, without an error."""
        self.wait(lambda: self.state() not in ("PENDING", "RUNNING", "COMPLETING"))
        assert self.state() == "COMPLETED", self.shown() + self.log.read_text()

    def stop(self, blocks: int, *command: str) -> str:
        """Stop it by a command of SLURM when so many blocks were begun; return its state when no process is left."""
        self.wait(lambda: len(self.begun()) >= blocks)
        subprocess.run([*command, self.number], check=True)
        self.wait(lambda: self.state() not in ("RUNNING", "COMPLETING") and not self.processes())
        return self.state()

    def processes(self) -> list[int]:
        """The processes on this machine that belong to it."""
        found = []
        for file in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"SLURM_JOB_ID={self.number}\0".encode() in file.read_bytes():
                    found.append(int(file.parent.name))
            except OSError:
                continue  # it ended while the list was read
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A SLURM of one node."""
    with one_node() as folder:
        yield folder


@pytest.mark.slurm
@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize(("name", "stop"), [(name, ("cancel", "requeue")[n % 2]) for n, name in enumerate(STAGES)])
def test_a_stage_stopped_by_slurm_ends_with_the_same_bytes(
    name: str, stop: str, inputs: Path, undisturbed: Callable[[str], tuple[Files, Begun]], tmp_path: Path
) -> None:
    """A job that is cancelled and submitted again, or put back into the queue, computes no marked block again."""
    rng = crash_generator()
    expected, whole = undisturbed(name)
    description, everything = described(name, inputs, tmp_path / "stopped"), set(whole)
    # all blocks together take two workers five seconds, in the first third of which the job is stopped
    job = ClusterJob(description, 1, pause=10 / len(everything))
    blocks = int(rng.integers(1, len(everything) // 3))
    if stop == "cancel":
        assert job.stop(blocks, "scancel") == "CANCELLED"
        begun, done = job.begun(), finished(tmp_path / "stopped", job.begun())
        again = ClusterJob(description, 2)
        again.end()
        later = again.begun()
    else:
        assert job.stop(blocks, "scontrol", "requeue") == "PENDING"
        begun, done = job.begun(), finished(tmp_path / "stopped", job.begun())
        # SLURM holds what it requeues back for two minutes; within the same second it would end the new start, too
        subprocess.run(["scontrol", "update", f"JobId={job.number}", "StartTime=now+3"], check=True)
        job.end()
        later = job.begun()[len(begun) :]
    assert len(done) < len(everything)
    assert sorted(later) == sorted(everything - done)
    assert content(tmp_path / "stopped") == expected


def test_every_stage_that_works_in_blocks_is_killed() -> None:
    """Whoever adds a stage adds it here."""
    sources = (ROOT / "src/sparse2dense/stages").glob("*.py")
    calls = sum(source.read_text().count("run_blockwise(") for source in sources)
    assert len({(stage.module, stage.function) for stage in STAGES.values()}) == calls
