"""The region graph counts every pair of voxels once, however the volume is cut up."""

import itertools
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops import contact_sums
from sparse2dense.ops.graph import FIXED_POINT, RegionGraph, graph_rows, merge_graphs, region_graph
from tests.voronoi import OFFSETS, voronoi

MIXED = [[0, 0, -1], [1, 0, 0], [0, -3, 2], [0, -1, 0], [-2, -1, 1]]
"""Nearest neighbours in an unusual order, one of them forwards, and two far ones askew."""
HUGE = [2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 5, 2**53, 2**53 + 1, 1]


def volume(shape: tuple[int, int, int], channels: int = 5, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return fragments of ids around 2^63 with some background, and random affinities of uint8."""
    rng = np.random.default_rng(seed)
    fragments = voronoi(shape, len(HUGE), seed, HUGE)
    fragments[rng.random(shape) < 0.1] = 0
    return fragments, rng.integers(0, 256, (channels, *shape)).astype(np.uint8)


def equal(one: RegionGraph, other: RegionGraph) -> bool:
    """Whether all arrays of two graphs are the same, types included."""
    for name, value in vars(one).items():
        expected = getattr(other, name)
        if isinstance(value, np.ndarray):
            if value.dtype != expected.dtype or not np.array_equal(value, expected):
                return False
        elif value != expected:
            return False
    return True


def pairs(fragments: NDArray, affinities: NDArray, offsets: Sequence[Sequence[int]]) -> dict[tuple[int, int], list]:
    """Return the affinities between every two fragments, voxel by voxel."""
    found: dict[tuple[int, int], list] = {}
    for channel, offset in enumerate(offsets):
        for here in np.ndindex(fragments.shape):
            there = tuple(int(i) + step for i, step in zip(here, offset, strict=True))
            if all(0 <= i < length for i, length in zip(there, fragments.shape, strict=True)):
                a, b = sorted((int(fragments[here]), int(fragments[there])))
                if a != b and a != 0:
                    found.setdefault((a, b), []).append(affinities[(channel, *here)])
    return found


@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 11, 13), (7, 1, 1), (1, 1, 1)])
def test_every_pair_counts_once(shape: tuple[int, int, int]) -> None:
    fragments, affinities = volume(shape)
    given = fragments.copy(), affinities.copy()
    graph = region_graph(fragments, affinities, offsets=MIXED, histogram=True, long_range=True)
    near = pairs(fragments, affinities[[0, 1, 3]], [MIXED[i] for i in (0, 1, 3)])
    far = pairs(fragments, affinities[[2, 4]], [MIXED[i] for i in (2, 4)])
    edges = sorted(near.keys() | far.keys())
    assert list(zip(graph.u.tolist(), graph.v.tolist(), strict=True)) == edges
    assert graph.count.tolist() == [len(near.get(edge, [])) for edge in edges]
    assert graph.total.tolist() == [sum(map(int, near.get(edge, []))) for edge in edges]
    assert graph.far_count is not None and graph.far_total is not None
    assert graph.far_count.tolist() == [len(far.get(edge, [])) for edge in edges]
    assert graph.far_total.tolist() == [sum(map(int, far.get(edge, []))) for edge in edges]
    assert graph.bin_start is not None and graph.bin is not None and graph.bin_count is not None
    for i, edge in enumerate(edges):
        histogram = slice(graph.bin_start[i], graph.bin_start[i + 1])
        found = list(zip(graph.bin[histogram].tolist(), graph.bin_count[histogram].tolist(), strict=True))
        assert found == sorted(Counter(map(int, near.get(edge, []))).items())
    ids, sizes = np.unique(fragments[fragments > 0], return_counts=True)
    assert np.array_equal(graph.fragments, ids)
    assert np.array_equal(graph.sizes, sizes)
    assert (graph.u.dtype, graph.fragments.dtype, graph.total.dtype) == (np.uint64, np.uint64, np.int64)
    assert np.array_equal(fragments, given[0])
    assert np.array_equal(affinities, given[1])


def test_far_contact_alone_is_an_edge_without_area() -> None:
    fragments = np.array([[[3, 3, 0, 9]]], np.uint32)
    affinities = np.full((4, 1, 1, 4), 51, np.uint8)
    offsets = [*OFFSETS, [0, 0, -2]]
    assert len(region_graph(fragments, affinities, offsets=offsets)) == 0
    graph = region_graph(fragments, affinities, offsets=offsets, long_range=True)
    assert (graph.u.tolist(), graph.v.tolist()) == ([3], [9])
    assert graph.far_count is not None and graph.far_total is not None
    assert [graph.count[0], graph.total[0], graph.far_count[0], graph.far_total[0]] == [0, 0, 1, 51]
    assert np.isnan(graph.mean).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
def test_the_mean_is_that_of_the_affinities(dtype: str) -> None:
    fragments, _ = volume((4, 5, 6))
    shares = np.random.default_rng(1).random((3, 4, 5, 6))
    scale = 1 if dtype.startswith("float") else np.iinfo(dtype).max
    affinities = (shares * scale).astype(dtype)
    graph = region_graph(fragments, affinities, offsets=OFFSETS)
    found = {(int(u), int(v)): mean for u, v, mean in zip(graph.u, graph.v, graph.mean, strict=True)}
    expected = pairs(fragments, affinities, OFFSETS)
    assert found.keys() == expected.keys()
    for edge, values in expected.items():
        exact = sum(Fraction(float(value)) for value in values) / len(values) / scale
        assert abs(found[edge] - exact) <= (0.5 / FIXED_POINT if scale == 1 else 1e-15)


def test_bins_of_floats_are_those_of_waterz() -> None:
    borders = np.arange(257, dtype=np.float32) / np.float32(256)
    values = np.concatenate([borders, np.nextafter(borders[1:], np.float32(0))])
    # alternating fragments along x, so that each affinity is an edge of its own
    fragments = np.arange(1, len(values) + 1, dtype=np.uint32).reshape(1, 1, -1)
    affinities = np.zeros((3, 1, 1, len(values)), np.float32)
    affinities[2, 0, 0] = values
    graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
    assert graph.bin is not None and graph.bin_start is not None
    assert np.array_equal(graph.bin_start, np.arange(len(values)))
    assert np.array_equal(graph.bin, np.minimum((values[1:] * np.float32(256)).astype(int), 255))


def extracted(fragments: NDArray, affinities: NDArray, block: tuple[int, int, int], more: bool) -> list[RegionGraph]:
    """Return the graphs of all blocks, each from an array cut out with a halo as wide as the offsets."""
    reach = np.abs(MIXED).max(axis=0)
    graphs = []
    starts = [range(0, length, step) for length, step in zip(fragments.shape, block, strict=True)]
    for start in itertools.product(*starts):
        stop = np.minimum(np.add(start, block), fragments.shape)
        low, high = np.maximum(start - reach, 0), np.minimum(stop + reach, fragments.shape)
        halo = tuple(map(slice, low, high))
        owned = tuple(map(slice, start - low, stop - low))
        graphs.append(
            region_graph(
                fragments[halo], affinities[:, *halo], offsets=MIXED, histogram=more, long_range=more, owned=owned
            )
        )
    return graphs


@pytest.mark.parametrize("block", [(1, 1, 1), (1, 9, 11), (7, 1, 2), (3, 4, 5), (2, 9, 3), (7, 9, 11)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_blocks_add_up_to_the_whole(block: tuple[int, int, int], dtype: str) -> None:
    fragments, affinities = volume((7, 9, 11))
    if dtype == "float32":
        affinities = np.random.default_rng(0).random(affinities.shape, np.float32)
    for more in (True, False):
        whole = region_graph(fragments, affinities, offsets=MIXED, histogram=more, long_range=more)
        graphs = extracted(fragments, affinities, block, more)
        random.Random(0).shuffle(graphs)
        middle = len(graphs) // 2
        assert equal(merge_graphs(graphs), whole)
        assert equal(merge_graphs([merge_graphs(graphs[: middle + 1]), *graphs[middle + 1 :]]), whole)
    assert len(graphs) == np.prod(-(-np.array(fragments.shape) // block))


def rows_between(graph: RegionGraph, low: int, high: int) -> RegionGraph:
    """Return the fragments of ids from `low` to before `high`, with the edges of which they are the u."""
    edges, nodes = (slice(*(bisect_left(ids, end) for end in (low, high))) for ids in (graph.u, graph.fragments))
    return graph_rows(graph, edges, nodes)


@pytest.mark.parametrize("more", [True, False])
def test_ranges_of_fragments_add_up_one_by_one(more: bool) -> None:
    """Whatever the ranges: borders between ids, at ids, beyond all, and ranges without a row."""
    fragments, affinities = volume((7, 9, 11))
    whole = region_graph(fragments, affinities, offsets=MIXED, histogram=more, long_range=more)
    graphs = extracted(fragments, affinities, (3, 4, 5), more)
    for borders in ([0, 2**64], [0, 1, 2, 5, 6, 2**53, 2**63, 2**63 + 1, 2**64 - 1, 2**64], [0, 10, 20, 2**64]):
        for low, high in itertools.pairwise(borders):
            part = merge_graphs([rows_between(graph, low, high) for graph in graphs])
            assert equal(part, rows_between(whole, low, high))
            assert all(low <= id < high for id in [*part.u.tolist(), *part.fragments.tolist()])
        parts = [rows_between(whole, *ends) for ends in itertools.pairwise(borders)]
        assert np.array_equal(np.concatenate([part.u for part in parts]), whole.u)
        assert np.array_equal(np.concatenate([part.fragments for part in parts]), whole.fragments)
        if whole.bin is not None:
            assert np.array_equal(np.concatenate([part.bin for part in parts]), whole.bin)


def test_more_edges_and_bins_than_fit_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    fragments = rng.permutation(20 * 25 * 30).reshape(20, 25, 30).astype(np.uint64) // np.uint64(3)
    affinities = rng.integers(0, 256, (3, *fragments.shape)).astype(np.uint8)
    expected = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
    monkeypatch.setattr(contact_sums, "LEVELS", 1000)
    graph = region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)
    links = [(fragments[1:], fragments[:-1], affinities[0, 1:])]
    links.append((fragments[:, 1:], fragments[:, :-1], affinities[1, :, 1:]))
    links.append((fragments[:, :, 1:], fragments[:, :, :-1], affinities[2, :, :, 1:]))
    a, b, values = (np.concatenate([link[i].ravel() for link in links]) for i in range(3))
    counted = (a != b) & (a > 0) & (b > 0)
    ends = np.sort(np.stack([a, b], axis=1)[counted], axis=1)
    edges, inverse, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    assert np.array_equal(np.stack([graph.u, graph.v], axis=1), edges)
    assert np.array_equal(graph.count, counts)
    assert np.array_equal(graph.total, np.bincount(inverse.ravel(), values[counted]))
    rows, bin_count = np.unique(np.stack([inverse.ravel(), values[counted]], axis=1), axis=0, return_counts=True)
    assert graph.bin is not None and graph.bin_start is not None and graph.bin_count is not None
    assert np.array_equal(graph.bin, rows[:, 1])
    assert np.array_equal(graph.bin_count, bin_count)
    assert np.array_equal(graph.bin_start, np.searchsorted(rows[:, 0], np.arange(len(edges) + 1)))
    assert equal(graph, expected)


@pytest.mark.parametrize("fill", [0, 2**63 + 1])
def test_none_and_one_fragment_have_no_edges(fill: int) -> None:
    fragments = np.full((2, 3, 4), fill, np.uint64)
    graph = region_graph(fragments, np.ones((3, 2, 3, 4), np.uint8), offsets=OFFSETS, histogram=True)
    assert (len(graph), graph.fragments.tolist(), graph.sizes.tolist()) == (0, [fill] * (fill > 0), [24] * (fill > 0))
    assert graph.bin_start is not None and graph.bin_start.tolist() == [0]
    assert equal(merge_graphs([graph]), graph)


def test_any_layout_and_integer_type_of_fragments() -> None:
    fragments, affinities = volume((6, 7, 8))
    small = np.unique(fragments, return_inverse=True)[1].reshape(fragments.shape)
    expected = region_graph(small.astype(np.uint64), affinities, offsets=MIXED)
    for dtype in ("uint8", "int16", "uint32", "int64"):
        given = np.asfortranarray(small.astype(dtype))
        given.flags.writeable = False
        doubled = np.repeat(affinities, 2, axis=3)
        doubled.flags.writeable = False
        assert equal(region_graph(given, doubled[..., ::2], offsets=MIXED), expected)
    assert len(expected) > 10


def test_bad_input_is_refused() -> None:
    fragments, affinities = volume((4, 5, 6), 3)
    graph = region_graph(fragments, affinities, offsets=OFFSETS)
    with pytest.raises(InputError, match="fragments of shape"):
        region_graph(fragments[1:], affinities, offsets=OFFSETS)
    with pytest.raises(InputError, match="with 2 offsets"):
        region_graph(fragments, affinities, offsets=OFFSETS[:2])
    with pytest.raises(InputError, match="no nearest neighbour along z"):
        region_graph(fragments, affinities, offsets=[[-2, 0, 0], *OFFSETS[1:]])
    with pytest.raises(InputError, match="aren't labels"):
        region_graph(fragments.astype(np.float32), affinities, offsets=OFFSETS)
    with pytest.raises(InputError, match="aren't labels"):
        region_graph(-np.ones((4, 5, 6), np.int64), affinities, offsets=OFFSETS)
    with pytest.raises(InputError, match="affinities of type int64"):
        region_graph(fragments, affinities.astype(np.int64), offsets=OFFSETS)
    for wrong in (np.nan, -0.1, 1.1, np.inf, 255):
        with pytest.raises(InputError, match=r"outside \[0, 1\]"):
            region_graph(fragments, np.full(affinities.shape, wrong, np.float32), offsets=OFFSETS)
    with pytest.raises(InputError, match="owned"):
        region_graph(fragments, affinities, offsets=OFFSETS, owned=(slice(0, 2), slice(0, 5)))
    with pytest.raises(InputError, match="0 region graphs"):
        merge_graphs([])
    with pytest.raises(InputError, match="2 region graphs of 2 kinds"):
        merge_graphs([graph, region_graph(fragments, affinities / np.float32(255), offsets=OFFSETS)])
    with pytest.raises(InputError, match="2 region graphs of 2 kinds"):
        merge_graphs([graph, region_graph(fragments, affinities, offsets=OFFSETS, histogram=True)])
