"""The GPUs of a machine shared by jobs, each of which has one for itself; devices are invented, processes are real."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yte  # type: ignore[import-untyped]

from sparse2dense.stages.gpus import take_gpus, visible_gpus

ROOT = Path(__file__).parents[1]
LISTED = "CUDA_VISIBLE_DEVICES"
JOB = """
import logging, os, signal, sys
from pathlib import Path
from sparse2dense.stages.gpus import take_gpus
signal.alarm(30)  # a test that would wait for ever fails
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
take_gpus(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
if "forks" in sys.argv:
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print("child", child)
print("has", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has chosen a GPU yet."""
    for name in (LISTED, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def machine(folder: Path, number: int) -> Path:
    """The devices of a machine with a number of GPUs."""
    devices = folder / "dev"
    devices.mkdir(exist_ok=True)
    for name in ("null", "nvidiactl", "nvidia-uvm", "nvidia-caps", *(f"nvidia{n}" for n in range(number))):
        (devices / name).touch()
    return devices


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a job that takes a GPU of this machine and keeps it until its input ends."""
    jobs = []

    def begin(*words: str, asked: int = 1, **given: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", JOB, str(asked), str(tmp_path), str(tmp_path / "dev"), *words]
        job = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | given
        )
        jobs.append(job)
        return job

    yield begin
    for job in jobs:
        with job:
            job.kill()


def said(job: subprocess.Popen[str]) -> str:
    """The next line of a job."""
    assert job.stdout is not None
    return job.stdout.readline().strip()


@pytest.mark.parametrize("listed", [None, "0,1,2", "GPU-8a,MIG-7b/1/0,GPU-9c"])
def test_no_two_jobs_have_the_same_gpu(start: Start, tmp_path: Path, listed: str | None) -> None:
    """Of all that there are, or of those that the user lists; whatever is in the words, they are no paths."""
    machine(tmp_path, 3)
    jobs = [start(**{LISTED: listed} if listed else {}) for _ in range(3)]
    assert sorted(map(said, jobs)) == sorted(f"has {name}" for name in (listed or "0,1,2").split(","))
    assert len(list(tmp_path.glob("sparse2dense-gpu-*"))) == 3


def test_a_job_has_as_many_gpus_as_it_asks_for_or_waits_for_them(start: Start, tmp_path: Path) -> None:
    """One that waits for two keeps none from others meanwhile."""
    machine(tmp_path, 3)
    first = start(asked=2)
    assert said(first) == "has 0,1"
    waiting = start(asked=2)
    assert said(waiting).startswith("WARNING waiting")
    small = start(asked=1)
    lines = [said(small)]
    while lines[-1].startswith("WARNING"):  # it came just as the other looked
        lines.append(said(small))
    assert lines[-1] == "has 2"
    first.kill()
    assert said(waiting) == "has 0,1"
    assert said(start(asked=9)).startswith("WARNING waiting"), "all three, of which none is free"


@pytest.mark.parametrize(("asked", "seen", "count"), [(2, "4,5", 2), (3, "4,5", 2)])
def test_given_gpus_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, seen: str, count: int
) -> None:
    """By SLURM, which gave as many as the job asked for, or by the user, who has no more."""
    monkeypatch.setenv(LISTED, seen)
    assert take_gpus(asked, tmp_path, machine(tmp_path, 8)) == count
    assert os.environ[LISTED] == seen
    assert not list(tmp_path.glob("sparse2dense-gpu-*"))


@pytest.mark.parametrize("how", ["ends", "killed", "killed, but not what it started"])
def test_a_gpu_is_free_again_when_its_job_is_over(start: Start, tmp_path: Path, how: str) -> None:
    """A job without a GPU waits and says so; it goes on when another ends in whatever way."""
    machine(tmp_path, 2)
    kept, first = start(), start("forks")
    left = int(said(first).removeprefix("child "))
    of_first = said(first)
    assert {said(kept), of_first} == {"has 0", "has 1"}
    waiting = start()
    assert re.fullmatch(
        rf"WARNING waiting: .* the GPUs 0, 1; `lslocks` .* {tmp_path}/sparse2dense-gpu-0", said(waiting)
    )
    time.sleep(0.2)
    assert waiting.poll() is None
    if how != "killed, but not what it started":
        os.kill(left, signal.SIGKILL)
    if how == "ends":
        assert first.stdin is not None
        first.stdin.close()
        assert first.wait(10) == 0
    else:
        first.kill()
    assert said(waiting) == of_first
    if how == "killed, but not what it started":
        os.kill(left, signal.SIGKILL)  # which fails if it was over


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({LISTED: "3"}, "3"),
        ({LISTED: "GPU-8a"}, "GPU-8a"),
        ({LISTED: ""}, ""),
        ({LISTED: "-1"}, "-1"),
        ({LISTED: "NoDevFiles", "SLURM_JOB_ID": "7"}, "NoDevFiles"),
        ({LISTED: "0", "SLURM_JOB_ID": "7"}, "0"),
    ],
)
def test_a_given_gpu_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], seen: str) -> None:
    """By SLURM or by the user, one or none: the job has it, and nobody needs to wait for anybody."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for asked in (0, 1, 1):
        take_gpus(asked, tmp_path, machine(tmp_path, 4))
        assert os.environ[LISTED] == seen
    assert not list(tmp_path.glob("sparse2dense-gpu-*"))


def test_allocations_of_slurm_do_not_wait_for_each_other(start: Start, tmp_path: Path) -> None:
    """Each counts its own GPUs from 0: local runs within two of them have four, not two."""
    machine(tmp_path, 4)
    found = [said(start(**{LISTED: "0,1", "SLURM_JOB_ID": job})) for job in ("7", "7", "8", "8")]
    assert found == ["has 0", "has 1", "has 0", "has 1"]


def test_without_gpus_nothing_is_done(tmp_path: Path) -> None:
    """Nothing is locked, nothing set, nobody waits."""
    for _ in range(2):
        take_gpus(1, tmp_path, machine(tmp_path, 0))
    assert LISTED not in os.environ
    assert [file.name for file in tmp_path.iterdir()] == ["dev"]


def test_a_job_that_asks_for_no_gpu_has_none(start: Start, tmp_path: Path) -> None:
    """It would else use that of another; but on SLURM its administrator may give GPUs by other means."""
    machine(tmp_path, 1)
    assert [said(start()), said(start(asked=0))] == ["has 0", "has"]
    assert said(start(asked=0, SLURM_JOB_ID="7")) == "has None"


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (None, ["0", "1"]),
        ("2, 0", ["2", "0"]),
        ("1,-1,0", ["1"]),
        ("", []),
        ("NoDevFiles", []),
        ("GPU-8a,MIG-7b", ["GPU-8a", "MIG-7b"]),
    ],
)
def test_visible_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str | None, found: list[str]) -> None:
    """Listed ones up to what CUDA does not understand; else as many as there are, counted from 0."""
    devices = machine(tmp_path, 0)
    for name in ("nvidia1", "nvidia12"):  # in a container that sees a part of the machine
        (devices / name).touch()
    if listed is not None:
        monkeypatch.setenv(LISTED, listed)
    assert visible_gpus(devices) == found


@pytest.mark.parametrize(("listed", "jobs"), [("", 1), ("5", 1), ("0,2,5", 3)])
@pytest.mark.parametrize("words", [["snakemake"], ["snakemake", "--profile", "slurm"]])
def test_as_many_jobs_as_gpus(monkeypatch: pytest.MonkeyPatch, listed: str, jobs: int, words: list[str]) -> None:
    """On one machine; without a GPU one job at a time, and of a cluster the login node says nothing."""
    monkeypatch.setenv(LISTED, listed)
    monkeypatch.setattr(sys, "argv", words)
    profile = yte.process_yaml((ROOT / "profiles/default/config.yaml").read_text(), require_use_yte=True)
    assert profile["resources"]["gpu"] == (jobs if words == ["snakemake"] else 1000)


def test_jobs_that_ask_for_a_gpu_take_one() -> None:
    """Every script of a rule that asks for one, first of all; and no other."""
    asking = set()
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for text in re.split(r"^(?:rule|checkpoint) ", file.read_text(), flags=re.MULTILINE)[1:]:
            if re.search(r"^        gpu=", text, re.MULTILINE):
                asking |= set(re.findall(r'"\.\./scripts/(\w+\.py)"', text))
    taking = {
        file.name
        for file in (ROOT / "workflow/scripts").glob("*.py")
        if re.search(r"start_log\(.*\)\n *(?:gpus = )?take_gpus\(snakemake\.resources\.gpu\)\n", file.read_text())
    }
    assert taking == asking == {"train_2d.py", "train_2d_to_3d.py", "train_3d.py", "predict.py"}


def test_cuda_is_not_used_before_a_gpu_is_taken() -> None:
    """CUDA reads the variable once, at its first use: nothing that scripts import may be it."""
    code = (
        "import torch\n"
        "def used(*_): raise SystemExit('CUDA was used')\n"
        "for name in ('is_available', 'device_count', '_lazy_init', 'current_device', 'is_bf16_supported'):\n"
        "    setattr(torch.cuda, name, used)\n"
        "import sparse2dense.stages.trainer, sparse2dense.stages.training, sparse2dense.stages.predicting\n"
        "print('unused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "unused\n", done.stderr
