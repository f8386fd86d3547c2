"""Far affinities judge a partition as its segmentation would be judged, from one table of sums."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest

from sparse2dense.ops.affinities import affinities, axis_offsets, pair_slices
from sparse2dense.ops.far_links import FarLinks, far_channels, far_links
from sparse2dense.ops.overlaps import look_up
from sparse2dense.volumes.grid import blocks, clip, within
from tests.voronoi import noisy_affinities, voronoi

SHAPE = (9, 22, 27)
FAR = axis_offsets((2, 5, 7))
HUGE = 2**63
NAMES = ("u", "v", "pairs", "total")


def cells(seed: int = 0) -> np.ndarray:
    """Return fragments with huge ids, and some background."""
    fragments = voronoi(SHAPE, 12, seed, ids=range(HUGE - 6, HUGE + 6))
    fragments[2:5, 3:9, 4:11] = 0
    return fragments


def pairs_of(count: int) -> np.ndarray:
    """Return segments that hold two fragments each."""
    return np.repeat(np.arange(1, count), 2)[:count].astype(np.uint64)


def summed(tables: Iterable[FarLinks]) -> Counter[tuple[int, int, str]]:
    """Return the sums of tables of parts, per two fragments."""
    sums: Counter[tuple[int, int, str]] = Counter()
    for table in tables:
        for u, v, pairs, total in zip(*(getattr(table, name).tolist() for name in NAMES), strict=True):
            sums[u, v, "pairs"] += pairs
            sums[u, v, "total"] += total
    return sums


def test_disagreement_is_that_of_the_segmentation() -> None:
    fragments = cells()
    ids = np.unique(fragments[fragments > 0])
    predicted = np.rint(noisy_affinities(voronoi(SHAPE, 5, 3), FAR) * 255).astype(np.uint8)
    segments = pairs_of(len(ids))
    links = far_links(fragments, predicted, FAR)
    ours = affinities(look_up(fragments, ids, segments), FAR)
    split, merge, count = 0.0, 0.0, 0
    for channel, target, offset in zip(predicted, ours, FAR, strict=True):
        here, there = pair_slices(offset, SHAPE)
        one, other = fragments[here], fragments[there]
        counts = (one > 0) & (other > 0) & (one != other)
        values, linked = channel[here][counts] / 255, target[here][counts] == 1
        split, merge = split + values[~linked].sum(), merge + (1 - values[linked]).sum()
        count += int(counts.sum())
    assert links.pairs.sum() == count > 1000
    assert links.disagreement(ids, segments) == pytest.approx((split / count, merge / count))
    assert split > 0 < merge


def test_the_true_partition_contradicts_least() -> None:
    truth = voronoi(SHAPE, 5, 3)
    # fragments are parts of true objects
    fragments = truth * 1000 + cells(1) % 1000 + 1
    ids = np.unique(fragments)
    links = far_links(fragments, affinities(truth, FAR) * np.uint8(255), FAR)
    true = (ids // 1000).astype(np.uint64)
    assert links.disagreement(ids, true) == (0, 0)
    split, none = links.disagreement(ids, np.arange(1, len(ids) + 1, dtype=np.uint64))
    nothing, merge = links.disagreement(ids, np.ones(len(ids), np.uint64))
    assert split > 0.05 < merge
    assert none == nothing == 0
    moved = true.copy()
    moved[0] = true[-1]
    assert sum(links.disagreement(ids, moved)) > 0


@pytest.mark.parametrize("block", [(4, 7, 9), (9, 22, 27), (1, 30, 13)])
def test_tables_of_blocks_add_up(block: tuple[int, ...]) -> None:
    fragments = cells()
    predicted = np.rint(noisy_affinities(fragments, FAR) * 255).astype(np.uint8)
    whole = far_links(fragments, predicted, FAR)
    parts = []
    for tile in blocks(SHAPE, block, (2, 5, 7)):
        read = clip(tile.read, SHAPE)
        parts.append(far_links(fragments[read], predicted[(slice(None), *read)], FAR, within(tile.write, read)))
    assert {part.scale for part in parts} == {whole.scale} == {255}
    assert summed(parts) == summed([whole])
    assert len(summed(parts)) == 2 * len(whole)


def test_neither_nothing_nor_a_single_object_is_contradicted() -> None:
    for fragments in (np.zeros(SHAPE, np.uint64), np.full(SHAPE, HUGE, np.uint64)):
        links = far_links(fragments, np.zeros((3, *SHAPE), np.uint8), FAR)
        assert len(links) == 0
        ids = np.unique(fragments[fragments > 0])
        assert np.isnan(links.disagreement(ids, ids)).all()


def test_far_is_at_least_half_as_far_as_the_farthest_in_nm() -> None:
    offsets = axis_offsets((1, 1, 1), (2, 9, 9), (3, 27, 27))
    assert far_channels(offsets, (8, 8, 8)) == [7, 8]
    # 3 sections of 50 nm reach 150 nm, 2 reach 100 nm; 27 voxels of 4 nm reach 108 nm
    assert far_channels(offsets, (50, 4, 4)) == [3, 6, 7, 8]


def test_direct_neighbours_are_far_only_where_there_is_nothing_else() -> None:
    """Thick sections don't make the affinities that a tree is made by its judges."""
    thick = (40, 8, 8)
    assert far_channels(axis_offsets((1, 1, 1), (2, 3, 3)), thick) == [3]
    assert far_channels([*axis_offsets((1, 1, 1)), (0, 3, 0), (0, 0, -3)], thick) == [3, 4]
    assert far_channels([*axis_offsets((1, 1, 1)), (1, -1, 0)], (8, 8, 8)) == [3], "a diagonal is no direct neighbour"
    assert far_channels(axis_offsets((1, 1, 1)), thick) == far_channels(axis_offsets((1, 1, 1)), (8, 8, 8)) == [0, 1, 2]
