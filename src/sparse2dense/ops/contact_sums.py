"""Sums over the pairs of voxels between every two fragments, in one pass over the voxels."""

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["contact_sums", "in_order"]

# slots (int32, -1 is free, a power of two and at least twice as many as rows) hold the numbers of rows; rows (uint64)
# are a pair and its sums beside them, in the order in which they came; how many there are is last
Table = tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64]]
Run = tuple[NDArray[np.uint64], NDArray[np.int64]]

ROWS = 2**31
LEVELS = 2**20


@numba.njit(cache=True)
def _slot(a, b, mask):  # type: ignore[no-untyped-def]
    """Return where the search for a pair begins (multiplicative hashing, Knuth)."""
    mixed = a * np.uint64(0x9E3779B97F4A7C15) ^ (b + np.uint64(0x7F4A7C15)) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(mixed >> np.uint64(32)) & mask


@numba.njit(cache=True)
def _place_rows(slots, rows):  # type: ignore[no-untyped-def]
    mask = slots.size - 1
    for row in range(len(rows)):
        slot = _slot(rows[row, 0], rows[row, 1], mask)
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = row


def _with_room(table: Table, more: int, expected: int) -> Table:
    """Return the table, grown if it hasn't room for so many more rows; so many rows are expected in the end."""
    slots, rows, used = table
    filled = int(used[0])
    wanted = filled + more
    if wanted > ROWS:
        raise InputError(
            f"a region graph of more than {filled} fragments and edges from one array",
            allowed=f"up to {ROWS}",
            remedy="extract the graph from smaller blocks, and merge their graphs",
        )
    if wanted > len(rows):
        # rows that move are there twice, so they should do so early; room that is never written to takes no memory
        room = max(wanted, 2 * len(rows), min(expected + expected // 4, 64 * len(rows)))
        grown = np.zeros((min(room, ROWS), rows.shape[1]), np.uint64)
        grown[:filled] = rows[:filled]
        rows = grown
    if 2 * wanted > len(slots):
        slots = np.full(1 << (2 * wanted).bit_length(), -1, np.int32)
        _place_rows(slots, rows[:filled])
    return slots, rows, used


@numba.njit(cache=True)
def _add_line(here, there, affinity, column, unit, scale, table, levels, level_count):  # type: ignore[no-untyped-def]
    """Add the pairs of here[x] and there[x]; return whether all affinities are from 0 to 1.

    The pairs of voxels with themselves, in column -1, are counted in column 0 of a row of their own.
    """
    slots, rows, used = table
    own, mask, place = column < 0, slots.size - 1, 2 + max(column, 0)
    first, second, row, count, total = np.uint64(0), np.uint64(0), np.int64(0), np.uint64(0), np.uint64(0)
    for x in range(here.size):
        a, b = np.uint64(here[x]), np.uint64(there[x])
        if a == 0 or b == 0 or (a == b) != own:
            continue
        a, b = min(a, b), max(a, b)
        # the next pair is mostly one of the same fragments
        if a != first or b != second:
            rows[row, place] += count
            rows[row, place + 1] += total
            first, second, count, total = a, b, np.uint64(0), np.uint64(0)
            # not in a function of its own: numba counts the references to arrays that it is called with
            slot = _slot(a, b, mask)
            while slots[slot] >= 0 and (rows[slots[slot], 0] != a or rows[slots[slot], 1] != b):
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot], rows[used[0], 0], rows[used[0], 1] = used[0], a, b
                used[0] += 1
            row = np.int64(slots[slot])
        count += np.uint64(1)
        if own:
            continue
        steps = np.rint(affinity[x] * unit * scale)
        if not (steps >= 0 and steps <= scale):
            return False
        total += np.uint64(steps)
        if levels.size > 0 and column == 0:
            # in float32, as waterz
            value = np.float32(affinity[x]) * np.float32(unit) * np.float32(256)
            level = np.uint64(max(np.float32(0), min(value, np.float32(255))))
            levels[level_count[0]] = np.uint64(row) << np.uint64(8) | level
            level_count[0] += 1
    rows[row, place] += count
    rows[row, place + 1] += total
    return True


@numba.njit(cache=True, nogil=True)
def _add_lines(labels, affinities, links, low, high, line, unit, scale, table, levels, level_count):  # type: ignore[no-untyped-def]
    """Add lines along x from number `line` on while there is room; return the next line, or -1 at bad values."""
    depth, height, width = labels.shape
    lines, room = high[1] - low[1], width * len(links)
    while line < (high[0] - low[0]) * lines:
        if table[2][0] + room > len(table[1]) or 2 * (table[2][0] + room) > table[0].size:
            break
        if levels.size > 0 and level_count[0] + room > levels.size:
            break
        z, y = low[0] + line // lines, low[1] + line % lines
        for link in range(len(links)):
            channel, dz, dy, dx, column = links[link]
            if not (0 <= z + dz < depth and 0 <= y + dy < height):
                continue
            first, end = max(low[2], -dx), min(high[2], width - dx)
            if first < end and not _add_line(
                labels[z, y, first:end], labels[z + dz, y + dy, first + dx : end + dx],
                affinities[channel, z, y, first:end], column, unit, scale, table, levels, level_count,
            ):  # fmt: skip
                return -1
        line += 1
    return line


def contact_sums(
    labels: NDArray,
    affinities: NDArray,
    links: NDArray[np.int64],
    low: tuple[int, ...],
    high: tuple[int, ...],
    scale: int,
    columns: int,
    histogram: bool,
) -> tuple[NDArray[np.uint64], NDArray[np.int64], Run]:
    """Count and sum the affinities between fragments over a box of voxels, and the voxels of each.

    Parameters
    ----------
    labels
        (z, y, x) uint32 or uint64, 0 is background.
    affinities
        (channels, z, y, x), integers of which `scale` is an affinity of 1, or floats.
    links
        A row per channel that counts: channel, offset (z, y, x), and the column for its pairs' number, 0 for nearest
        neighbours or 2; the next column is for the sum of their affinities. One of no offset and column -1 counts
        voxels.
    low, high
        First voxel of the box, and first behind it.
    scale
        What an affinity of 1 counts in the sums.
    columns
        Of the sums, 2 or 4.
    histogram
        Count the affinities of column 0 in 256 bins.

    Returns
    -------
    pairs
        (rows, 2) ids, the lower first, in any order; a fragment is a pair of equal ids.
    sums
        (rows, columns); the voxels of fragments are in column 0.
    bins
        Keys, 256 times the row of the pair plus the bin, ascending, and numbers of affinities.

    Raises InputError when an affinity isn't in [0, 1], or rows are too many.
    """
    unit = 1.0 if affinities.dtype.kind == "f" else 1 / scale
    table: Table = np.full(2, -1, np.int32), np.zeros((0, 2 + columns), np.uint64), np.zeros(1, np.int64)
    room = labels.shape[2] * len(links)
    levels, level_count = np.empty(max(LEVELS, room) if histogram else 0, np.uint64), np.zeros(1, np.int64)
    runs: list[Run] = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    line, lines = 0, (high[0] - low[0]) * (high[1] - low[1]) if all(np.less(low, high)) else 0
    while line < lines:
        table = _with_room(table, room, int(table[2][0]) * lines // max(line, 1))
        runs = _with_run(runs, levels[: level_count[0]])
        level_count[0] = 0
        line = _add_lines(labels, affinities, links, low, high, line, unit, float(scale), table, levels, level_count)
        if line < 0:
            raise InputError(
                f"{affinities.dtype} affinities hold values outside [0, 1]",
                allowed="uint8 (255 is 1), uint16 (65535 is 1) or float from 0 to 1",
                remedy="scale the affinities to [0, 1], and replace what isn't a number",
            )
    runs = _with_run(runs, levels[: level_count[0]])
    while len(runs) > 1:
        runs[-2:] = [_merged(*runs[-2], *runs[-1])]
    rows = table[1][: table[2][0]]
    return rows[:, :2], rows[:, 2:].view(np.int64), runs[0]


def _with_run(runs: list[Run], levels: NDArray[np.uint64]) -> list[Run]:
    """Return the runs and that of more keys; of any two that follow each other the first is more than twice as long."""
    if len(levels) == 0:
        return runs
    keys = np.sort(levels)
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    runs = [*runs, (keys[starts], np.diff(starts, append=len(keys)))]
    while len(runs) > 1 and len(runs[-2][0]) <= 2 * len(runs[-1][0]):
        runs[-2:] = [_merged(*runs[-2], *runs[-1])]
    return runs


@numba.njit(cache=True, nogil=True)
def _merged(keys, counts, more_keys, more_counts):  # type: ignore[no-untyped-def]
    """Return each key of two ascending runs once, ascending, and the sum of its counts."""
    both, sums = np.empty(keys.size + more_keys.size, np.uint64), np.empty(keys.size + more_keys.size, np.int64)
    i = j = size = 0
    while i < keys.size or j < more_keys.size:
        first = i < keys.size and (j == more_keys.size or keys[i] <= more_keys[j])
        second = j < more_keys.size and (i == keys.size or more_keys[j] <= keys[i])
        both[size], sums[size] = keys[i] if first else more_keys[j], 0
        if first:
            sums[size] += counts[i]
            i += 1
        if second:
            sums[size] += more_counts[j]
            j += 1
        size += 1
    return both[:size], sums[:size]


@numba.njit(cache=True)
def in_order(keys, counts, rows, order):  # type: ignore[no-untyped-def]
    """Return the histograms of some of the rows that `contact_sums` returns, in an order.

    Returns
    -------
    bin_start, bin, bin_count
        int64 (rows + 1): where the bins of each row begin; uint8 and int64: the bins and their numbers.
    """
    start = np.zeros(rows + 1, np.int64)
    for key in keys:
        start[np.int64(key >> np.uint64(8)) + 1] += 1
    start = np.cumsum(start)
    bin_start = np.zeros(order.size + 1, np.int64)
    bins, bin_count = np.empty(keys.size, np.uint8), np.empty(keys.size, np.int64)
    size = 0
    for i in range(order.size):
        for entry in range(start[order[i]], start[order[i] + 1]):
            bins[size], bin_count[size] = keys[entry] & np.uint64(255), counts[entry]
            size += 1
        bin_start[i + 1] = size
    return bin_start, bins, bin_count
