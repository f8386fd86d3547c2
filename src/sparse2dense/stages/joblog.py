"""The log of one job of the workflow: to its file and to the terminal, with every uncaught error."""

import logging
import sys
from pathlib import Path
from types import TracebackType

from sparse2dense.errors import InputError

__all__ = ["start_log"]

log = logging.getLogger(__name__)


def start_log(path: Path) -> None:
    """Write all log records to `path` and stderr; errors of the input are logged without a traceback."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[logging.FileHandler(path, mode="w"), logging.StreamHandler(sys.stderr)],
        force=True,
    )
    logging.captureWarnings(True)
    sys.excepthook = log_error


def log_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log an uncaught error; one that the user can mend shows only what it says."""
    if isinstance(error, InputError):
        log.error("%s", error)
    else:
        log.critical("the job failed", exc_info=(kind, error, trace))
