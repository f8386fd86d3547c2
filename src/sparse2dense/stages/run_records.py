"""What a run leaves on disk while it runs: logs and benchmarks of its jobs, and Snakemake's own log of a call.

Formats: `joblog` and `volumes.progress` for logs of jobs, Snakemake 9 for `.snakemake/log`.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TARGETS", "Call", "Progressed", "last_call", "last_error", "last_progress", "tail"]

TARGETS = {
    "all", "check", "plan", "prepare", "train", "predict", "segment", "bootstrap", "evaluate", "report", "paint_next",
}  # fmt: skip
"""Rules that make nothing themselves; Snakemake counts them as jobs."""
TAIL_BYTES = 2**16

RECORD = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} (\w+) ([\w.]+): (.*)$", re.MULTILINE)
PROGRESS = re.compile(r"^(?P<label>.*): (?P<done>\d+) of (?P<total>\d+)(?: done before|, (?P<left>\d+|inf) s left)")
STARTED = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):$")
DETAIL = re.compile(r"^    (log|jobid|output): (.*)$")
FINISHED = re.compile(r"^Finished jobid: (\d+)")
FAILED = re.compile(r"^Error in rule \w+:$")
SUBMITTED = re.compile(r"^Job (\d+) has been submitted with SLURM jobid (\d+)")
STEPS = re.compile(r"^(\d+) of (\d+) steps \(")
TIME = re.compile(r"^\[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\]$")
ENDED = ("Complete log(s):", "Cancelling snakemake on user request")


@dataclass(frozen=True)
class Progressed:
    """How far a job was when it wrote of it last.

    Parameters
    ----------
    done, total
        Units of work.
    end
        When it thought that it would end, seconds since 1970; None where it didn't know.
    """

    done: int
    total: int
    end: float | None


@dataclass
class Started:
    """A job that Snakemake has started, or handed to SLURM.

    Parameters
    ----------
    rule
        Its rule.
    begin
        Seconds since 1970.
    log, outputs
        As the rule declares them; jobs of target rules have no log.
    slurm
        Number of the SLURM job, if it is one.
    state
        `started`, `finished` or `failed`.
    """

    rule: str
    begin: float
    log: str = ""
    outputs: Sequence[str] = ()
    slurm: str = ""
    state: str = "started"


@dataclass
class Call:
    """A call of Snakemake, as its log tells.

    Parameters
    ----------
    planned
        Number of jobs by rule, as planned at the start.
    jobs
        The jobs that were started, by Snakemake's number.
    done, total
        Steps, target rules included; the total grows when a threshold was chosen.
    ended
        Whether Snakemake has taken its leave.
    written
        When the log was written to, seconds since 1970.
    """

    written: float
    planned: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, Started] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    ended: bool = False


def tail(log: Path) -> str:
    """Return the end of a log, all of it where it is short."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")


def last_progress(text: str) -> Progressed | None:
    """Return what the last record of progress in the log of a job says."""
    for moment, _, logger, message in reversed(RECORD.findall(text)):
        found = PROGRESS.match(message) if logger == "sparse2dense.volumes.progress" else None
        if found:
            written = time.mktime(time.strptime(moment, "%Y-%m-%d %H:%M:%S"))
            end = written + float(found["left"]) if found["left"] not in (None, "inf") else None
            return Progressed(int(found["done"]), int(found["total"]), end)
    return None


def last_error(text: str) -> str | None:
    """Return the error that a job ended with, the last line of a traceback; None where its last record is none."""
    records = list(RECORD.finditer(text))
    if not records or records[-1][3] != "sparse2dense.stages.joblog" or records[-1][2] not in ("ERROR", "CRITICAL"):
        return None
    if records[-1][2] == "ERROR":
        return records[-1][4]
    lines = [line for line in text[records[-1].start() :].splitlines() if line.strip()]
    return lines[-1].strip()


def last_call(records: Path, logs: Path) -> Call | None:
    """Return the newest call of Snakemake that has planned or started jobs of a run.

    Parameters
    ----------
    records
        The folder `.snakemake` of the directory that Snakemake ran in.
    logs
        Where the jobs of the run write theirs, as rules name it.
    """
    for file in sorted((records / "log").glob("*.snakemake.log"), reverse=True):
        text = file.read_text(errors="replace")
        if f" {logs}/" in text:
            return read_call(text, file.stat().st_mtime)
    return None


def read_call(text: str, written: float) -> Call:
    """Return what the log of a call of Snakemake says."""
    call = Call(written, planned=Counter(dict(planned_jobs(text))))
    details: dict[str, str] = {}
    begin, rule = written, ""
    for line in text.splitlines():
        if moment := TIME.match(line):
            begin = time.mktime(time.strptime(moment[1], "%a %b %d %H:%M:%S %Y"))
        elif started := STARTED.match(line):
            rule, details = started[1], {}
        elif FAILED.match(line):
            rule, details = "", {}
        elif detail := DETAIL.match(line):
            details[detail[1]] = detail[2]
            if detail[1] == "jobid" and rule:
                outputs = details.get("output", "").split(", ")
                call.jobs[detail[2]] = Started(rule, begin, details.get("log", ""), outputs)
            elif detail[1] == "jobid" and detail[2] in call.jobs:
                call.jobs[detail[2]].state = "failed"
        elif ended := FINISHED.match(line):
            if ended[1] in call.jobs:
                call.jobs[ended[1]].state = "finished"
        elif submitted := SUBMITTED.match(line):
            if submitted[1] in call.jobs:
                call.jobs[submitted[1]].slurm = submitted[2]
        elif steps := STEPS.match(line):
            call.done, call.total = int(steps[1]), int(steps[2])
        elif line.startswith(ENDED):
            call.ended = True
    call.total = max(call.total, sum(call.planned.values()))
    return call


def planned_jobs(text: str) -> Iterator[tuple[str, int]]:
    """Yield rule and number of jobs of the table at the start."""
    _, _, table = text.partition("\nJob stats:\n")
    for line in table.splitlines()[2:]:
        words = line.split()
        if len(words) != 2 or not words[1].isdigit() or words[0] == "total":
            return
        yield words[0], int(words[1])
