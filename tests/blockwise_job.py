"""One stage in a process of its own, to be killed: notes every block that it begins.

    python tests/blockwise_job.py <description> <journal> [<pause>]

The description is a pickle of: module and name of the stage, its arguments, and constants of modules to be set first,
so that small volumes have many blocks. The journal gets a line per block: the folder it is written in, and its index.
With a pause, each block takes so many seconds longer.
"""

import importlib
import logging
import pickle
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparse2dense.volumes import blockwise
from sparse2dense.volumes.grid import Block


def main(description: Path, journal: Path, pause: float = 0.0) -> None:
    """Call the stage, with a `run_blockwise` that writes the journal."""
    original = blockwise.run_blockwise

    def noting(*arguments: Any, **options: Any) -> int:
        outputs, key, create, work, tiles = arguments

        def noted(paths: Sequence[Path], block: Block) -> None:
            with journal.open("a") as file:
                file.write(f"{paths[0].parent.name} {block.index}\n")
            time.sleep(pause)
            work(paths, block)

        return original(outputs, key, create, noted, tiles, **options)

    # before any stage is imported, so that all of them find this one
    blockwise.run_blockwise = noting
    module, name, arguments, constants = pickle.loads(description.read_bytes())
    for (place, constant), value in constants.items():
        setattr(importlib.import_module(place), constant, value)
    getattr(importlib.import_module(module), name)(**arguments)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:]))
