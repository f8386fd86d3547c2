"""What a killed run leaves, and how the next one goes on."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sparse2dense.stages.run_status import SILENT, run_status
from tests.workflow.invocation import ROOT, TINY, command, snakemake, written

RUN = Path("results/tiny")


def kill_once(directory: Path, sign: Path, *options: str, configfiles: tuple[Path, ...]) -> None:
    """Start a run and kill all its processes, without a chance to clean up, as soon as `sign` exists."""
    call = command(directory, *options, configfiles=configfiles)
    with (directory / "killed.log").open("w") as log:
        process = subprocess.Popen(call, cwd=ROOT, start_new_session=True, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        try:
            while not sign.exists():
                assert process.poll() is None, (directory / "killed.log").read_text()
                assert time.monotonic() < deadline, f"{sign} never came"
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_training_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After SIGKILL nothing unfinished has a declared name, and the next run goes on where the net was saved.

    Nor does the status call it running for longer than the log of a living job can be without a sign of life.
    """
    nets = tmp_path / RUN / "nets"
    slow = written(tmp_path, {"nets": {"2d_to_3d": {"iterations": 400, "validate_every": 400}}})
    target = str(RUN / "nets/2d_to_3d/checkpoint.pt")
    kill_once(tmp_path, nets / "2d_to_3d.partial/state.pt", target, configfiles=(TINY, slow))
    assert not (nets / "2d_to_3d/checkpoint.pt").exists()
    monkeypatch.chdir(tmp_path)
    for seconds, state in ((0, "running"), (2 * SILENT, "silent")):
        status = run_status(RUN, now=time.time() + seconds)
        assert (status.state, [job.state for job in status.jobs]) == (state, [state])
    short = written(tmp_path, {"nets": {"2d_to_3d": {"iterations": 400, "validate_every": 400}}}, "again.yaml")
    snakemake(tmp_path, "--unlock", configfiles=(TINY, short))
    snakemake(tmp_path, target, configfiles=(TINY, short))
    log = (tmp_path / RUN / "logs/train_2d_to_3d/2d_to_3d.log").read_text()
    before = re.search(r"train 2d_to_3d: (\d+) of 400 done before", log)
    assert before
    assert int(before[1]) >= 5
    assert (nets / "2d_to_3d/checkpoint.pt").exists()
    assert not (nets / "2d_to_3d.partial").exists()


@pytest.mark.slow
def test_killed_run_ends_with_the_same_scores(tmp_path: Path, tiny_run: Path) -> None:
    """A run after one that was killed ends with the results of one that was left alone, to the byte."""
    kill_once(tmp_path, tmp_path / RUN / "painted/pseudo/affinities.zarr", configfiles=(TINY,))
    snakemake(tmp_path, "--unlock")
    snakemake(tmp_path)
    for scores in sorted((tiny_run / RUN).rglob("scores.csv")):
        name = scores.relative_to(tiny_run)
        assert (tmp_path / name).read_bytes() == scores.read_bytes(), name
