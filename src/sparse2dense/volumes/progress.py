"""Done, total and time left of long work, in the terminal and in the log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

__all__ = ["Progress", "with_progress"]

log = logging.getLogger(__name__)

Item = TypeVar("Item")


class Progress:
    """Counts finished units of work; draws a bar in a terminal and writes a log line every `interval` seconds.

    Parameters
    ----------
    label
        What is being done, for example `predict demo`.
    total
        Number of units.
    done
        Units an earlier attempt finished; they don't count in the estimate of the time left.
    interval
        Seconds between two lines in the log.
    """

    def __init__(self, label: str, total: int, done: int = 0, interval: float = 30.0) -> None:
        self.label, self.total, self.done, self.interval = label, total, done, interval
        self._first, self._start = done, time.monotonic()
        self._logged = self._start
        self._bar = tqdm(total=total, initial=done, desc=label, file=sys.stderr, disable=not sys.stderr.isatty())
        log.info("%s: %d of %d done before", label, done, total)

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` as finished; `note` stands behind the bar and in the log."""
        self.done += units
        self._bar.update(units)
        if note:
            self._bar.set_postfix_str(note)
        now = time.monotonic()
        if now - self._logged >= self.interval or self.done >= self.total:
            self._logged = now
            rate = (self.done - self._first) / max(now - self._start, 1e-9)
            left = (self.total - self.done) / rate if rate > 0 else float("inf")
            log.info("%s: %d of %d, %.0f s left %s", self.label, self.done, self.total, left, note)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


def with_progress(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield `items`, counting each as finished when the next is asked for."""
    with Progress(label, total) as progress:
        for item in items:
            yield item
            progress.advance()
