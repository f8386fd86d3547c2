"""The generated volume of the benchmark, and that `make benchmark` runs it at a modest size."""

import importlib
from itertools import pairwise, product

import numpy as np
import pytest

from benchmarks.__main__ import names
from benchmarks.gigavoxel import tissue

BOX = (slice(90, 131), slice(-7, 40), slice(1000, 1047))
"""Odd sides, across 0, and in the midst of lattice cells."""


@pytest.mark.parametrize("cuts", [(90, 131), (90, 91, 120, 131)], ids=["slabs whole", "slabs cut"])
def test_blocks_are_parts_of_the_whole(cuts: tuple[int, ...]) -> None:
    truth, affinities = tissue(BOX)
    count = 0
    for first, last in product(pairwise(cuts), pairwise((-7, 0, 13, 40))):
        box = (slice(*first), slice(*last), BOX[2])
        place = (slice(first[0] - 90, first[1] - 90), slice(last[0] + 7, last[1] + 7))
        labels, values = tissue(box)
        assert np.array_equal(labels, truth[place])
        assert np.array_equal(values, affinities[(slice(None), *place)])
        count += labels.size
    assert count == truth.size


def test_the_same_every_time_and_nowhere_twice() -> None:
    once, again = tissue(BOX), tissue(BOX)
    assert np.array_equal(once[0], again[0]) and np.array_equal(once[1], again[1])
    moved = tuple(slice(side.start + 120, side.stop + 120) for side in BOX)
    assert not np.isin(tissue(moved)[0], once[0]).any()
    assert not np.array_equal(tissue(moved)[1], once[1])


def test_affinities_show_the_objects() -> None:
    """Pairs of one object are mostly alike, pairs across mostly not, and neither without exception."""
    truth, affinities = tissue((slice(0, 80),) * 3)
    assert truth.dtype == np.uint64 and affinities.dtype == np.uint8 and truth.min() > 0
    assert 2 < len(np.unique(truth)) < 40
    across = truth[1:] != truth[:-1]
    inside, outside = affinities[0, 1:][~across] / 255, affinities[0, 1:][across] / 255
    assert inside.mean() > 0.75 > 0.6 > outside.mean()
    assert inside.min() < outside.max()


def test_make_benchmark_is_brief() -> None:
    module = importlib.import_module("benchmarks.gigavoxel")
    assert "gigavoxel" in names()
    assert int(module.BRIEFLY[module.BRIEFLY.index("--side") + 1]) <= 384
