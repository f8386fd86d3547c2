"""Mutex watershed: clusters of voxels or of graph nodes that grow by attraction and are kept apart by repulsion."""

from collections.abc import Iterator, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import Offsets, check_offsets, pair_slices
from sparse2dense.ops.exclusion import Edges, exclusive_clusters
from sparse2dense.ops.fragments import filter_fragments

__all__ = ["graph_mutex_watershed", "mutex_watershed"]

RESOLUTION = 255 * 4096
"""Levels per unit of affinity; scores of bytes lie on levels, so rounding errors of floats don't part what is equal."""

BIAS_LIMIT = 10.0
NOISE_LIMIT = 1.0

# An edge is one number that sorts: 24 bits of level (strongest first), 31 of voxel, 8 of channel, 1 of sign.
# Scores stay below 15: an affinity, a bias, and noise of at most 3.5 standard deviations.
LEVEL_SHIFT, VOXEL_SHIFT, CHANNEL_SHIFT = 40, 9, 1
TOP_LEVEL = (1 << 24) - 1
CHUNK = 1 << 18  # edges unpacked at a time


def mutex_watershed(
    affinities: NDArray,
    offsets: Sequence[Sequence[int]],
    *,
    biases: float | Sequence[float] = -0.4,
    strides: Sequence[Sequence[int]] | None = None,
    randomized_strides: bool = False,
    noise: float = 0.0,
    seed: int = 0,
    mask: NDArray | None = None,
    minimum_affinity: float = 0.0,
    debris: int = 0,
) -> NDArray[np.uint64]:
    """Join voxels along attractive pairs, strongest first, unless a stronger repulsive pair forbids it.

    The score of a pair is affinity + bias + noise: attractive above 0, repulsive below. Pairs are visited by decreasing
    absolute score. An attractive one joins the clusters of its ends unless they exclude each other, a repulsive one
    makes the clusters of its ends exclude each other unless they are one. Equal scores (to 10^-6) are visited by voxel,
    then by channel. The algorithm is that of Wolf et al. (2018), which needs no seeds and no threshold.
    It takes about 8 bytes per pair that counts, and 30 per voxel.

    Parameters
    ----------
    affinities
        (channels, z, y, x), uint8 (255 is 1) or float in [0, 1]; channel c links voxel p to p + offsets[c].
    offsets
        One offset (z, y, x) per channel in voxels.
    biases
        Added to the affinities, one number or one per offset, from -10 to 10; lower values give smaller fragments.
    strides
        One stride (z, y, x) per offset: only pairs whose lower corner lies on this grid count; all pairs without.
    randomized_strides
        Let a random share of pairs count, one in the product of the stride, instead of those on a grid.
    noise
        Standard deviation of the almost normal noise added to every affinity, from 0 to 1.
    seed
        Of noise and random strides, a whole number of at least 0.
    mask
        (z, y, x); voxels where it is 0 belong to no pair.
    minimum_affinity
        Fragments whose mean affinity to nearest neighbours is lower are removed; the axes that offsets reach along
        then need their nearest neighbour among the offsets.
    debris
        Fragments of fewer voxels are removed.

    Returns
    -------
    uint64 (z, y, x), fragments 1..n in the order of their first voxel; 0 outside the mask and where no pair attracts.
    A voxel that is attracted, but held back from all others, is a fragment of its own; `debris` removes it.

    Raises InputError when shapes don't fit, or an argument or affinity is out of range.
    """
    wanted = check_offsets(offsets, 3)
    _check_volume(affinities, wanted, mask)
    shifts = _check_biases(biases, len(wanted))
    steps = _check_strides(strides, len(wanted))
    if not 0 <= noise <= NOISE_LIMIT or seed < 0:
        raise InputError(
            f"noise {noise}, seed {seed}",
            allowed="noise from 0 to 1, a seed of at least 0",
            remedy="correct them; usual noise is 0.001",
        )
    counted = np.ones(affinities.shape[1:], np.bool_) if mask is None else np.ascontiguousarray(mask != 0)
    randomness = (bool(randomized_strides), float(noise), int(seed))
    edges, attracted = _sorted_edges(affinities, wanted, shifts, steps, randomness, counted)
    _, rows, columns = attracted.shape
    reach = np.array([(z * rows + y) * columns + x for z, y, x in wanted], np.int64)
    labels = exclusive_clusters(attracted.reshape(-1), _unpacked(edges, reach)).reshape(attracted.shape)
    if minimum_affinity <= 0 and debris <= 1:
        return labels
    axes = [axis for axis in range(3) if any(offset[axis] for offset in wanted)]
    return filter_fragments(
        labels, affinities, offsets=wanted, axes=axes, minimum_affinity=minimum_affinity, debris=debris
    )


def graph_mutex_watershed(count: int, u: NDArray, v: NDArray, weight: NDArray) -> NDArray[np.uint64]:
    """Cluster the nodes of a graph by its attractive and repulsive edges, strongest first (Wolf et al. 2020).

    Parameters
    ----------
    count
        Number of nodes.
    u, v
        Integers (edges,): the nodes 0..count-1 that each edge links, in any order; several edges may link a pair.
    weight
        Float (edges,): attractive above 0, repulsive below. Edges count by decreasing absolute weight, equal ones in
        the order given. Edges that come ordered by weight are merged rather than sorted: a sweep over biases that
        orders them once saves the time.

    Returns
    -------
    uint64 (count,): the cluster of each node, 1..K in the order of their smallest node.

    Raises InputError when arrays differ in length, a node doesn't exist, or a weight is no number.
    """
    ends = (np.asarray(u), np.asarray(v))
    weight = np.asarray(weight, np.float64)
    if any(end.shape != weight.shape or end.ndim != 1 for end in ends):
        raise InputError(
            f"u of shape {ends[0].shape}, v of {ends[1].shape} and weight of {weight.shape}",
            allowed="one number each per edge",
            remedy="give three arrays of equal length",
        )
    _check_count(count)
    for name, end in zip("uv", ends, strict=True):
        if end.size and (end.dtype.kind not in "ui" or end.min() < 0 or end.max() >= count):
            raise InputError(
                f"{name} holds {end.dtype} values from {end.min()} to {end.max()}",
                allowed=f"whole numbers from 0 to {count - 1}",
                remedy="number the nodes from 0 and give their count",
            )
    if np.isnan(weight).any():
        raise InputError(
            f"{np.isnan(weight).sum()} weights are no numbers", allowed="numbers", remedy="leave those edges out"
        )
    order = np.argsort(-np.abs(weight), kind="stable")
    order = order[: order.size - np.count_nonzero(weight == 0)]
    parts = (order[start : start + CHUNK] for start in range(0, order.size, CHUNK))
    edges = ((ends[0][part].astype(np.int64), ends[1][part].astype(np.int64), weight[part] > 0) for part in parts)
    return exclusive_clusters(np.ones(count, np.bool_), edges)


def _check_volume(affinities: NDArray, offsets: Offsets, mask: NDArray | None) -> None:
    if affinities.ndim != 4 or len(offsets) != len(affinities) or len(offsets) > 256:
        raise InputError(
            f"affinities of shape {affinities.shape} with {len(offsets)} offsets {offsets}",
            allowed="an array (channels, z, y, x) with one offset (z, y, x) per channel, at most 256",
            remedy="give the offsets that the affinities were predicted with",
        )
    if mask is not None and mask.shape != affinities.shape[1:]:
        raise InputError(
            f"mask of shape {mask.shape} for affinities of {affinities.shape[1:]}",
            allowed="the same shape (z, y, x)",
            remedy="give the mask of the volume that the affinities were predicted on",
        )
    _check_count(int(np.prod(affinities.shape[1:])))


def _check_count(count: int) -> None:
    if not 0 <= count < 2**31:
        raise InputError(
            f"{count} voxels or nodes", allowed="0 to 2^31 - 1 at a time", remedy="segment the volume in blocks"
        )


def _check_biases(biases: float | Sequence[float], channels: int) -> NDArray[np.float64]:
    given = np.asarray(biases, np.float64)
    if given.shape not in ((), (channels,)) or not np.all(np.abs(given) <= BIAS_LIMIT):
        raise InputError(
            f"biases {biases}",
            allowed=f"a number from {-BIAS_LIMIT:g} to {BIAS_LIMIT:g}, or {channels} of them, one per offset",
            remedy="correct biases; usual ones are -0.4 for nearest neighbours and -0.7 for others",
        )
    return np.broadcast_to(given, (channels,))


def _check_strides(strides: Sequence[Sequence[int]] | None, channels: int) -> list[tuple[int, ...]]:
    if strides is None:
        return [(1, 1, 1)] * channels
    whole = all(len(stride) == 3 and all(int(step) == step >= 1 for step in stride) for stride in strides)
    if len(strides) != channels or not whole:
        raise InputError(
            f"strides {strides}",
            allowed=f"{channels} strides (z, y, x), one per offset, of whole numbers of at least 1",
            remedy="correct strides; (1, 1, 1) takes every pair",
        )
    return [tuple(int(step) for step in stride) for stride in strides]


def _sorted_edges(
    affinities: NDArray,
    offsets: Offsets,
    biases: NDArray[np.float64],
    strides: list[tuple[int, ...]],
    randomness: tuple[bool, float, int],
    counted: NDArray[np.bool_],
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the edges that can matter as numbers in the order of their turn, and which voxels are attracted."""
    if affinities.dtype == np.float16:
        affinities = affinities.astype(np.float32)  # compiled code has no half precision
    scale = float(np.iinfo(affinities.dtype).max) if affinities.dtype.kind in "ui" else 1.0
    randomized, noise, seed = randomness

    def visits() -> Iterator[tuple]:
        for channel, offset in enumerate(offsets):
            step = (1, 1, 1) if randomized else strides[channel]
            here, _ = pair_slices(offset, counted.shape)
            grid = tuple((part.start, part.stop, width) for part, width in zip(here, step, strict=True))
            share = 1.0 / np.prod(strides[channel], dtype=np.float64) if randomized else 1.0
            streams = np.random.SeedSequence([seed, channel]).generate_state(2, np.uint64)
            draw = (share, streams[0], noise, streams[1])
            yield affinities[channel], scale, offset, grid, biases[channel], draw

    attracted = np.zeros(counted.shape, np.bool_)
    most = 0
    for visit in visits():
        found = _attract(visit, counted, attracted)
        if found < 0:
            raise InputError(
                "affinities outside [0, 1], or no numbers",
                allowed="unsigned integers, whose largest is 1, or floats from 0 to 1",
                remedy="give the affinities as predicted; the bias is added here",
            )
        most += found
    edges = np.empty(most, np.uint64)
    used = 0
    for channel, visit in enumerate(visits()):
        used = _pack(visit, channel, attracted, edges, used)
    edges = edges[:used]
    edges.sort()
    return edges, attracted


@numba.njit(cache=True, nogil=True)
def _mixed(stream: np.uint64, position: int) -> np.uint64:
    """Return 64 random bits of a position (the finaliser of SplitMix64, Steele et al. 2014)."""
    bits = stream + np.uint64(position) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _level(affinity, bias, draw, voxel):  # type: ignore[no-untyped-def]
    """Return the score of a pair of voxels in levels, 0 if the pair isn't drawn."""
    share, lot, noise, dice = draw
    if share < 1.0 and np.float64(_mixed(lot, voxel) >> np.uint64(11)) * 2.0**-53 >= share:
        return 0
    score = affinity + bias
    if noise > 0.0:
        bits = _mixed(dice, voxel)
        total = 0.0  # four uniform numbers add up to an almost normal one
        for part in range(4):
            total += np.float64((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF))
        score += noise * np.sqrt(3.0) * (total / 65535.0 - 2.0)
    return np.int64(np.rint(score * RESOLUTION))


@numba.njit(cache=True, nogil=True)
def _attract(visit, counted, attracted):  # type: ignore[no-untyped-def]
    """Mark the ends of attractive pairs; return the number of pairs, or -1 if an affinity is out of range."""
    values, scale, offset, grid, bias, draw = visit
    pairs = 0
    for z in range(*grid[0]):
        for y in range(*grid[1]):
            for x in range(*grid[2]):
                there = (z + offset[0], y + offset[1], x + offset[2])
                if counted[z, y, x] and counted[there]:
                    affinity = values[z, y, x] / scale
                    if not 0.0 <= affinity <= 1.0:
                        return -1
                    level = _level(affinity, bias, draw, (z * values.shape[1] + y) * values.shape[2] + x)
                    pairs += level != 0
                    if level > 0:
                        attracted[z, y, x] = attracted[there] = True
    return pairs


@numba.njit(cache=True, nogil=True)
def _pack(visit, channel, attracted, edges, used):  # type: ignore[no-untyped-def]
    """Append the edges of a channel as numbers that sort, and return how many there are now.

    A voxel that nothing attracts stays alone, so what repels it doesn't matter.
    """
    values, scale, offset, grid, bias, draw = visit
    for z in range(*grid[0]):
        for y in range(*grid[1]):
            for x in range(*grid[2]):
                if attracted[z, y, x] and attracted[z + offset[0], y + offset[1], x + offset[2]]:
                    voxel = (z * values.shape[1] + y) * values.shape[2] + x
                    level = _level(values[z, y, x] / scale, bias, draw, voxel)
                    if level != 0:
                        turn = (TOP_LEVEL - abs(level)) << LEVEL_SHIFT | voxel << VOXEL_SHIFT
                        edges[used] = np.uint64(turn | channel << CHANNEL_SHIFT | (level < 0))
                        used += 1
    return used


def _unpacked(edges: NDArray[np.uint64], reach: NDArray[np.int64]) -> Iterator[Edges]:
    """Yield both ends of edges, and whether they attract, a chunk at a time."""
    for start in range(0, edges.size, CHUNK):
        chunk = edges[start : start + CHUNK].view(np.int64)
        u = (chunk >> VOXEL_SHIFT) & ((1 << 31) - 1)
        yield u, u + reach[(chunk >> CHANNEL_SHIFT) & 255], chunk & 1 == 0
