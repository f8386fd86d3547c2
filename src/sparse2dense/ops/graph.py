"""The region graph: how far fragments touch and how strong the affinities across are; graphs of parts add up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Offsets, check_offsets
from sparse2dense.ops.contact_sums import contact_sums, in_order
from sparse2dense.ops.row_sums import equal_rows, sum_rows

__all__ = [
    "FIXED_POINT", "RegionGraph", "compilable", "corners", "graph_rows", "merge_graphs", "region_graph", "scale_of",
]  # fmt: skip

FIXED_POINT = 2**24
"""Float affinities are summed as integers in steps of 2^-24 (6e-8), the precision of a float32 near 1."""

_SUMS = ("count", "total", "far_count", "far_total")
_HISTOGRAM = ("bin_start", "bin", "bin_count")


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


def scale_of(dtype: np.dtype) -> int:
    """Return what an affinity of 1 counts in the sums of a graph, given the type of the affinities."""
    return FIXED_POINT if dtype.kind == "f" else int(np.iinfo(dtype).max)


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
    labels, values, scale = compilable(fragments, affinities, offsets)
    links = _links(check_offsets(offsets, 3), long_range)
    low, high = corners(owned, labels.shape)
    columns = 4 if long_range else 2
    pairs, sums, bins = contact_sums(labels, values, links, low, high, scale, columns, histogram)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    alone = pairs[order, 0] == pairs[order, 1]
    order, nodes = order[~alone], order[alone]
    statistics: dict[str, NDArray] = {name: sums[order, i] for i, name in enumerate(_SUMS[:columns])}
    if histogram:
        statistics |= zip(_HISTOGRAM, in_order(*bins, len(pairs), order), strict=True)
    return RegionGraph(
        pairs[order, 0], pairs[order, 1], fragments=pairs[nodes, 0], sizes=sums[nodes, 0], scale=scale, **statistics
    )


def compilable(
    fragments: NDArray, affinities: NDArray, offsets: Sequence[Sequence[int]]
) -> tuple[NDArray, NDArray, int]:
    """Return fragments and affinities as contiguous arrays of types that `contact_sums` is compiled for, and the scale.

    Fragments become uint32 or uint64; parameters, scale and errors are those of `region_graph`.
    """
    if affinities.ndim != 4 or len(offsets) != len(affinities):
        raise InputError(
            f"affinities of shape {affinities.shape} with {len(offsets)} offsets {list(offsets)}",
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
    return np.ascontiguousarray(labels), np.ascontiguousarray(values), scale_of(affinities.dtype)


def _links(offsets: Offsets, long_range: bool) -> NDArray[np.int64]:
    """Return what `contact_sums` wants to know of every channel that counts, and that voxels do."""
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
    return np.array([(0, 0, 0, 0, -1), *rows], np.int64)


def corners(owned: tuple[slice, ...] | None, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first voxel of a box, and the first behind it; InputError for slices with steps."""
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


def graph_rows(graph: RegionGraph, edges: slice, nodes: slice) -> RegionGraph:
    """Return some edges, and some fragments, of a graph: `slice(start, stop)` each.

    The sum of graphs is what sums of such parts are one behind another, where ranges of u and of fragments part them.
    The arrays of the graph may be memory-mapped: hardly more than the part is read.
    """
    rows = dict.fromkeys(("u", "v", *_SUMS), edges) | dict.fromkeys(("fragments", "sizes"), nodes)
    if graph.bin_start is not None:
        start = graph.bin_start[edges.start : edges.stop + 1]
        bins = slice(int(start[0]), int(start[-1]))
        rows |= {"bin_start": slice(edges.start, edges.stop + 1), "bin": bins, "bin_count": bins}
    columns = {
        name: np.array(array[rows[name]]) for name, array in vars(graph).items() if isinstance(array, np.ndarray)
    }
    if graph.bin_start is not None:
        columns["bin_start"] -= columns["bin_start"][0]
    return RegionGraph(**columns, scale=graph.scale)


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
    (fragments,), (sizes,) = sum_rows([_joined(parts, "fragments")], [_joined(parts, "sizes")])
    u, v = (_joined(parts, name) for name in ("u", "v"))
    order, starts = equal_rows([u, v])
    u, v = u[order[starts]], v[order[starts]]
    columns: dict[str, NDArray] = {}
    for name in _SUMS[:2] if near_only else _SUMS:
        values = _joined(parts, name)[order]
        columns[name] = np.add.reduceat(values, starts) if len(starts) else values
    if not no_histogram:
        number = np.empty(len(order), np.uint64)
        number[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
        lengths = np.concatenate([np.diff(part.bin_start) for part in parts if part.bin_start is not None])
        keys = np.repeat(number, lengths) << np.uint64(8) | _joined(parts, "bin")
        (keys,), (counts,) = sum_rows([keys], [_joined(parts, "bin_count")])
        columns |= zip(_HISTOGRAM, in_order(keys, counts, len(starts), np.arange(len(starts))), strict=True)
    return RegionGraph(u, v, fragments=fragments, sizes=sizes, scale=scale, **columns)


def _joined(parts: Sequence[RegionGraph], name: str) -> NDArray:
    return np.concatenate([getattr(part, name) for part in parts])
