"""Ways to the same end, each in a process of its own, on a generated volume or a real one: what benchmarks share."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.gigavoxel import STAGES, Run
from sparse2dense.volumes.replacing import remove

WORKERS = 2
BLOCK = (128, 256, 256)
THRESHOLDS = [f"{number / 100:.2f}" for number in range(2, 102, 2)]

Ways = Mapping[str, Callable[[Path], None]]
"""What each way does in the folder that holds the inputs."""


class Taken(NamedTuple):
    """What a way took: seconds, and seconds of all processors."""

    seconds: float
    processor: float


class Benchmark(NamedTuple):
    """A benchmark of ways.

    Parameters
    ----------
    name
        Of the module.
    description
        Its docstring.
    ways
        By name.
    inputs
        Names of what can be given instead of generated, each with the file that the ways read.
    stages
        Those of `gigavoxel` that make the inputs.
    side
        Voxels of the generated cube, unless another is asked for.
    """

    name: str
    description: str | None
    ways: Ways
    inputs: Mapping[str, str]
    stages: Sequence[str]
    side: int = 256

    @contextmanager
    def measured(self, argv: Sequence[str] | None) -> Iterator[tuple[Path, dict[str, Taken]]]:
        """Yield the folder of inputs and outputs, and what every way took; a child runs its way and ends instead."""
        parser = argparse.ArgumentParser(
            description=self.description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        for name in self.inputs:
            parser.add_argument(f"--{name}", type=Path, help="instead of a generated one; all or none")
        parser.add_argument("--side", type=int, default=self.side, help="voxels of the generated cube")
        parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many runs is shown")
        parser.add_argument("--child", choices=self.ways, help=argparse.SUPPRESS)
        parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
        options = parser.parse_args(argv)
        if options.child:
            run(self.ways[options.child], options.folder, options.repeats)
            sys.exit()
        given = {file: getattr(options, name) for name, file in self.inputs.items() if getattr(options, name)}
        if given and len(given) < len(self.inputs):
            parser.error(f"give all of {', '.join(self.inputs)}, or none")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, path in given.items():
                (folder / file).symlink_to(path.resolve())
            if not given:
                for stage in self.stages:
                    STAGES[stage](Run(folder, options.side, tuple(min(side, options.side) for side in BLOCK)))
            print(f"{'way':24} {'seconds':>8} {'of processors':>14}")
            found = {}
            for way in self.ways:
                found[way] = taken = self.in_child(way, folder, options.repeats)
                print(f"{way:24} {taken.seconds:8.2f} {taken.processor:14.2f}", flush=True)
            yield folder, found

    def in_child(self, way: str, folder: Path, repeats: int) -> Taken:
        """Run a way in a process of its own."""
        command = [sys.executable, "-m", f"benchmarks.{self.name}", "--child", way, "--folder", str(folder)]
        command += ["--repeats", str(repeats)]
        root = Path(__file__).parents[1]
        # not where peers report their steps
        answer = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=root)
        if answer.returncode:
            raise RuntimeError(f"{way} failed: {answer.stderr}")
        return Taken(*map(float, answer.stderr.split()[-2:]))


def run(way: Callable[[Path], None], folder: Path, repeats: int) -> None:
    """Run a way once so that everything is compiled, then again; print what the fastest run took.

    What it made is removed before it makes it anew: to replace a file takes longer than to write one.
    """
    given = set(folder.iterdir())
    way(folder)
    found = []
    for _ in range(repeats):
        for made in set(folder.iterdir()) - given:
            remove(made)
        start, before = time.perf_counter(), processor_seconds()
        way(folder)
        found.append(Taken(time.perf_counter() - start, processor_seconds() - before))
    print(*map(min, zip(*found, strict=True)), file=sys.stderr)


def processor_seconds() -> float:
    """Return what this process and its children that have ended took of the processors."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def judge(what: str, ratio: Taken, limit: float) -> bool:
    """Print how a ratio compares with what it may be at most; return whether it is kept. Of processors is beside it."""
    kept = ratio.seconds <= limit
    print(
        f"{what}: {ratio.seconds:.2f} times as long ({ratio.processor:.2f} of processors), "
        f"{'within' if kept else 'NOT within'} {limit}"
    )
    return kept


def over(one: Taken, other: Taken) -> Taken:
    """Return how many times the other's each took."""
    return Taken(one.seconds / other.seconds, one.processor / other.processor)
