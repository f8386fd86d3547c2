"""The region graph: how far fragments touch and how strong the affinities across are; graphs of parts add up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Offsets, check_offsets

__all__ = ["FIXED_POINT", "RegionGraph", "merge_graphs", "region_graph"]

FIXED_POINT = 2**24
"""Float affinities are summed as integers in steps of 2^-24 (6e-8), the precision of a float32 near 1."""

_ENTRIES = 2**31  # int32 numbers the entries of a table
_NAMES = ("count", "total", "far_count", "far_total")


@dataclass(frozen=True)
class RegionGraph:
    """Fragments and the contacts between them; all statistics are integers that add up over parts of a volume.

    Parameters
    ----------
    u, v
        uint64: the fragments of each edge, u < v, ordered by u, then v, each pair once.
    count
        int64: pairs of voxels across the contact among the nearest-neighbour affinities, its area in faces.
    total
        int64: sum of the affinities of these pairs in units of 1 / `scale`.
    fragments, sizes
        uint64 ascending, and int64: every fragment there is, with or without an edge, and its voxels.
    scale
        What an affinity of 1 counts in `total`: 255 for uint8, 65535 for uint16, `FIXED_POINT` for floats.
    far_count, far_total
        int64: the same for all other affinities; an edge between fragments that don't touch has a `count` of 0.
    bin_start, bin, bin_count
        int64 (edges + 1), uint8 and int64: the histogram of edge i is `bin_count[s]` affinities in each of the
        ascending bins `bin[s]`, s from `bin_start[i]` to before `bin_start[i + 1]`; empty bins are left out. An
        affinity a is in bin floor(256 a), 1 in bin 255.
    """

    u: NDArray[np.uint64]
    v: NDArray[np.uint64]
    count: NDArray[np.int64]
    total: NDArray[np.int64]
    fragments: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    scale: int
    far_count: NDArray[np.int64] | None = None
    far_total: NDArray[np.int64] | None = None
    bin_start: NDArray[np.int64] | None = None
    bin: NDArray[np.uint8] | None = None
    bin_count: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.u)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean affinity of each edge's nearest neighbours, from 0 to 1; nan where no two touch."""
        with np.errstate(invalid="ignore"):
            return self.total / (self.count * self.scale)


class _Table(NamedTuple):
    """Rows found by their key: a hash table of row numbers beside rows in the order in which they came."""

    slots: NDArray[np.int32]  # a power of two, at least twice the capacity; -1 is free
    keys: NDArray[np.uint64]
    values: NDArray[np.int64]
    used: NDArray[np.int64]  # one number


@numba.njit(cache=True)
def _slot(key, mask):  # type: ignore[no-untyped-def]
    """Return where the search for a key begins (finaliser of MurmurHash3, Appleby)."""
    key ^= key >> np.uint64(33)
    key *= np.uint64(0xFF51AFD7ED558CCD)
    key ^= key >> np.uint64(33)
    return np.int64(key & np.uint64(mask))


@numba.njit(cache=True)
def _row(table, key):  # type: ignore[no-untyped-def]
    """Return the row of a key, a new one of zeros where there is none."""
    mask = table.slots.size - 1
    slot = _slot(key, mask)
    while table.slots[slot] >= 0:
        row = np.int64(table.slots[slot])
        if table.keys[row] == key:
            return row
        slot = (slot + 1) & mask
    row = table.used[0]
    table.slots[slot] = row
    table.keys[row] = key
    table.used[0] = row + 1
    return row


@numba.njit(cache=True)
def _place_rows(slots, keys, used):  # type: ignore[no-untyped-def]
    mask = slots.size - 1
    for row in range(used):
        slot = _slot(keys[row], mask)
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = row


def _with_room(table: _Table, rows: int) -> _Table:
    """Return the table, grown if it hasn't room for so many more rows."""
    used, capacity = int(table.used[0]), len(table.keys)
    if used + rows <= capacity:
        return table
    capacity = max(2 * capacity, used + rows)
    if capacity > _ENTRIES:
        raise InputError(
            f"a region graph of more than {used} entries in one piece",
            allowed=f"up to {_ENTRIES}",
            remedy="extract the graph in smaller blocks and merge them",
        )
    keys, values = np.empty(capacity, np.uint64), np.zeros((capacity, table.values.shape[1]), np.int64)
    keys[:used], values[:used] = table.keys[:used], table.values[:used]
    slots = np.full(1 << (2 * capacity - 1).bit_length(), -1, np.int32)
    _place_rows(slots, keys, used)
    return _Table(slots, keys, values, table.used)


def _table(columns: int) -> _Table:
    return _Table(
        np.full(2, -1, np.int32), np.zeros(0, np.uint64), np.zeros((0, columns), np.int64), np.zeros(1, np.int64)
    )


@numba.njit(cache=True)
def _count_voxels(line, low, high, fragments):  # type: ignore[no-untyped-def]
    """Add the voxels of a line to the sizes of their fragments, run by run."""
    x = low
    while x < high:
        start, label = x, line[x]
        while x < high and line[x] == label:
            x += 1
        if label != 0:
            fragments.values[_row(fragments, np.uint64(label)), 0] += x - start


@numba.njit(cache=True)
def _add_line(here, there, affinity, low, high, step, column, unit, scale, fragments, edges, bins):  # type: ignore[no-untyped-def]
    """Add the pairs of here[x] and there[x + step] to the edges; return whether all affinities are from 0 to 1."""
    last_a, last_b, edge = here[low], here[low], np.int64(0)
    last_key, page = np.uint64(2**64 - 1), np.int64(0)
    whole = np.float64(scale)
    for x in range(low, high):
        a, b = here[x], there[x + step]
        if a == b or a == 0 or b == 0:
            continue
        # the next pair of a contact is mostly the next voxel's
        if a != last_a or b != last_b:
            last_a, last_b = a, b
            first, second = _row(fragments, np.uint64(min(a, b))), _row(fragments, np.uint64(max(a, b)))
            edge = _row(edges, np.uint64(first) << np.uint64(32) | np.uint64(second))
        steps = np.rint(affinity[x] * unit * whole)
        if not (steps >= 0 and steps <= whole):
            return False
        edges.values[edge, column] += 1
        edges.values[edge, column + 1] += np.int64(steps)
        if bins.keys.size > 0 and column == 0:
            level = np.float32(affinity[x]) * np.float32(unit) * np.float32(256)
            level = np.uint64(max(np.float32(0), min(level, np.float32(255))))
            key = np.uint64(edge) << np.uint64(5) | level >> np.uint64(3)
            if key != last_key:
                last_key, page = key, _row(bins, key)
            bins.values[page, level & np.uint64(7)] += 1
    return True


@numba.njit(cache=True, nogil=True)
def _add_lines(labels, affinities, links, low, high, line, unit, scale, fragments, edges, bins):  # type: ignore[no-untyped-def]
    """Add lines along x from number `line` on while the tables have room; return the next line, or -1 at bad values.

    A row of `links` is a channel, its offset (z, y, x) and the column of the edges' values it counts in. A row
    of bins is eight of one edge's, its key 32 times the edge plus their number; without any room they aren't wanted.
    """
    depth, height, width = labels.shape
    lines, room = high[1] - low[1], width * (len(links) + 1)
    while line < (high[0] - low[0]) * lines:
        if max(fragments.used[0] + room - fragments.keys.size, edges.used[0] + room - edges.keys.size) > 0 or (
            bins.keys.size > 0 and bins.used[0] + room > bins.keys.size
        ):
            break
        z, y = low[0] + line // lines, low[1] + line % lines
        _count_voxels(labels[z, y], low[2], high[2], fragments)
        for link in range(len(links)):
            channel, dz, dy, dx, column = links[link]
            if not (0 <= z + dz < depth and 0 <= y + dy < height):
                continue
            first, end = max(low[2], -dx), min(high[2], width - dx)
            if first < end and not _add_line(
                labels[z, y], labels[z + dz, y + dy], affinities[channel, z, y], first, end, dx, column, unit, scale,
                fragments, edges, bins,
            ):  # fmt: skip
                return -1
        line += 1
    return line


def region_graph(
    fragments: NDArray,
    affinities: NDArray,
    *,
    offsets: Sequence[Sequence[int]],
    histogram: bool = False,
    long_range: bool = False,
    owned: tuple[slice, ...] | None = None,
) -> RegionGraph:
    """Count and sum the affinities between every two fragments.

    The affinity of voxel p along an offset belongs to the pair p, p + offset, and to p. Pairs of one fragment, with
    background, or that leave the array don't count.

    Parameters
    ----------
    fragments
        (z, y, x) integers of at least 0; 0 is background.
    affinities
        (channels, z, y, x), uint8 (255 is 1), uint16 (65535 is 1) or float in [0, 1].
    offsets
        One offset (z, y, x) per channel in voxels, of any sign; the nearest neighbours must be among them.
    histogram
        Count the nearest-neighbour affinities in 256 bins too, as quantiles need them.
    long_range
        Count and sum the affinities of all other offsets too.
    owned
        Box of the voxels whose pairs and sizes count, all without it. Graphs of boxes that cover a volume once add up
        to the graph of the volume, if the array around each reaches as far as the offsets do.

    Raises InputError when shapes or types don't fit, a nearest neighbour is missing, or an affinity isn't in [0, 1].
    """
    labels, values, scale = _checked(fragments, affinities, offsets)
    links = _links(check_offsets(offsets, 3), long_range)
    low, high = _box(owned, labels.shape)
    unit = 1.0 if values.dtype.kind == "f" else 1 / scale
    tables = [_table(1), _table(4 if long_range else 2), _table(8)]
    wanted = 3 if histogram else 2
    room = labels.shape[2] * (len(links) + 1)
    line, lines = 0, max(0, high[0] - low[0]) * max(0, high[1] - low[1])
    while line < lines and low[2] < high[2]:
        tables[:wanted] = [_with_room(table, room) for table in tables[:wanted]]
        line = _add_lines(labels, values, links, low, high, line, unit, scale, *tables)
        if line < 0:
            raise InputError(
                f"{values.dtype} affinities hold values outside [0, 1]",
                allowed="uint8 (255 is 1), uint16 (65535 is 1) or float from 0 to 1",
                remedy="scale the affinities to [0, 1], and replace what isn't a number",
            )
    return _graph(*tables, scale=scale, histogram=histogram)


def _checked(fragments: NDArray, affinities: NDArray, offsets: Sequence[Sequence[int]]) -> tuple[NDArray, NDArray, int]:
    """Return fragments as unsigned and affinities as contiguous arrays of a type that is compiled, and their scale."""
    if affinities.ndim != 4 or len(offsets) != len(affinities):
        raise InputError(
            f"affinities of shape {affinities.shape} with {len(offsets)} offsets",
            allowed="an array (channels, z, y, x) with one offset (z, y, x) per channel",
            remedy="give the offsets that the affinities were predicted with",
        )
    if fragments.shape != affinities.shape[1:]:
        raise InputError(
            f"fragments of shape {fragments.shape} for affinities of shape {affinities.shape}",
            allowed="the same z, y, x",
            remedy="give the fragments that were made from these affinities",
        )
    if fragments.dtype.kind not in "ui" or (fragments.dtype.kind == "i" and fragments.min(initial=0) < 0):
        raise InputError(
            f"fragments hold {fragments.dtype} values that aren't labels",
            allowed="integers of at least 0",
            remedy="convert the fragments to unsigned integers without passing through floats",
        )
    if affinities.dtype not in (np.uint8, np.uint16) and affinities.dtype.kind != "f":
        raise InputError(
            f"affinities of type {affinities.dtype}",
            allowed="uint8 (255 is 1), uint16 (65535 is 1) or float from 0 to 1",
            remedy="convert the affinities",
        )
    # few compiled variants are enough
    labels = fragments.astype(
        np.uint32 if fragments.itemsize < 4 or fragments.dtype == np.uint32 else np.uint64, copy=False
    )
    values = affinities.astype(np.float32, copy=False) if affinities.dtype == np.float16 else affinities
    scale = FIXED_POINT if affinities.dtype.kind == "f" else int(np.iinfo(affinities.dtype).max)
    return np.ascontiguousarray(labels), np.ascontiguousarray(values), scale


def _links(offsets: Offsets, long_range: bool) -> NDArray[np.int64]:
    """Return channel, offset and column of values for every channel that counts."""
    nearest = [sum(map(abs, offset)) == 1 for offset in offsets]
    for axis in range(3):
        if not any(near and offset[axis] for near, offset in zip(nearest, offsets, strict=True)):
            back = [-int(a == axis) for a in range(3)]
            raise InputError(
                f"offsets {offsets} have no nearest neighbour along {'zyx'[axis]}",
                allowed=f"{back} or {[-step for step in back]} among the offsets",
                remedy="train and predict the affinities with the three nearest neighbours among their offsets",
            )
    rows = [
        (channel, *offset, 0 if near else 2)
        for channel, (offset, near) in enumerate(zip(offsets, nearest, strict=True))
        if near or long_range
    ]
    return np.array(rows, np.int64)


def _box(owned: tuple[slice, ...] | None, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first corner of the box and the one behind its last."""
    if owned is None:
        return (0, 0, 0), shape
    if len(owned) != len(shape) or any(side.step not in (None, 1) for side in owned):
        raise InputError(
            f"owned {owned}",
            allowed="three slices (z, y, x) without a step",
            remedy="give the place of the block within the array",
        )
    sides = [side.indices(length)[:2] for side, length in zip(owned, shape, strict=True)]
    return tuple(start for start, _ in sides), tuple(stop for _, stop in sides)


def _graph(nodes: _Table, edges: _Table, bins: _Table, *, scale: int, histogram: bool) -> RegionGraph:
    """Return the graph of the filled tables, all in order."""
    ids, sizes = (column[: nodes.used[0]] for column in (nodes.keys, nodes.values[:, 0]))
    order = np.argsort(ids)
    rank = np.empty(len(order), np.uint64)
    rank[order] = np.arange(len(order), dtype=np.uint64)
    keys, sums = (column[: edges.used[0]] for column in (edges.keys, edges.values))
    first, second = keys >> np.uint64(32), keys & np.uint64(2**32 - 1)
    edge_order = np.argsort(rank[first] << np.uint64(32) | rank[second])
    present = order[sizes[order] > 0]  # the others lie outside the box
    columns: dict[str, NDArray] = {
        name: sums[edge_order, i] for i, name in zip(range(sums.shape[1]), _NAMES, strict=False)
    }
    if histogram:
        number = np.empty(len(edge_order), np.uint64)
        number[edge_order] = np.arange(len(edge_order), dtype=np.uint64)
        rows = bins.keys[: bins.used[0]]
        rows = number[rows >> np.uint64(5)] << np.uint64(5) | rows & np.uint64(31)
        bin_order = np.argsort(rows)
        eights = bins.values[bin_order]
        row, place = eights.nonzero()
        bins_of_edges = rows[bin_order][row] << np.uint64(3) | place.astype(np.uint64)
        columns |= _histogram(bins_of_edges, eights[row, place], len(edge_order))
    return RegionGraph(
        ids[first[edge_order]], ids[second[edge_order]], fragments=ids[present], sizes=sizes[present], scale=scale,
        **columns,
    )  # fmt: skip


def _histogram(keys: NDArray[np.uint64], counts: NDArray[np.int64], edges: int) -> dict[str, NDArray]:
    """Return the histograms of ascending keys, 256 times the number of the edge plus the bin."""
    bin_start = np.zeros(edges + 1, np.int64)
    np.cumsum(np.bincount((keys >> np.uint64(8)).astype(np.int64), minlength=edges), out=bin_start[1:])
    return {"bin_start": bin_start, "bin": (keys & np.uint64(255)).astype(np.uint8), "bin_count": counts}


def _added(keys: NDArray[np.uint64], counts: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return each of the ascending keys once, and the sum of its counts."""
    if len(keys) == 0:
        return keys, counts
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts, starts)


def merge_graphs(graphs: Iterable[RegionGraph]) -> RegionGraph:
    """Add up the graphs of disjoint parts of a volume: the result is the graph of the whole, in any order.

    Raises InputError when there are none, their scales differ, or not all have the same statistics.
    """
    parts = list(graphs)
    kinds = {(part.scale, part.far_count is None, part.bin is None) for part in parts}
    if len(kinds) != 1:
        raise InputError(
            f"{len(parts)} region graphs of {len(kinds)} kinds",
            allowed="at least one graph, all of affinities of one type, all or none with histograms and long range",
            remedy="extract all parts of the volume with the same settings",
        )
    ((scale, near_only, no_histogram),) = kinds
    ids = np.concatenate([part.fragments for part in parts])
    order = np.argsort(ids, kind="stable")
    fragments, sizes = _added(ids[order], np.concatenate([part.sizes for part in parts])[order])
    u, v = (np.concatenate([getattr(part, name) for part in parts]) for name in ("u", "v"))
    order = np.lexsort((v, u))
    u, v = u[order], v[order]
    new = np.ones(len(u), bool)
    new[1:] = (u[1:] != u[:-1]) | (v[1:] != v[:-1])
    starts = np.flatnonzero(new)
    columns: dict[str, NDArray] = {}
    for name in _NAMES[:2] if near_only else _NAMES:
        values = np.concatenate([getattr(part, name) for part in parts])[order]
        columns[name] = np.add.reduceat(values, starts) if len(starts) else values
    if not no_histogram:
        number = np.empty(len(order), np.uint64)
        number[order] = np.cumsum(new) - 1
        lengths = np.concatenate([np.diff(part.bin_start) for part in parts if part.bin_start is not None])
        bins, counts = (np.concatenate([getattr(part, name) for part in parts]) for name in ("bin", "bin_count"))
        keys = np.repeat(number, lengths) << np.uint64(8) | bins
        bin_order = np.argsort(keys, kind="stable")
        columns |= _histogram(*_added(keys[bin_order], counts[bin_order]), len(starts))
    return RegionGraph(u[starts], v[starts], fragments=fragments, sizes=sizes, scale=scale, **columns)
