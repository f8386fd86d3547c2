"""The log of one job of the workflow: to its file and to the terminal, with every uncaught error."""

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sparse2dense.errors import InputError

__all__ = ["HEARTBEAT", "start_log"]

log = logging.getLogger(__name__)


HEARTBEAT = 20.0
"""Seconds between two signs of life."""


def start_log(path: Path, heartbeat: float = HEARTBEAT) -> None:
    """Write all log records to `path` and stderr; errors of the input are logged without a traceback.

    As long as this process lives, the time of `path` is set every `heartbeat` seconds, whether it is written to or not:
    by that `run_status` tells jobs that work long on something from jobs that were killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)],
        force=True,
    )
    logging.captureWarnings(True)
    sys.excepthook = log_error
    threading.Thread(target=show_life, args=(path, heartbeat), daemon=True).start()


def show_life(log: Path, seconds: float) -> None:
    """Set the time of `log` again and again."""
    never = threading.Event()
    while not never.wait(seconds):
        with suppress(OSError):  # the log was removed, or its file system is away for a while
            os.utime(log)


def log_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an uncaught error; one that the user can mend shows only what it says."""
    if isinstance(error, InputError):
        log.error("%s", error)
    else:
        log.critical("the job failed", exc_info=(kind, error, trace))
