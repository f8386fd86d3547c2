"""Run the benchmarks one after another: `python -m benchmarks [name ...]`, all of them without a name.

A benchmark is a module of this package with a function `main(argv)`; where its default takes longer than a few minutes,
`BRIEFLY` holds the options to run it with here. Its own options are given to it alone, as in
`python -m benchmarks.import_memory --gigabytes 1`.

A benchmark ends with status 1 when it keeps a limit no longer. That is a result, so it is listed at the end and the
others go on; the status of this command is 1 only when a benchmark could not be run to its end.
"""

import argparse
import importlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path


def names() -> list[str]:
    """Return the names of all benchmarks, in alphabetical order."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in modules if not module.name.startswith("_"))


class Outcome(StrEnum):
    """How a benchmark ended."""

    DONE = "done"
    MISSED = "limit not kept"
    FAILED = "FAILED"


def run(name: str) -> Outcome:
    """Run one benchmark with its default settings, or briefly; return how it ended."""
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    try:
        module = importlib.import_module(f"benchmarks.{name}")
        module.main(getattr(module, "BRIEFLY", []))
        outcome = Outcome.DONE
    except SystemExit as end:  # 1 is the status of a limit not kept, as 2 is that of wrong options
        outcome = Outcome.DONE if not end.code else Outcome.MISSED if end.code == 1 else Outcome.FAILED
    except Exception:
        traceback.print_exc()
        outcome = Outcome.FAILED
    print(f"== {name} {outcome} in {time.perf_counter() - start:.0f} s\n", flush=True)
    return outcome


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks named in `argv`, or all; return 1 when one could not be run, after the others have run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(names()))
    chosen = parser.parse_args(argv).names or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(names())}")
    outcomes = {name: run(name) for name in chosen}
    for outcome in Outcome:
        if found := [name for name in chosen if outcomes[name] is outcome]:
            print(f"{outcome}: {', '.join(found)}")
    return int(Outcome.FAILED in outcomes.values())


if __name__ == "__main__":
    sys.exit(main())
