"""How far a run is, from what it has left on disk: for a second terminal, while it runs or afterwards.

Nothing is locked, asked or changed. That a job runs is told by its log: the job touches it every few seconds
(`joblog.HEARTBEAT`), so one that has not been touched for `SILENT` seconds belongs to a job that was killed, or is deep
in a single step of a library.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse2dense.errors import InputError
from sparse2dense.stages.run_records import (
    TARGETS,
    Call,
    Progressed,
    Started,
    last_call,
    last_error,
    last_progress,
    tail,
)

__all__ = ["SILENT", "JobStatus", "RunStatus", "latest_run", "run_status", "status_text"]

SILENT = 120.0
"""Seconds; network file systems show the time of a file up to a minute late."""
STATES = ("done", "running", "queued", "silent", "stopped", "failed", "waiting")
ALWAYS = ("done", "running", "waiting")


@dataclass(frozen=True)
class JobStatus:
    """One job that was started at some time.

    Parameters
    ----------
    stage, name
        Its rule, without `_part`, and what it is about: directory and name of its log.
    state
        `done`; `running`; `queued` by SLURM; `silent`, started and without a sign of life; `stopped` before its end;
        `failed`.
    age
        Seconds since its last sign of life.
    progress
        What its log says of it.
    left
        Seconds that are left, where the job runs and has said so.
    note
        The error, or the number of the SLURM job.
    begin
        When it was first seen, seconds since 1970.
    """

    stage: str
    name: str
    state: str
    age: float
    progress: Progressed | None
    left: float | None
    note: str
    begin: float


@dataclass(frozen=True)
class RunStatus:
    """All jobs of a run, and the last call of Snakemake that was about it; None where its records are gone."""

    results: Path
    jobs: Sequence[JobStatus]
    call: Call | None
    age: float

    @property
    def state(self) -> str:
        """The run in a word."""
        states = {job.state for job in self.jobs}
        if "running" in states:
            return "running"
        if self.call is not None and not self.call.ended:
            return "queued" if "queued" in states else "running" if self.age < SILENT else "silent"
        if self.call is not None and self.call.done == self.call.total:
            return "finished"
        return "failed" if "failed" in states else "stopped" if "stopped" in states or self.call else "not running"

    @property
    def waiting(self) -> Counter[str]:
        """Number of jobs by stage that the last call planned and has not started."""
        if self.call is None:
            return Counter()
        begun = Counter(job.rule for job in self.call.jobs.values())
        left = Counter({rule: count for rule, count in (self.call.planned - begun).items() if rule not in TARGETS})
        stages: Counter[str] = Counter()
        for rule, count in left.items():
            stages[rule.removesuffix("_part")] += count
        return stages


def latest_run(results: Path) -> Path:
    """Return the run below `results` that wrote last; InputError where there is none."""
    runs = {folder.parent: newest(folder) for folder in results.glob("*/logs")}
    if not runs:
        raise InputError(
            f"{results} holds no run", allowed="a folder with the logs of a run", remedy="name it: results/<run>"
        )
    return max(runs, key=runs.__getitem__)


def newest(logs: Path) -> float:
    """Return when a log of a run was last written to."""
    return max((file.stat().st_mtime for file in logs.glob("*/*.log")), default=0.0)


def run_status(results: Path, records: Path = Path(".snakemake"), now: float | None = None) -> RunStatus:
    """Return how far a run is.

    Parameters
    ----------
    results
        `results/<run>`, as seen from the directory that Snakemake ran in.
    records
        Snakemake's own folder there.
    now
        Seconds since 1970; the time of the call by default.

    Raises
    ------
    InputError
        When there is no such run.
    """
    now = time.time() if now is None else now
    results = Path(os.path.relpath(results))  # as Snakemake names it
    logs = results / "logs"
    if not logs.is_dir():
        raise InputError(
            f"{results} holds no logs of a run",
            allowed="results/<run>, in the directory that Snakemake runs in",
            remedy="correct the name, or start the run first",
        )
    call = last_call(records, logs)
    started = {Path(job.log): job for job in call.jobs.values() if job.log} if call else {}
    files = [file for file in sorted(logs.glob("*/*.log")) if file.parent.name not in TARGETS]
    jobs = [job_status(file, started.get(file), call, now) for file in files]
    if call is not None:
        missing = sorted(file for file in set(started) - set(files) if file.parent.name not in TARGETS)
        jobs += [unseen(file, started[file], call, now) for file in missing]
    signs = [newest(logs), call.written if call else 0.0]
    return RunStatus(results, sorted(jobs, key=lambda job: job.begin), call, max(0.0, now - max(signs)))


def job_status(file: Path, started: Started | None, call: Call | None, now: float) -> JobStatus:
    """Return how far the job is that writes the log `file`; `started` if the last call has started it."""
    touched = file.stat().st_mtime
    if started is not None and call is not None and started.state == "started" and touched < started.begin:
        return unseen(file, started, call, now)  # the log is that of an attempt before
    text, age = tail(file), max(0.0, now - touched)
    benchmark = file.parents[2] / "benchmarks" / file.parent.name / f"{file.stem}.tsv"
    written = benchmark.stat().st_mtime if benchmark.is_file() else 0.0
    error = last_error(text)
    note = ""
    if started is not None and started.state != "started":
        state = "done" if started.state == "finished" else "failed"
    elif written >= touched:
        state = "done"
    elif error is not None:
        state = "failed"
    elif started is None or call is None or call.ended:
        state = "running" if started is None and age < SILENT else "stopped"
    else:
        state = "running" if age < SILENT else "silent"
    if state == "failed":
        note = error or "ended without a word: killed, or out of memory?"
        note = f"in a command before the last: {note}" if started is None and call is not None else note
    kept = kept_progress(last_progress(text), started)
    left = max(0.0, kept.end - now) if state == "running" and kept is not None and kept.end is not None else None
    return JobStatus(file.parent.name, file.stem, state, age, kept, left, note, min(written or touched, touched))


def unseen(file: Path, started: Started, call: Call, now: float) -> JobStatus:
    """Return the state of a job that the last call has started, and that has not written yet."""
    age = max(0.0, now - started.begin)
    if started.state != "started":
        state = "done" if started.state == "finished" else "failed"
    elif call.ended:
        state = "stopped"
    elif started.slurm:
        state = "queued"
    else:
        state = "running" if age < SILENT else "silent"
    note = f"SLURM job {started.slurm}" if started.slurm else ""
    return JobStatus(file.parent.name, file.stem, state, age, None, None, note, started.begin)


def kept_progress(progress: Progressed | None, started: Started | None) -> Progressed | None:
    """Return the progress of a job with the blocks that lie finished on disk, which its log tells of only at times."""
    if progress is None or started is None or not started.outputs:
        return progress
    output = Path(started.outputs[0])
    if output.parent.suffix == ".parts":  # several jobs share that folder
        return progress
    for folder in output.parent.glob(f"{output.name}.*.partial/.blockwise/done"):
        return Progressed(max(progress.done, len(list(folder.iterdir()))), progress.total, progress.end)
    return progress


def status_text(status: RunStatus) -> str:
    """Return the status of a run as text: a line on the run, a table of its stages, a line per job that isn't done."""
    lines = [_headline(status), ""]
    lines += _table([("stage", *_states(status), "blocks or steps", "left"), *_rows(status)])
    unfinished = [job for job in status.jobs if job.state != "done"]
    if unfinished:
        lines.append("")
        lines += _table([_job_row(job, status.results) for job in unfinished])
    if any(job.state == "silent" for job in unfinished) or status.state == "silent":
        lines += ["", f"silent: no sign of life for {_duration(SILENT)}; killed, or deep in one step. If nothing of it"]
        lines.append("runs any more, give the same command again: what is finished is kept.")
    if any(job.state == "queued" for job in unfinished) and status.age > SILENT:
        lines += ["", f"queued: so it was {_duration(status.age)} ago, when Snakemake was last seen. If `squeue --me`"]
        lines.append("doesn't know these jobs, it was killed: give the same command again; what is finished is kept.")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _headline(status: RunStatus) -> str:
    call = status.call
    parts = [f"{status.results}: {status.state}"]
    if call is not None:
        parts.append(f"{call.done} of {call.total} steps of the last command done")
    parts.append(f"last sign of life {_duration(status.age)} ago")
    return ", ".join(parts)


def _states(status: RunStatus) -> list[str]:
    """Return the states that have a column."""
    found = {job.state for job in status.jobs}
    return [state for state in STATES if state in ALWAYS or state in found]


def _rows(status: RunStatus) -> Iterator[tuple[str, ...]]:
    """Yield a row of the table per stage, in the order in which they began."""
    waiting = status.waiting
    for stage in dict.fromkeys([*(job.stage for job in status.jobs), *waiting]):
        own = [job for job in status.jobs if job.stage == stage]
        counts = Counter(job.state for job in own) + Counter({"waiting": waiting[stage]})
        known = [job.progress for job in own if job.progress is not None]
        done, total = sum(one.done for one in known), sum(one.total for one in known)
        left = [job.left for job in own if job.left is not None]
        more = "+" if waiting[stage] else ""
        yield (
            stage,
            *(str(counts[state] or "") for state in _states(status)),
            f"{done:,} / {total:,}{more}" if known else "",
            f"{_duration(max(left))}{more}" if left else "",
        )


def _job_row(job: JobStatus, results: Path) -> tuple[str, ...]:
    """Return what there is to say of a job that isn't done."""
    said = []
    if job.progress is not None:
        said.append(f"{job.progress.done:,} of {job.progress.total:,}")
    if job.left is not None:
        said.append(f"{_duration(job.left)} left")
    if job.state in ("running", "silent"):
        said.append(f"last sign of life {_duration(job.age)} ago")
    if job.note:
        said.append(job.note)
    if job.state == "failed":
        said.append(f"see {results}/logs/{job.stage}/{job.name}.log")
    return job.state, job.stage, job.name, ", ".join(said)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _duration(seconds: float) -> str:
    """Return seconds in the unit that a reader would choose."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
