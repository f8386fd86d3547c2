"""`sparse2dense status`: how far a run is, told from what lies on disk."""

import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.command import main
from sparse2dense.stages.run_records import TARGETS, last_progress
from sparse2dense.stages.run_status import SILENT, JobStatus, RunStatus, latest_run, run_status, status_text

ROOT = Path(__file__).parents[1]
START = time.mktime((2026, 3, 7, 14, 0, 0, 0, 0, -1))
RUN = Path("results/mine")

HEAD = """Building DAG of jobs...
Job stats:
job                 count
----------------  -------
all                     1
predict_2d              3
train_2d                1
predict_2d_part         4
total                   9

Select jobs to execute...
"""
ENDED = "Complete log(s): /somewhere/.snakemake/log/x.snakemake.log\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a run was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    return tmp_path


def at(seconds: float) -> str:
    """A moment after the start as Snakemake writes it."""
    return time.strftime("[%a %b %d %H:%M:%S %Y]", time.localtime(START + seconds))


def begun(stage: str, name: str, number: int, seconds: float = 0, output: str = "x.zarr", rule: str = "") -> str:
    """Snakemake's lines on a job that begins."""
    return (
        f"{at(seconds)}\nrule {rule or stage}:\n    input: a.zarr\n    output: {output}\n"
        f"    log: {RUN}/logs/{stage}/{name}.log\n    jobid: {number}\n    resources: mem_mb=1, gpu=1\n"
    )


def finished(number: int, stage: str) -> str:
    """Snakemake's lines on a job that has ended well."""
    return f"{at(50)}\nFinished jobid: {number} (Rule: {stage})\n1 of 9 steps (11%) done\n"


def failed(number: int, stage: str) -> str:
    """Snakemake's lines on a job that has failed."""
    return f"{at(50)}\nError in rule {stage}:\n    message: None\n    jobid: {number}\n    output: x.zarr\n"


def snakemake_log(*parts: str, written: float = 0, name: str = "2026-03-07T140000.000001") -> None:
    """Write Snakemake's log of a call, last written to so many seconds after the start."""
    file = Path(f".snakemake/log/{name}.snakemake.log")
    file.write_text(HEAD + "".join(parts))
    os.utime(file, (START + written, START + written))


def job_log(stage: str, name: str, *messages: str, written: float, ended: bool = False) -> Path:
    """Write the log of a job, and its benchmark where it has ended well."""
    file = RUN / "logs" / stage / f"{name}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    moment = time.strftime("%Y-%m-%d %H:%M:%S,123", time.localtime(START + written))
    file.write_text("".join(f"{moment} {message}\n" for message in messages))
    os.utime(file, (START + written, START + written))
    if ended:
        benchmark = RUN / "benchmarks" / stage / f"{name}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.touch()
        os.utime(benchmark, (START + written + 1, START + written + 1))
    return file


def progress(done: int, total: int, left: str = "", label: str = "predict 2d crop") -> str:
    """The record of a job on its progress."""
    rest = f", {left} s left loss 0.25" if left else " done before"
    return f"INFO sparse2dense.volumes.progress: {label}: {done} of {total}{rest}"


def states(status: RunStatus) -> dict[str, str]:
    """The state of every job."""
    return {f"{job.stage} {job.name}": job.state for job in status.jobs}


def job(status: RunStatus, stage: str) -> JobStatus:
    """The only job of a stage."""
    (found,) = [one for one in status.jobs if one.stage == stage]
    return found


def test_a_run_at_work() -> None:
    """Done, running and waiting jobs are told apart; blocks, time left and the last sign of life are theirs."""
    snakemake_log(begun("train_2d", "2d", 1), finished(1, "train_2d"), begun("predict_2d", "crop", 2, 60), written=60)
    job_log("train_2d", "2d", progress(500, 500, "0", "train 2d"), written=49, ended=True)
    job_log("predict_2d", "crop", progress(3, 96), progress(12, 96, "300"), written=90)
    # Since it wrote last it has shown that it lives.
    os.utime(RUN / "logs/predict_2d/crop.log", (START + 95, START + 95))
    status = run_status(RUN, now=START + 105)
    assert states(status) == {"train_2d 2d": "done", "predict_2d crop": "running"}
    assert status.state == "running"
    assert status.waiting == Counter(predict_2d=2 + 4)
    assert job(status, "predict_2d").left == 285
    text = status_text(status)
    assert text.startswith("results/mine: running, 1 of 9 steps of the last command done, last sign of life 10 s ago\n")
    (row,) = re.findall(r"^predict_2d +(.*)$", text, re.MULTILINE)
    assert re.split(r"  +", row) == ["1", "6", "12 / 96+", "5 min+"]
    assert "running  predict_2d  crop  12 of 96, 5 min left, last sign of life 10 s ago" in text


def test_nothing_runs_that_was_killed() -> None:
    """After a kill nobody has said goodbye: jobs without a sign of life are silent, and the run is, too."""
    snakemake_log(begun("train_2d", "2d", 1), begun("predict_2d", "crop", 2), written=0)
    job_log("predict_2d", "crop", progress(12, 96, "300"), written=90)
    status = run_status(RUN, now=START + 90 + SILENT + 1)
    assert set(states(status).values()) == {"silent"}
    assert status.state == "silent"
    assert job(status, "predict_2d").left is None
    text = status_text(status)
    assert "no sign of life for 2 min" in text
    assert not re.search(r"^running", text, re.MULTILINE)
    assert run_status(RUN, now=START + 90 + SILENT - 1).state == "running"


def test_a_run_that_was_stopped_says_so_at_once() -> None:
    """After Ctrl-C what had begun is stopped, however young its log; what it had done is counted on disk."""
    done = Path("results/mine/crop/x.zarr.0123456789ab.partial/.blockwise/done")
    done.mkdir(parents=True)
    for index in range(15):
        (done / str(index)).touch()
    begin = begun("predict_2d", "crop", 2, output="results/mine/crop/x.zarr, results/mine/crop/y.zarr")
    snakemake_log(begun("train_2d", "2d", 1), begin, ENDED, written=91)
    job_log("predict_2d", "crop", progress(12, 96, "300"), written=90)
    status = run_status(RUN, now=START + 92)
    assert states(status) == {"train_2d 2d": "stopped", "predict_2d crop": "stopped"}
    assert status.state == "stopped"
    assert "15 of 96" in status_text(status)


def test_errors_are_quoted() -> None:
    """Of a failed job the last line of its error is shown; one that ended without a word is said to; a retry runs."""
    refused = "ERROR sparse2dense.stages.joblog: `key` is 3\n  allowed: 4\n  what to do: write 4"
    crashed = "CRITICAL sparse2dense.stages.joblog: the job failed\nTraceback (most recent call last):\nIndexError: 7"
    parts = [begun("train_2d", "2d", 1), failed(1, "train_2d"), begun("predict_2d", "a", 2), failed(2, "predict_2d")]
    parts += [
        begun("predict_2d", "b", 3),
        failed(3, "predict_2d"),
        begun("predict_2d", "c", 4),
        failed(4, "predict_2d"),
    ]
    snakemake_log(*parts, begun("predict_2d", "c", 4, 70), written=70)
    job_log("train_2d", "2d", refused, written=40)
    job_log("predict_2d", "a", crashed, written=40)
    job_log("predict_2d", "b", progress(1, 2, "5"), written=40)
    job_log("predict_2d", "c", progress(1, 2, "5"), written=80)
    status = run_status(RUN, now=START + 81)
    notes = {f"{one.stage} {one.name}": one.note for one in status.jobs if one.state == "failed"}
    assert notes == {
        "train_2d 2d": "`key` is 3",
        "predict_2d a": "IndexError: 7",
        "predict_2d b": "ended without a word: killed, or out of memory?",
    }
    assert states(status)["predict_2d c"] == "running"
    assert "see results/mine/logs/predict_2d/b.log" in status_text(status)


def test_jobs_of_slurm_wait_in_its_queue() -> None:
    """A job handed to SLURM is queued until it writes; the log of an attempt before is not its own."""
    submitted = "Job 2 has been submitted with SLURM jobid 4711 (log: /x/4711.log).\n"
    parts = [begun("predict_2d", "crop.0-of-2", 2, 60, rule="predict_2d_part"), submitted]
    snakemake_log(*parts, written=60)
    log = job_log("predict_2d", "crop.0-of-2", progress(1, 48, "9"), written=20)
    for later in (100, 9000):
        queued = job(run_status(RUN, now=START + later), "predict_2d")
        assert (queued.state, queued.note, queued.progress) == ("queued", "SLURM job 4711", None)
    os.utime(log, (START + 70, START + 70))
    assert job(run_status(RUN, now=START + 100), "predict_2d").state == "running"


def test_a_queue_that_nobody_watches_is_doubted() -> None:
    """Snakemake may have been killed: once it has been silent, the reader learns how to find out, and not before."""
    submitted = "Job 2 has been submitted with SLURM jobid 4711 (log: /x/4711.log).\n"
    snakemake_log(begun("predict_2d", "crop", 2), submitted, written=0)
    (RUN / "logs").mkdir(parents=True)
    assert "squeue" not in status_text(run_status(RUN, now=START + SILENT - 1))
    text = status_text(run_status(RUN, now=START + 7300))
    assert "queued: so it was 2.0 h ago, when Snakemake was last seen" in text
    assert "squeue --me" in text


def test_what_failed_in_an_earlier_command_is_told_apart() -> None:
    """A failure that the last command has nothing to do with stays in sight, and says how old it is."""
    snakemake_log(begun("predict_2d", "crop", 2), failed(2, "predict_2d"), written=60)
    for name in ("crop", "other"):
        job_log("predict_2d", name, "ERROR sparse2dense.stages.joblog: `key` is 3", written=40)
    notes = {one.name: one.note for one in run_status(RUN, now=START + 70).jobs}
    assert notes == {"crop": "`key` is 3", "other": "in a command before the last: `key` is 3"}


def test_without_records_of_snakemake_logs_and_benchmarks_tell() -> None:
    """Results that were moved are read too; a job that is done again isn't done."""
    job_log("train_2d", "2d", written=0, ended=True)
    job_log("predict_2d", "crop", written=0, ended=True)
    status = run_status(RUN, now=START + 9000)
    assert (set(states(status).values()), status.state, status.call) == ({"done"}, "not running", None)
    os.utime(RUN / "logs/predict_2d/crop.log", (START + 8990, START + 8990))
    assert job(run_status(RUN, now=START + 9000), "predict_2d").state == "running"
    assert job(run_status(RUN, now=START + 9990), "predict_2d").state == "stopped"


def test_the_last_call_about_a_run_counts() -> None:
    """Calls about other runs, and those that never came to a job, are passed over."""
    snakemake_log(begun("train_2d", "2d", 1), finished(1, "train_2d"), "9 of 9 steps (100%) done\n", ENDED, written=50)
    job_log("train_2d", "2d", written=49, ended=True)
    other = begun("train_2d", "2d", 1).replace("results/mine", "results/mine2")
    snakemake_log(other, written=60, name="2026-03-07T150000.000001")
    Path(".snakemake/log/2026-03-07T160000.000001.snakemake.log").write_text("Unlocked working directory.\n")
    status = run_status(RUN.resolve(), now=START + 9000)
    assert status.state == "finished"
    assert status_text(status).startswith("results/mine: finished, 9 of 9 steps")


def test_the_run_that_wrote_last_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name it is the newest; a name that is none is refused."""
    with pytest.raises(InputError, match="results holds no run"):
        latest_run(Path("results"))
    job_log("train_2d", "2d", written=0, ended=True)
    newer = Path("results/newer/logs/train_2d/2d.log")
    newer.parent.mkdir(parents=True)
    newer.touch()
    assert latest_run(Path("results")) == Path("results/newer")
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("results/newer: running")
    assert main(["status", "results/none"]) == 1
    assert "results/none holds no logs of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (progress(5, 10, "30"), (5, 10, START + 30)),
        (progress(5, 10, "inf"), (5, 10, None)),
        (progress(0, 10), (0, 10, None)),
        (progress(0, 10) + "\nsomething else: 3 of 4, 1 s left", (0, 10, None)),
        ("INFO sparse2dense.stages.trainer: step 5 of 9, 1 s left", None),
    ],
)
def test_progress_is_read_from_its_own_records(message: str, expected: tuple[int, int, float | None] | None) -> None:
    """Only records of `volumes.progress` count, and a time that nobody knows is none."""
    found = last_progress(f"2026-03-07 14:00:00,123 {message}\n")
    assert (None if found is None else (found.done, found.total, found.end)) == expected


def test_target_rules_are_known() -> None:
    """Rules that only name what others make aren't stages; all of them are known, and nothing else."""
    found = {"all"}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for text in re.split(r"^(?=rule |checkpoint )", file.read_text(), flags=re.MULTILINE)[1:]:
            if '"""Target:' in text and "output:" not in text:
                found.add(re.split(r"[ :]", text)[1])
    assert found == TARGETS
