"""Views of a volume, mirrored or with its axes exchanged, and where affinities and descriptors lie in them.

A net that has learnt from flipped samples answers for a flipped volume as well as for the volume itself. What it says
of a voxel there has to be brought back: an affinity belongs to a pair of voxels and is kept at one end of it, which
may be the other end once the volume is mirrored; an offset to a centre of mass changes its sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.descriptors import descriptor_channels

__all__ = [
    "ORIENTATIONS", "UNTURNED", "Place", "View", "affinity_places", "complement", "descriptor_places", "flipped_views",
]  # fmt: skip

Box = tuple[slice, ...]
LETTERS = "zyx"


@dataclass(frozen=True)
class Place:
    """Where a channel is found among those of another view.

    Parameters
    ----------
    channel
        Its number there.
    shift
        Voxels (z, y, x) of the volume from where it is wanted to where it is kept.
    complemented
        Whether 1 less the value is meant: signed values are kept around 0.5.
    """

    channel: int
    shift: tuple[int, ...] = (0, 0, 0)
    complemented: bool = False


@dataclass(frozen=True)
class View:
    """A way to look at a volume (z, y, x).

    Parameters
    ----------
    axes
        For every axis of the view the axis of the volume that lies along it.
    mirrored
        For every axis of the volume whether it runs backwards in the view. A voxel v of an axis of length n is then
        n - 1 - v; methods take these lengths, which may exceed the volume's.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    mirrored: tuple[bool, bool, bool] = (False, False, False)

    def in_volume(self, box: Box, lengths: Sequence[int]) -> Box:
        """The box of the volume that a box of the view shows."""
        sides = [box[self.axes.index(axis)] for axis in range(3)]
        return tuple(map(_mirrored, sides, lengths, self.mirrored))

    def in_view(self, box: Box, lengths: Sequence[int]) -> Box:
        """The box of the view that shows a box of the volume."""
        sides = tuple(map(_mirrored, box, lengths, self.mirrored))
        return tuple(sides[axis] for axis in self.axes)

    def turned(self, values: NDArray) -> NDArray:
        """Values (..., z, y, x) of the volume as the view shows them."""
        return np.moveaxis(self._flipped(values), [axis - 3 for axis in self.axes], [-3, -2, -1])

    def turned_back(self, values: NDArray) -> NDArray:
        """Values of the view, its three axes last, as (..., z, y, x) of the volume."""
        return self._flipped(np.moveaxis(values, [-3, -2, -1], [axis - 3 for axis in self.axes]))

    def step(self, offset: Sequence[int]) -> tuple[int, ...]:
        """The step in the volume that `offset`, a step in the view, is."""
        step = [0, 0, 0]
        for axis, length in zip(self.axes, offset, strict=True):
            step[axis] = -int(length) if self.mirrored[axis] else int(length)
        return tuple(step)

    def seen(self, step: Sequence[int]) -> tuple[int, ...]:
        """The step in the view that `step`, a step in the volume, is; the inverse of `step`."""
        return tuple(-int(step[axis]) if self.mirrored[axis] else int(step[axis]) for axis in self.axes)

    def _flipped(self, values: NDArray) -> NDArray:
        return np.flip(values, tuple(axis - 3 for axis, backwards in enumerate(self.mirrored) if backwards))


UNTURNED = View()
"""The volume as it is."""

ORIENTATIONS = {"z": UNTURNED, "y": View((1, 2, 0)), "x": View((2, 0, 1))}
"""Views whose sections lie across each axis of the volume.

The axes follow each other in the same cycle in all of them, so none is a mirror image of another, and a volume whose
axes are moved on by one has the same three.
"""


def flipped_views(axes: Sequence[int], transpose: bool = False) -> list[View]:
    """All combinations of flips along `axes`, each also with y and x exchanged if `transpose`; `UNTURNED` first."""
    orders: list[tuple[int, int, int]] = [(0, 1, 2), (0, 2, 1)] if transpose else [(0, 1, 2)]
    chosen = [set(some) for count in range(len(axes) + 1) for some in combinations(sorted(axes), count)]
    return [View(order, (0 in some, 1 in some, 2 in some)) for order in orders for some in chosen]


def affinity_places(
    view: View, here: Sequence[Sequence[int]], there: Sequence[Sequence[int]], *, back: bool
) -> list[Place | None]:
    """Where affinities that are wanted in one of view and volume are kept in the other.

    A pair of voxels p and p + offset of the view is one of p and p + step of the volume. If that step is an offset of
    the volume, the pair is kept at the same voxel; if its opposite is, at the pair's other end.

    Parameters
    ----------
    view
        How the view shows the volume.
    here, there
        Offsets (z, y, x) of the channels that are wanted, and of those that there are.
    back
        Whether channels of the volume are wanted and those of the view given, or the other way round.

    Returns
    -------
    For every wanted channel its place; None where no channel holds its pairs.
    """
    wanted = [tuple(offset) if back else view.step(offset) for offset in here]
    given = [view.step(offset) if back else tuple(offset) for offset in there]
    places: list[Place | None] = []
    for step in wanted:
        opposite = tuple(-length for length in step)
        if step in given:
            places.append(Place(given.index(step)))
        else:
            places.append(Place(given.index(opposite), step) if opposite in given else None)
    return places


def descriptor_places(view: View, ndim: int, *, back: bool) -> list[Place]:
    """Where descriptors that are wanted in one of view and volume are kept in the other; `back` as there.

    `ndim` is that of the descriptors (2 or 3). 2D ones lie in sections, which the view must leave whole. Channels are
    in the order of `ops.descriptors.descriptor_channels`; sigma must be the same along axes that are exchanged. On
    background, where descriptors say nothing, the complement of their 0 is 1.
    """
    names = descriptor_channels(ndim)
    of_view = {LETTERS[axis]: LETTERS[place] for place, axis in enumerate(view.axes)}
    other = of_view if back else {place: axis for axis, place in of_view.items()}
    places = []
    for name in names:
        kind, _, letters = name.partition("_")
        kept = "".join(sorted((other[letter] for letter in letters), key=LETTERS.index))
        in_volume = letters if back else kept
        turns = sum(view.mirrored[LETTERS.index(letter)] for letter in in_volume)
        places.append(
            Place(names.index(f"{kind}_{kept}" if kept else kind), complemented=kind != "variance" and turns % 2 == 1)
        )
    return places


def complement(values: NDArray) -> NDArray:
    """1 less the values where they are floats, the largest of their type less them where they are integers."""
    one = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return values.dtype.type(one) - values


def _mirrored(side: slice, length: int, backwards: bool) -> slice:
    return slice(length - side.stop, length - side.start) if backwards else side
