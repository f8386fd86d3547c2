"""One net trained by several processes: it learns as from one, only one writes, and none outlives the others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from sparse2dense.stages.nets import load_net
from sparse2dense.stages.training_group import Group, group_of_this_process, share_training

ROOT = Path(__file__).parents[1]


def command(name: str, processes: int, folder: Path, *numbers: int) -> list[str]:
    """A job of `tests/training_group_job.py`."""
    return [sys.executable, "-m", "tests.training_group_job", name, str(processes), str(folder), *map(str, numbers)]


def trained(folder: Path, processes: int, *numbers: int) -> subprocess.CompletedProcess[str]:
    """Train in a process group of its own."""
    call = command("train", processes, folder, *numbers)
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, start_new_session=True, timeout=300)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a training kept."""
    return load_net(folder / "checkpoint.pt")[0].state_dict()


def wait_until(found: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(process: int) -> bool:
    """Whether a process hasn't ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process."""
    folder = tmp_path_factory.mktemp("alone") / "net"
    assert trained(folder, 1).returncode == 0
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two."""
    folder = tmp_path_factory.mktemp("together") / "net"
    assert trained(folder, 2).returncode == 0
    return folder


def test_two_learn_what_one_learns(alone: Path, together: Path) -> None:
    """They share the samples of every step, and their gradients; sums in another order change bfloat16 a little."""
    one, two = weights(alone), weights(together)
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=2e-4) for name in one)
    of_one, of_two = (pd.read_csv(folder / "losses.csv").drop(columns="seconds") for folder in (alone, together))
    pd.testing.assert_frame_equal(of_one, of_two, atol=1e-4)


def test_two_write_what_one_writes(alone: Path, together: Path) -> None:
    assert {path.name for path in alone.iterdir()} == {path.name for path in together.iterdir()}
    assert len(list((together / "tensorboard").iterdir())) == 1
    assert not list(together.parent.glob("*.partial"))


def test_two_that_were_killed_end_as_undisturbed_ones(together: Path, tmp_path: Path) -> None:
    """The last state is of step 6 when the whole group is killed at the ninth."""
    folder = tmp_path / "net"
    assert trained(folder, 2, 17).returncode == -signal.SIGKILL
    assert not (folder / "checkpoint.pt").exists()
    assert trained(folder, 2).returncode == 0
    one, two = weights(together), weights(folder)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_batch_that_cant_be_shared_is_refused(tmp_path: Path) -> None:
    outcome = trained(tmp_path / "net", 2, 0, 3)
    assert outcome.returncode == 1
    assert "a batch of 3 for 2 GPUs" in outcome.stderr
    assert "allowed: a multiple of 2" in outcome.stderr


def test_helpers_end_with_the_first_process(tmp_path: Path) -> None:
    job = subprocess.Popen(command("wait", 3, tmp_path), cwd=ROOT)
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 3 and all(p.read_text() for p in tmp_path.glob("*.pid")))
    helpers = [int((tmp_path / f"{rank}.pid").read_text()) for rank in (1, 2)]
    assert all(map(runs, helpers))
    job.kill()
    job.wait()
    wait_until(lambda: not any(map(runs, helpers)))


def test_the_first_process_ends_with_a_helper_that_fails(tmp_path: Path) -> None:
    call = command("fail", 2, tmp_path)
    outcome = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert outcome.returncode == 1
    assert (tmp_path / "0.begun").exists()
    assert "the second process can't go on" in outcome.stderr


def test_one_process_is_a_call(tmp_path: Path) -> None:
    """With its arguments, in this process, of which nothing is changed."""
    before, called = dict(os.environ), []
    share_training(1, lambda *given, **named: called.append((given, named, group_of_this_process())), 1, b=2)
    assert called == [((1,), {"b": 2}, Group(0, 1, None))]
    assert dict(os.environ) == before
