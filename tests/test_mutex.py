"""The mutex watershed follows its definition edge by edge, on volumes and on graphs, and finds objects that touch."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities, pair_slices
from sparse2dense.ops.components import component_fragments
from sparse2dense.ops.mutex import graph_mutex_watershed, mutex_watershed
from sparse2dense.ops.overlaps import overlaps
from sparse2dense.ops.scores import score
from tests.voronoi import noisy_affinities, voronoi

NEAREST = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
OFFSETS = [*NEAREST, [-2, 0, 0], [0, -3, 0], [0, 0, -3]]
STRIDES = [(1, 1, 1)] * 3 + [(1, 2, 2), (2, 1, 2), (1, 3, 2)]
BIASES = [-0.4003] * 3 + [-0.7001] * 3


def distinct_affinities(shape: Sequence[int], offsets: Sequence = OFFSETS, seed: int = 0) -> NDArray[np.float32]:
    """Random affinities, evenly spread over [0, 1], no two alike."""
    full = (len(offsets), *shape)
    values = np.random.default_rng(seed).permutation(int(np.prod(full)))
    return (values / max(values.size - 1, 1)).reshape(full).astype(np.float32)


def by_definition(count: int, edges: Iterable[tuple[float, int, int]]) -> NDArray[np.int64]:
    """Slow clusters of nodes by scored edges, strongest first: sets of nodes, and a set of excluding pairs of nodes."""
    cluster = {node: {node} for node in range(count)}
    apart: list[tuple[int, int]] = []
    for weight, u, v in sorted(edges, key=lambda edge: -abs(edge[0])):
        if cluster[u] is cluster[v]:
            continue
        excluded = any((a in cluster[u] and b in cluster[v]) or (a in cluster[v] and b in cluster[u]) for a, b in apart)
        if weight < 0:
            apart.append((u, v))
        elif weight > 0 and not excluded:
            joined = cluster[u] | cluster[v]
            cluster.update(dict.fromkeys(joined, joined))
    return np.array([1 + min(cluster[node]) for node in range(count)], np.int64)


def numbered(labels: NDArray) -> NDArray[np.uint64]:
    """Number labels from 1 in the order of their first occurrence; 0 stays."""
    number: dict[int, int] = {0: 0}
    return np.array([number.setdefault(x, len(number)) for x in labels.ravel().tolist()], np.uint64).reshape(
        labels.shape
    )


def volume_by_definition(
    values: NDArray,
    offsets: Sequence,
    biases: Sequence[float],
    strides: Sequence | None = None,
    mask: NDArray | None = None,
) -> NDArray[np.uint64]:
    """Slow fragments of tiny volumes."""
    shape = values.shape[1:]
    index = np.arange(int(np.prod(shape))).reshape(shape)
    counted = np.ones(shape, bool) if mask is None else mask != 0
    edges = []
    for channel, offset in enumerate(offsets):
        here, there = pair_slices(offset, shape)
        step = (1, 1, 1) if strides is None else strides[channel]
        for u, v, value in zip(index[here].ravel(), index[there].ravel(), values[channel][here].ravel(), strict=True):
            corner = np.minimum(np.unravel_index(u, shape), np.unravel_index(v, shape))
            if counted.flat[u] and counted.flat[v] and not np.any(corner % step):
                edges.append((float(value) + biases[channel], int(u), int(v), channel))
    edges.sort(key=lambda edge: (edge[1], edge[3]))  # ties go by voxel, then channel
    clusters = by_definition(index.size, [edge[:3] for edge in edges])
    attracted = [node for weight, u, v, _ in edges if weight > 0 for node in (u, v)]
    return numbered(np.where(np.isin(index, attracted), clusters.reshape(shape), 0))


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 6, 9), (2, 2, 13), (4, 4, 4)])
@pytest.mark.parametrize("strides", [None, STRIDES])
@pytest.mark.parametrize("masked", [False, True])
def test_volumes_follow_the_definition(shape: tuple[int, ...], strides: list | None, masked: bool) -> None:
    for seed in range(4):
        values = distinct_affinities(shape, seed=seed)
        mask = np.random.default_rng(seed).random(shape) < 0.8 if masked else None
        found = mutex_watershed(values, OFFSETS, biases=BIASES, strides=strides, mask=mask)
        expected = volume_by_definition(values, OFFSETS, BIASES, strides, mask)
        assert found.dtype == np.uint64
        assert found.any()
        assert np.array_equal(found, expected)
        assert mask is None or not found[~mask].any()


def test_any_direction_and_reach_of_offsets_follows_the_definition() -> None:
    offsets = [[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, -2, 3], [-1, 1, 0], [0, 9, 0]]  # the last has no pairs here
    strides = [(1, 1, 1)] * 3 + [(2, 1, 2), (1, 2, 1), (3, 3, 3)]
    for seed in range(4):
        values = distinct_affinities((3, 5, 6), offsets, seed)
        found = mutex_watershed(values, offsets, biases=BIASES, strides=strides)
        assert np.array_equal(found, volume_by_definition(values, offsets, BIASES, strides))
        assert found.max() > 1


def test_dense_exclusions_follow_the_definition() -> None:
    # attraction is strong and repulsion stronger: clusters carry long lists of what they exclude
    rng = np.random.default_rng(1)
    for _ in range(6):
        weights = rng.permutation(np.arange(1, 1201)) * np.where(rng.random(1200) < 0.6, -1.0, 1.0)
        u, v = rng.integers(0, 90, (2, 1200))
        found = graph_mutex_watershed(90, u, v, weights)
        expected = by_definition(90, zip(weights.tolist(), u.tolist(), v.tolist(), strict=True))
        assert np.array_equal(found, numbered(expected))
        assert 3 < found.max() < 80


def test_more_exclusions_than_tables_begin_with() -> None:
    # 2000 nodes repel their successors 1..8, then come weak attractions of all neighbours within 9
    nodes = np.arange(2000)
    near = [(nodes[:-d], nodes[d:], np.full(2000 - d, -2.0 if d < 9 else 1.0)) for d in range(1, 10)]
    u, v, weight = (np.concatenate(part) for part in zip(*near, strict=True))
    found = graph_mutex_watershed(2000, u, v, weight)
    assert np.array_equal(found, nodes % 9 + 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("biases", [-0.4, [-0.4] * 3 + [-0.7] * 3, -0.55])
def test_bytes_and_floats_give_the_same_fragments(dtype: type, biases: float | list[float]) -> None:
    values = np.round(noisy_affinities(voronoi((6, 14, 15), 8), OFFSETS, noise=0.5) * 255).astype(np.uint8)
    if dtype == np.float16:
        values = values // 64 * 51  # fifths, which need few bits, scores that don't tie
        biases = -0.43
    from_bytes = mutex_watershed(values, OFFSETS, biases=biases)
    assert from_bytes.max() > 3
    assert np.array_equal(from_bytes, mutex_watershed((values / 255).astype(dtype), OFFSETS, biases=biases))
    if dtype == np.float32:
        assert np.array_equal(from_bytes, mutex_watershed(values * np.float32(1 / 255), OFFSETS, biases=biases))


def test_equal_scores_go_by_voxel_then_channel() -> None:
    # bytes in a few levels, so that most scores tie, attractive with repulsive ones too
    for seed in range(6):
        values = np.random.default_rng(seed).choice(np.array([0, 51, 102, 153, 204], np.uint8), (6, 3, 4, 5))
        found = mutex_watershed(values, OFFSETS, biases=-0.4)
        tenths = np.round(values / 25.5)  # whole numbers, whose ties are exact
        assert np.array_equal(found, volume_by_definition(tenths, OFFSETS, [-4.0] * 6))
        assert found.max() > 1


def test_objects_that_touch_are_found() -> None:
    labels = voronoi((12, 21, 23), 9, ids=[2**63 + i for i in range(9)])
    exact = affinities(labels, OFFSETS) * np.uint8(255)
    assert score(overlaps(labels, mutex_watershed(exact, OFFSETS)))["voi_sum"] == 0
    noisy = noisy_affinities(labels, OFFSETS, noise=0.6)
    found = mutex_watershed(noisy, OFFSETS, biases=-0.5)
    assert score(overlaps(labels, found))["voi_sum"] < 0.1
    # a threshold merges what the noise connects
    components = component_fragments(noisy, offsets=OFFSETS, threshold=0.5)
    assert score(overlaps(labels, components))["voi_sum"] > 1


def test_a_gap_in_a_membrane_is_held_by_repulsion_across_it() -> None:
    # two boxes whose boundary has a hole: whatever connects them there is weaker than what keeps them apart
    labels = np.ones((3, 9, 16), np.uint64)
    labels[:, :, 8:] = 2
    values = affinities(labels, OFFSETS).astype(np.float32)
    values[2, 1, 4, 8] = 0.9
    assert mutex_watershed(values, OFFSETS, biases=BIASES).max() == 2
    assert mutex_watershed(values[:3], NEAREST, biases=BIASES[:3]).max() == 1


def test_only_attraction_gives_one_fragment_and_only_repulsion_none() -> None:
    values = np.full((6, 5, 7, 9), 128, np.uint8)
    assert np.all(mutex_watershed(values, OFFSETS, biases=0) == 1)
    assert not mutex_watershed(values, OFFSETS, biases=-1).any()
    assert not mutex_watershed(values, OFFSETS, biases=-128 / 255).any()  # neither the one nor the other
    assert not mutex_watershed(np.zeros_like(values), OFFSETS).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (2, 3, 1), (0, 4, 5)])
def test_volumes_smaller_than_their_offsets(shape: tuple[int, ...]) -> None:
    labels = mutex_watershed(np.ones((6, *shape), np.float32), OFFSETS, debris=2, minimum_affinity=0.5)
    assert labels.shape == shape
    assert np.all(labels == (np.prod(shape) > 1))  # a single voxel joins no other


def test_an_empty_mask_leaves_nothing_and_hides_what_is_no_affinity() -> None:
    values = np.ones((6, 4, 5, 6), np.float32)
    assert not mutex_watershed(values, OFFSETS, mask=np.zeros((4, 5, 6), np.uint8)).any()
    mask = np.ones((4, 5, 6), bool)
    mask[:, :, 3] = False
    values[:, :, :, 3] = np.nan
    labels = mutex_watershed(values[:3], NEAREST, mask=mask)
    assert np.array_equal(np.unique(labels[:, :, :3]), [1])
    assert np.array_equal(np.unique(labels[:, :, 4:]), [2])


def pairs_of_voxels() -> NDArray[np.bool_]:
    """A mask that leaves 3000 pairs of voxels which are neighbours along x, the first at every third voxel."""
    mask = np.zeros((20, 30, 60), bool)
    mask[::2, ::2] = np.arange(60) % 3 != 2
    return mask


def test_random_strides_keep_the_asked_share_of_pairs() -> None:
    # each pair joins only if it is drawn
    mask = pairs_of_voxels()
    values = np.ones((1, 20, 30, 60), np.float32)

    def drawn(stride: Sequence[int], seed: int = 0) -> NDArray[np.bool_]:
        labels = mutex_watershed(values, [[0, 0, -1]], strides=[stride], randomized_strides=True, seed=seed, mask=mask)
        return labels[::2, ::2, ::3] > 0

    assert drawn((1, 1, 1)).all()
    count = drawn((2, 1, 2)).size
    assert abs(drawn((2, 1, 2)).mean() - 1 / 4) < 4 * np.sqrt(3 / 16 / count)
    assert np.array_equal(drawn((2, 1, 2)), drawn((2, 1, 2)))
    assert not np.array_equal(drawn((2, 1, 2)), drawn((2, 1, 2), seed=1))


def test_noise_has_its_deviation_and_its_seed() -> None:
    # pairs whose score is -0.1 plus noise of 0.1: one in six is above 0
    mask = pairs_of_voxels()
    values = np.full((1, 20, 30, 60), 0.3, np.float32)
    labels = [mutex_watershed(values, [[0, 0, -1]], noise=0.1, seed=s, mask=mask)[::2, ::2, ::3] for s in (0, 0, 1)]
    count = labels[0].size
    assert abs((labels[0] > 0).mean() - 0.159) < 0.005 + 4 * np.sqrt(0.16 * 0.84 / count)
    assert np.array_equal(labels[0], labels[1])
    assert not np.array_equal(labels[0], labels[2])
    assert not mutex_watershed(values, [[0, 0, -1]], noise=0.02, mask=mask).any()  # never above 3.5 deviations


def test_small_and_faint_fragments_are_removed() -> None:
    labels = np.zeros((3, 12, 30), np.uint64)
    labels[:, 1:11, 1:11] = 1  # large and bright
    labels[:, 1:11, 14:24] = 2  # large and faint
    labels[:, 4:7, 26:29] = 3  # small and bright
    values = affinities(labels, NEAREST) * np.where(labels == 2, 0.7, 1.0)
    every = mutex_watershed(values, NEAREST, biases=-0.3)
    bright = mutex_watershed(values, NEAREST, biases=-0.3, minimum_affinity=0.7)
    large = mutex_watershed(values, NEAREST, biases=-0.3, debris=40)
    assert np.array_equal(every, labels)
    assert np.array_equal(bright > 0, (every > 0) & (every != 2))
    assert np.array_equal(large > 0, (every > 0) & (every != 3))
    assert bright.max() == large.max() == 2


def test_sections_need_no_z_channel() -> None:
    labels = voronoi((3, 16, 18), 5)
    values = noisy_affinities(labels, NEAREST[1:])
    found = mutex_watershed(values, NEAREST[1:], biases=-0.5, minimum_affinity=0.1)
    assert all(set(np.unique(found[0])) & set(np.unique(section)) <= {0} for section in found[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"offsets": NEAREST[:2]}, "2 offsets"),
        ({"biases": [-0.4, -0.7]}, "biases"),
        ({"biases": float("nan")}, "biases"),
        ({"strides": [(1, 1, 1)]}, "strides"),
        ({"strides": [(1, 1, 0)] * 3}, "strides"),
        ({"strides": [(1, 1.5, 1)] * 3}, "strides"),
        ({"mask": np.ones((4, 5, 5))}, "mask of shape"),
        ({"noise": -0.1}, "noise"),
        ({"seed": -1}, "seed"),
        ({"affinities": np.full((3, 4, 5, 6), np.nan, np.float32)}, "outside"),
        ({"affinities": np.full((3, 4, 5, 6), 1.5)}, "outside"),
    ],
)
def test_what_cant_be_used_is_refused(arguments: dict, message: str) -> None:
    given = {"affinities": np.ones((3, 4, 5, 6), np.float32), "offsets": NEAREST} | arguments
    with pytest.raises(InputError, match=message):
        mutex_watershed(**given)


def test_graphs_follow_the_definition() -> None:
    rng = np.random.default_rng(0)
    for count, edges in ((1, 0), (5, 0), (2, 1), (40, 60), (40, 200)):
        u, v = rng.integers(0, count, (2, edges))
        weight = rng.normal(size=edges)
        found = graph_mutex_watershed(count, u.astype(np.uint64), v.astype(np.int32), weight)
        expected = by_definition(count, zip(weight.tolist(), u.tolist(), v.tolist(), strict=True))
        assert found.dtype == np.uint64
        assert np.array_equal(found, numbered(expected))


def test_equal_weights_of_graphs_count_in_the_order_given() -> None:
    # 0 - 1 attract, 1 - 2 attract, 0 - 2 repel, all alike: the last comes too late
    u, v, weight = np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([0.5, 0.5, -0.5])
    assert np.array_equal(graph_mutex_watershed(3, u, v, weight), [1, 1, 1])
    for order, expected in (([1, 2, 0], [1, 2, 2]), ([0, 2, 1], [1, 1, 2]), ([2, 1, 0], [1, 2, 2])):
        assert np.array_equal(graph_mutex_watershed(3, u[order], v[order], weight[order]), expected)


def test_graphs_of_nodes_that_dont_exist_are_refused() -> None:
    one = np.array([1])
    with pytest.raises(InputError, match="v holds"):
        graph_mutex_watershed(3, one, np.array([3]), np.array([0.1]))
    with pytest.raises(InputError, match="u holds"):
        graph_mutex_watershed(3, np.array([-1]), one, np.array([0.1]))
    with pytest.raises(InputError, match="no numbers"):
        graph_mutex_watershed(3, one, one, np.array([np.nan]))
    with pytest.raises(InputError, match="v of"):
        graph_mutex_watershed(3, one, np.array([1, 2]), np.array([0.1]))


@pytest.mark.parametrize("strides", [None, STRIDES])
def test_mwatershed_gives_the_same_fragments(strides: list | None) -> None:
    mwatershed = pytest.importorskip("mwatershed")
    for seed in range(3):
        values = distinct_affinities((7, 9, 11), seed=seed)
        biased = values.astype(np.float64) + np.reshape(BIASES, (-1, 1, 1, 1))
        peer = mwatershed.agglom(biased, OFFSETS, strides=strides)
        found = mutex_watershed(values, OFFSETS, biases=BIASES, strides=strides)
        assert found.max() > 3
        # the peer names a cluster after one of its voxels: one that holds voxel 0 alone looks like background
        first = np.zeros(peer.shape, bool)
        first[0, 0, 0] = peer[0, 0, 0] == 0
        assert np.array_equal(numbered(np.where(first, 0, found)), numbered(peer))
