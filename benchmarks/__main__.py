"""Run the benchmarks one after another: `python -m benchmarks [name ...]`, all of them without a name.

A benchmark is a module of this package with a function `main(argv)`; where its default takes longer than a few minutes,
`BRIEFLY` holds the options to run it with here. Its own options are given to it alone, as in
`python -m benchmarks.import_memory --gigabytes 1`.
"""

import argparse
import importlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path


def names() -> list[str]:
    """Return the names of all benchmarks, in alphabetical order."""
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in modules if not module.name.startswith("_"))


def run(name: str) -> bool:
    """Run one benchmark with its default settings, or briefly; return whether it passed."""
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    try:
        module = importlib.import_module(f"benchmarks.{name}")
        module.main(getattr(module, "BRIEFLY", []))
        passed = True
    except SystemExit as end:  # the status of a benchmark that has a limit to keep
        passed = not end.code
    except Exception:
        traceback.print_exc()
        passed = False
    print(f"== {name} {'done' if passed else 'FAILED'} in {time.perf_counter() - start:.0f} s\n", flush=True)
    return passed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks named in `argv`, or all; return 1 when one of them failed, after the others have run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(names()))
    chosen = parser.parse_args(argv).names or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(names())}")
    failed = [name for name in chosen if not run(name)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
