"""Rows of equal keys as one: how the tables of parts of a volume add up to the table of the whole."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["equal_rows", "sum_rows"]


def equal_rows(keys: Sequence[NDArray]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of the rows by their keys, and where in it those of each key begin.

    Parameters
    ----------
    keys
        At least one column, all of the same length; the first decides first. Rows of equal keys stay as they come.
    """
    order = np.lexsort(keys[::-1])
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for key in keys:
        ordered = key[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(new)


def sum_rows(
    keys: Sequence[NDArray], values: Sequence[NDArray[np.int64]]
) -> tuple[list[NDArray], list[NDArray[np.int64]]]:
    """Return each key once, in ascending order, and the sums of its values; columns as in `equal_rows`."""
    order, starts = equal_rows(keys)
    return [key[order[starts]] for key in keys], [_sums(value, order, starts) for value in values]


def _sums(values: NDArray[np.int64], order: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    # reduceat knows no sum of nothing
    return np.add.reduceat(values[order], starts) if len(starts) else values[:0]
