"""Running the workflow the way users do, in a directory of its own."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/workflow/tiny.yaml"


@dataclass(frozen=True)
class Outcome:
    """What a call of Snakemake printed, and how it ended."""

    status: int
    text: str


@dataclass(frozen=True)
class Job:
    """A job as Snakemake plans it."""

    rule: str
    inputs: frozenset[str]
    outputs: frozenset[str]


def command(directory: Path, *options: str, configfiles: tuple[Path, ...] = (TINY,)) -> list[str]:
    """The command line that runs the workflow in `directory`; targets stand first among `options`."""
    call = [sys.executable, "-m", "snakemake", *options, "--snakefile", str(ROOT / "Snakefile")]
    cores = [] if "--profile" in options else ["--cores", "2"]
    files = ["--configfile", *map(str, configfiles)] if configfiles else []
    return [*call, *cores, "--directory", str(directory), *files]


def snakemake(directory: Path, *options: str, configfiles: tuple[Path, ...] = (TINY,), check: bool = True) -> Outcome:
    """Run the workflow in `directory`; a failure ends the test with all that was printed, unless `check` is False."""
    call = command(directory, *options, configfiles=configfiles)
    result = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    outcome = Outcome(result.returncode, result.stdout + result.stderr)
    assert not check or outcome.status == 0, outcome.text
    return outcome


def planned(outcome: Outcome) -> list[Job]:
    """The jobs that a dry run lists."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?(?:rule|checkpoint) \w+:)", outcome.text)[1:]:
        rule = re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block)
        assert rule
        jobs.append(Job(rule[1], listed(block, "input"), listed(block, "output")))
    return jobs


def listed(block: str, key: str) -> frozenset[str]:
    """The files that the description of a job lists under `key`."""
    line = re.search(rf"^ +{key}: (.*)$", block, re.MULTILINE)
    return frozenset(line[1].split(", ") if line else ())


def started(outcome: Outcome) -> list[str]:
    """The rule of every job that ran, in alphabetical order."""
    return sorted(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", outcome.text, re.MULTILINE))


def written(folder: Path, change: dict[str, Any], name: str = "change.yaml") -> Path:
    """A configuration file with `change`, to be given after another one."""
    path = folder / name
    path.write_text(yaml.safe_dump(change))
    return path
