"""Mutex watershed on the region graph: attraction across contacts, repulsion over longer range."""

import dataclasses

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.graph import RegionGraph, region_graph
from sparse2dense.ops.mutex_sweep import MutexSweep
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import overlaps, score
from tests.voronoi import noisy_affinities, voronoi

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -4, 0], [0, 0, -4]]


def graph(edges: dict[tuple[int, int], tuple[float | None, float | None]], fragments: int = 4) -> RegionGraph:
    """A graph of fragments 1..n with mean affinities over contacts and over longer range, None where there is none."""
    pairs = sorted(edges)
    near, far = ([edges[pair][i] for pair in pairs] for i in (0, 1))
    u, v = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    return RegionGraph(
        u, v,
        count=np.array([0 if mean is None else 10 for mean in near]),
        total=np.array([0 if mean is None else round(1000 * mean) for mean in near]),
        fragments=np.arange(1, fragments + 1, dtype=np.uint64),
        sizes=np.full(fragments, 100),
        scale=100,
        far_count=np.array([0 if mean is None else 10 for mean in far]),
        far_total=np.array([0 if mean is None else round(1000 * mean) for mean in far]),
    )  # fmt: skip


CHAIN = {(1, 2): (0.9, 0.9), (2, 3): (0.8, 0.8), (3, 4): (0.3, None), (1, 3): (None, 0.05)}


def test_repulsion_over_longer_range_keeps_a_chain_apart() -> None:
    """1-2-3 attract each other in a chain; that 1 and 3 repel more strongly than 2 and 3 attract decides."""
    assert MutexSweep(graph(CHAIN), repulsion=0.3).cut("0.5")[1].tolist() == [1, 1, 2, 3]
    without = {pair: means for pair, means in CHAIN.items() if pair != (1, 3)}
    assert MutexSweep(graph(without), repulsion=0.3).cut("0.5")[1].tolist() == [1, 1, 1, 2]


def test_thresholds_go_from_nothing_to_everything() -> None:
    """At 0 nothing joins; at 1 all that touch do, unless longer range repels."""
    sweep = MutexSweep(graph(CHAIN), repulsion=0)
    assert sweep.cut(0)[1].tolist() == [1, 2, 3, 4]
    assert sweep.cut(1)[1].tolist() == [1, 1, 1, 1]
    assert sweep.cut("0.15")[1].tolist() == [1, 1, 2, 3]


def test_longer_range_never_joins_what_does_not_touch() -> None:
    apart = graph({(1, 2): (None, 1.0)}, fragments=2)
    assert MutexSweep(apart, repulsion=0).cut(1)[1].tolist() == [1, 2]


def test_segments_of_noisy_objects_are_the_objects() -> None:
    """Over-segmented objects are put together again, whatever the numbers of their fragments."""
    truth = voronoi((10, 40, 41), 9)
    affinities = np.round(noisy_affinities(truth, OFFSETS, noise=0.4) * 255).astype(np.uint8)
    pieces = voronoi((10, 40, 41), 60, seed=5)
    fragments = np.unique(np.stack([truth, pieces]).reshape(2, -1), axis=1, return_inverse=True)[1].reshape(truth.shape)
    rng = np.random.default_rng(3)
    partitions = []
    for names in (np.arange(1, fragments.max() + 2), 2**63 + rng.permutation(fragments.max() + 1).astype(np.uint64)):
        labels = names.astype(np.uint64)[fragments]
        sweep = MutexSweep(region_graph(labels, affinities, offsets=OFFSETS, long_range=True))
        partitions.append(look_up(labels, *sweep.cut("0.6")))
    assert score(overlaps(truth, partitions[0]))["voi_sum"] < 0.05
    assert score(overlaps(*partitions))["voi_sum"] < 0.001


def test_no_fragments_make_no_segments() -> None:
    nothing = region_graph(
        np.zeros((3, 4, 5), np.uint64), np.zeros((6, 3, 4, 5), np.uint8), offsets=OFFSETS, long_range=True
    )
    assert MutexSweep(nothing).cut("0.5")[1].tolist() == []


def test_a_graph_without_longer_range_is_refused() -> None:
    near = dataclasses.replace(graph(CHAIN), far_count=None, far_total=None)
    with pytest.raises(InputError, match="without edges over longer range"):
        MutexSweep(near)
    with pytest.raises(InputError, match="repulsion -1"):
        MutexSweep(graph(CHAIN), repulsion=-1)
