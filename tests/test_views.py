"""Views of a volume: what is mirrored or exchanged comes back to its voxel, its channel and its sign."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.descriptors import local_shape_descriptors, section_descriptors
from sparse2dense.ops.views import (
    UNTURNED,
    View,
    affinity_places,
    complement,
    descriptor_places,
    flipped_views,
)

SHAPE = (5, 17, 22)
SIDEWAYS = [View((1, 0, 2)), View((2, 0, 1)), View((2, 1, 0), (False, True, False))]
OFFSETS = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -6, 0), (0, 0, -6), (-2, -3, 4), (-4, 0, 0), (0, -20, 0)]


def labels() -> NDArray[np.uint64]:
    """Boxes of many sizes that touch, without background; one id is near the largest there is."""
    seeds = np.random.default_rng(3).integers(1, 6, (2, 4, 4)).astype(np.uint64)
    seeds[seeds == 2] = 2**63 + 5
    return np.kron(seeds, np.ones((3, 5, 6), np.uint64))[: SHAPE[0], : SHAPE[1], : SHAPE[2]]


def test_all_combinations_once_and_the_volume_itself_first() -> None:
    """n flips give 2^n views, an exchange of y and x twice as many."""
    for axes, transpose, count in (([], False, 1), ([2, 1], False, 4), ([0, 1, 2], True, 16), ([], True, 2)):
        views = flipped_views(axes, transpose)
        assert len(set(views)) == len(views) == count
        assert views[0] == UNTURNED


@pytest.mark.parametrize("view", [*flipped_views([0, 1, 2], True), *SIDEWAYS])
def test_boxes_and_values_go_there_and_back(view: View) -> None:
    """A box of the view shows the voxels that lie in it, also where lengths exceed the volume."""
    values = np.random.default_rng(0).random((2, *SHAPE))
    turned = view.turned(values)
    np.testing.assert_array_equal(view.turned_back(turned), values)
    box = (slice(1, 3), slice(4, 17), slice(0, 5))
    seen = view.in_view(box, SHAPE)
    assert view.in_volume(seen, SHAPE) == box
    np.testing.assert_array_equal(turned[(slice(None), *seen)], view.turned(values[(slice(None), *box)]))
    longer = (8, 24, 24)
    assert view.in_volume(view.in_view(box, longer), longer) == box


@pytest.mark.parametrize("view", [*flipped_views([0, 1, 2], True), *SIDEWAYS])
def test_affinities_of_a_view_come_back_to_their_pairs(view: View) -> None:
    """Brought back, affinities of the turned volume are those of the volume wherever both voxels lie in it."""
    volume = labels()
    wanted, given = affinities(volume, OFFSETS[:7]), affinities(view.turned(volume), _fitting(view))
    known = affinities(np.ones(SHAPE, np.uint8), OFFSETS[:7])
    places = affinity_places(view, OFFSETS[:7], _fitting(view), back=True)
    found = 0
    for channel, place in enumerate(places):
        if place is None:
            continue
        found += 1
        back = view.turned_back(given[place.channel])
        voxels = np.argwhere(known[channel])
        assert len(voxels) > 0
        np.testing.assert_array_equal(back[tuple((voxels + place.shift).T)], wanted[channel][tuple(voxels.T)])
    assert found >= 3


def _fitting(view: View) -> list[tuple[int, ...]]:
    """The offsets that are shorter than the view's sides."""
    lengths = [SHAPE[axis] for axis in view.axes]
    return [offset for offset in OFFSETS if all(abs(o) < n for o, n in zip(offset, lengths, strict=True))]


def test_what_no_channel_holds_is_said_to_be_unknown() -> None:
    """A diagonal pair has no channel when one of its axes is mirrored, and its own when both are."""
    offsets = [(0, -1, 0), (0, 0, -1), (0, -2, -3)]
    known = [[place is not None for place in affinity_places(view, offsets, offsets, back=True)]
             for view in flipped_views([1, 2])]  # fmt: skip
    assert known == [[True] * 3, [True, True, False], [True, True, False], [True] * 3]
    back = affinity_places(View(mirrored=(False, True, True)), offsets, offsets, back=True)[2]
    assert back is not None
    assert back.shift == (0, -2, -3)


@pytest.mark.parametrize("view", flipped_views([0, 1, 2], True))
@pytest.mark.parametrize("ndim", [2, 3])
def test_descriptors_of_a_view_come_back_with_their_signs(view: View, ndim: int) -> None:
    """Offsets and correlations are mirrored about 0.5, variances and size are not, and all find their channel."""
    volume = labels()
    describe = (lambda v: section_descriptors(v, (3, 3))) if ndim == 2 else (
        lambda v: local_shape_descriptors(v, (2, 3, 3)))  # fmt: skip
    straight, turned = describe(volume), describe(view.turned(volume))
    for back, (wanted, given) in {True: (straight, turned), False: (turned, straight)}.items():
        turn = view.turned_back if back else view.turned
        for channel, place in enumerate(descriptor_places(view, ndim, back=back)):
            values = turn(given[place.channel])
            values = complement(values) if place.complemented else values
            np.testing.assert_allclose(values, wanted[channel], atol=1e-4)


def test_the_complement_keeps_the_type() -> None:
    assert complement(np.array([0, 55, 255], np.uint8)).tolist() == [255, 200, 0]
    assert complement(np.array([0.25], np.float32)).dtype == np.float32
