"""Sums over the pairs of voxels between every two fragments, in one pass over the voxels."""

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = ["contact_sums", "in_order"]

# slots (int32, -1 is free, a power of two and at least twice as many as there is room for rows) hold the numbers of
# the rows; beside them keys and values by row, in the order in which they came, and how many there are
Table = tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]
Run = tuple[NDArray[np.uint64], NDArray[np.int64]]

ROWS = 2**31
LEVELS = 2**20


@numba.njit(cache=True)
def _slot(key, mask):  # type: ignore[no-untyped-def]
    """Return where the search for a key begins (finaliser of MurmurHash3, Appleby)."""
    key ^= key >> np.uint64(33)
    key *= np.uint64(0xFF51AFD7ED558CCD)
    key ^= key >> np.uint64(33)
    return np.int64(key & np.uint64(mask))


@numba.njit(cache=True)
def _row(slots, keys, used, key):  # type: ignore[no-untyped-def]
    """Return the row of a key, a new one where there is none."""
    mask = slots.size - 1
    slot = _slot(key, mask)
    while slots[slot] >= 0:
        if keys[slots[slot]] == key:
            return np.int64(slots[slot])
        slot = (slot + 1) & mask
    row = used[0]
    slots[slot], keys[row], used[0] = row, key, row + 1
    return row


@numba.njit(cache=True)
def _place_rows(slots, keys, used):  # type: ignore[no-untyped-def]
    mask = slots.size - 1
    for row in range(used):
        slot = _slot(keys[row], mask)
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = row


def _table(columns: int) -> Table:
    empty = np.zeros((0, columns), np.int64)
    return np.full(2, -1, np.int32), np.zeros(0, np.uint64), empty, np.zeros(1, np.int64)


def _with_room(table: Table, rows: int) -> Table:
    """Return the table, grown if it hasn't room for so many more rows."""
    _, keys, values, used = table
    filled = int(used[0])
    if filled + rows <= len(keys):
        return table
    room = max(2 * len(keys), filled + rows)
    if room > ROWS:
        raise InputError(
            f"a region graph of more than {filled} fragments or edges from one array",
            allowed=f"up to {ROWS // 2}",
            remedy="extract the graph from smaller blocks, and merge their graphs",
        )
    grown_keys, grown_values = np.empty(room, np.uint64), np.zeros((room, values.shape[1]), np.int64)
    grown_keys[:filled], grown_values[:filled] = keys[:filled], values[:filled]
    slots = np.full(1 << (2 * room - 1).bit_length(), -1, np.int32)
    _place_rows(slots, grown_keys, filled)
    return slots, grown_keys, grown_values, used


@numba.njit(cache=True)
def _count_voxels(labels, low, high, nodes):  # type: ignore[no-untyped-def]
    """Add the voxels of a line to the sizes of their fragments, run by run."""
    slots, keys, sizes, used = nodes
    x = low
    while x < high:
        start, label = x, labels[x]
        while x < high and labels[x] == label:
            x += 1
        if label != 0:
            sizes[_row(slots, keys, used, np.uint64(label)), 0] += x - start


@numba.njit(cache=True)
def _add_line(here, there, step, affinity, low, high, column, unit, scale, nodes, edges, levels, level_count):  # type: ignore[no-untyped-def]
    """Add the pairs of here[x] and there[x + step] to the edges; return whether all affinities are from 0 to 1."""
    # taken out of their tuples once: that counts references
    node_slots, node_keys, _, node_count = nodes
    edge_slots, edge_keys, sums, edge_count = edges
    last_a, last_b, edge = here[low], here[low], np.int64(0)
    for x in range(low, high):
        a, b = here[x], there[x + step]
        if a == b or a == 0 or b == 0:
            continue
        # the next pair of a contact is mostly the next voxel's
        if a != last_a or b != last_b:
            last_a, last_b = a, b
            u = np.uint64(_row(node_slots, node_keys, node_count, np.uint64(min(a, b))))
            v = np.uint64(_row(node_slots, node_keys, node_count, np.uint64(max(a, b))))
            edge = _row(edge_slots, edge_keys, edge_count, u << np.uint64(32) | v)
        steps = np.rint(affinity[x] * unit * scale)
        if not (steps >= 0 and steps <= scale):
            return False
        sums[edge, column] += 1
        sums[edge, column + 1] += np.int64(steps)
        if levels.size > 0 and column == 0:
            # in float32, as waterz
            level = np.float32(affinity[x]) * np.float32(unit) * np.float32(256)
            level = np.uint64(max(np.float32(0), min(level, np.float32(255))))
            levels[level_count[0]] = np.uint64(edge) << np.uint64(8) | level
            level_count[0] += 1
    return True


@numba.njit(cache=True, nogil=True)
def _add_lines(labels, affinities, links, low, high, line, unit, scale, nodes, edges, levels, level_count):  # type: ignore[no-untyped-def]
    """Add lines along x from number `line` on while there is room; return the next line, or -1 at bad values."""
    depth, height, width = labels.shape
    lines, room = high[1] - low[1], width * (len(links) + 1)
    while line < (high[0] - low[0]) * lines:
        if nodes[3][0] + room > nodes[1].size or edges[3][0] + room > edges[1].size:
            break
        if levels.size > 0 and level_count[0] + room > levels.size:
            break
        z, y = low[0] + line // lines, low[1] + line % lines
        _count_voxels(labels[z, y], low[2], high[2], nodes)
        for link in range(len(links)):
            channel, dz, dy, dx, column = links[link]
            if not (0 <= z + dz < depth and 0 <= y + dy < height):
                continue
            first, end = max(low[2], -dx), min(high[2], width - dx)
            if first < end and not _add_line(
                labels[z, y], labels[z + dz, y + dy], dx, affinities[channel, z, y], first, end, column, unit, scale,
                nodes, edges, levels, level_count,
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
) -> tuple[Run, Run, NDArray[np.int64], Run]:
    """Count and sum the affinities between fragments over a box of voxels.

    Parameters
    ----------
    labels
        (z, y, x) uint32 or uint64, 0 is background.
    affinities
        (channels, z, y, x), integers of which `scale` is an affinity of 1, or floats.
    links
        A row per channel that counts: channel, offset (z, y, x), and the column for its pairs' number, 0 for nearest
        neighbours or 2; the next column is for the sum of their affinities.
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
    fragments
        Ids, in any order, and voxels in the box.
    edges
        Keys, 2^32 times the row of the fragment of the lower id plus the row of the other, in any order.
    sums
        (edges, columns).
    bins
        Keys, 256 times the row of the edge plus the bin, ascending, and numbers of affinities.

    Raises InputError when an affinity isn't in [0, 1], or rows are too many.
    """
    unit = 1.0 if affinities.dtype.kind == "f" else 1 / scale
    room = labels.shape[2] * (len(links) + 1)
    nodes, edges = _table(1), _table(columns)
    levels, level_count = np.empty(max(LEVELS, room) if histogram else 0, np.uint64), np.zeros(1, np.int64)
    runs: list[Run] = [(np.zeros(0, np.uint64), np.zeros(0, np.int64))]
    line, lines = 0, (high[0] - low[0]) * (high[1] - low[1]) if all(np.less(low, high)) else 0
    while line < lines:
        nodes, edges = _with_room(nodes, room), _with_room(edges, room)
        runs = _with_run(runs, levels[: level_count[0]])
        level_count[0] = 0
        line = _add_lines(
            labels, affinities, links, low, high, line, unit, float(scale), nodes, edges, levels, level_count
        )
        if line < 0:
            raise InputError(
                f"{affinities.dtype} affinities hold values outside [0, 1]",
                allowed="uint8 (255 is 1), uint16 (65535 is 1) or float from 0 to 1",
                remedy="scale the affinities to [0, 1], and replace what isn't a number",
            )
    runs = _with_run(runs, levels[: level_count[0]])
    while len(runs) > 1:
        runs[-2:] = [_merged(*runs[-2], *runs[-1])]
    filled, found = int(nodes[3][0]), int(edges[3][0])
    return (nodes[1][:filled], nodes[2][:filled, 0]), edges[1][:found], edges[2][:found], runs[0]


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
def in_order(keys, counts, order):  # type: ignore[no-untyped-def]
    """Return the histograms of edges, as `contact_sums` returns them, in another order.

    Returns
    -------
    bin_start, bin, bin_count
        int64 (edges + 1): where the bins of each edge begin; uint8 and int64: the bins and their numbers.
    """
    start = np.zeros(order.size + 1, np.int64)
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
