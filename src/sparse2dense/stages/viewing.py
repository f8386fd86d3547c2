"""Volumes as nets see them from several sides, and the mean of what nets answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.views import (
    UNTURNED,
    Place,
    View,
    affinity_places,
    complement,
    descriptor_places,
    flipped_views,
)
from sparse2dense.stages.net_kinds import KINDS, NetDescription, describe_net
from sparse2dense.volumes.grid import Block, Box, clip, moved, snap_up, within

__all__ = ["Answer", "Source", "ViewedVolume", "mean_answer", "view_margin", "view_problems", "views_of"]

Floats = NDArray[np.float32]
Config = Mapping[str, Any]


class Source(Protocol):
    """What a net reads boxes of."""

    def read(self, box: Box) -> NDArray[Any]:
        """Read a box of voxels, all channels, that may leave the volume."""
        ...


Answer = Callable[[Mapping[str, Source], Block], dict[str, Floats]]
"""What a net says of a block of the sources it reads: for every head float32 (c, z, y, x)."""


@dataclass(frozen=True)
class ViewedVolume:
    """A volume as a view shows it.

    Parameters
    ----------
    source
        The volume.
    view, lengths
        How it is seen, and the lengths that are mirrored.
    places
        Of the view's channels among the source's; None where they are the same, or for an image, which has none.
    """

    source: Source
    view: View
    lengths: tuple[int, ...]
    places: tuple[Place, ...] | None = None

    def read(self, box: Box) -> NDArray[Any]:
        """Read a box of the view, all channels, that may leave the volume."""
        wanted = self.view.in_volume(box, self.lengths)
        if self.places is None:
            return self.view.turned(self.source.read(wanted))
        boxes = [moved(wanted, place.shift) for place in self.places]
        around = _hull(boxes)
        values = self.source.read(around)
        channels = [
            _as_meant(values[place.channel][within(box, around)], place)
            for place, box in zip(self.places, boxes, strict=True)
        ]
        return self.view.turned(np.stack(channels))


def views_of(description: NetDescription, flips: Sequence[str], transpose: bool) -> list[View]:
    """The views that a net is asked in, the volume as it is first.

    `flips` are axes (`z`, `y`, `x`), all combinations of which are mirrored; along z only for nets that see more than
    one section. With `transpose` y and x are exchanged too.
    """
    sees_z = KINDS[description.kind].ndim == 3 or description.adjacent > 0
    return flipped_views(["zyx".index(axis) for axis in flips if axis != "z" or sees_z], transpose)


def view_margin(description: NetDescription, views: Sequence[View]) -> tuple[int, ...]:
    """By how many voxels (z, y, x) a block grows at most, so that every one of `views` says all of it that it can."""
    if len(views) == 1:
        return (0, 0, 0)
    shifts = [
        place.shift
        for view in views
        for head in description.architecture.heads
        for place in _output_places(head, description, view)
        if place is not None
    ]
    stride = _deep(description.architecture.stride)
    stride = tuple(max(stride[view.axes[axis]] for view in views) for axis in range(3))
    reach = (max(0, *steps) - min(0, *steps) for steps in zip(*shifts, strict=True))
    return tuple(far + step - 1 for far, step in zip(reach, stride, strict=True))


def mean_answer(
    answers: Sequence[Answer],
    description: NetDescription,
    sources: Mapping[str, Source],
    block: Block,
    shape: Sequence[int],
    views: Sequence[View] = (UNTURNED,),
) -> dict[str, Floats]:
    """The mean of what nets answer for a block in several views of a volume: for every head float32 (c, z, y, x).

    In a mirrored view the pair of an affinity may be kept at its other end. Where that lies outside of the volume, or
    no channel holds the pair, the view says nothing and doesn't count. So what is said of a voxel depends on the
    volume alone, not on the block.

    Parameters
    ----------
    answers
        For every net what it answers for a block of such sources, see `answering.answer`.
    description
        Of these nets.
    sources, block, shape
        What the nets read, where an answer is wanted, and the voxels (z, y, x) of the volume.
    views
        `UNTURNED` first, which always says something.
    """
    if len(answers) == len(views) == 1:
        return answers[0](sources, block)
    heads = description.architecture.heads
    totals = {head: np.zeros((channels, *block.write_shape), np.float32) for head, channels in heads.items()}
    counts = {head: np.zeros((channels, *block.write_shape), np.uint16) for head, channels in heads.items()}
    stride = _deep(description.architecture.stride)
    for view in views:
        lengths = snap_up(shape, [stride[view.axes.index(axis)] for axis in range(3)])
        seen = {
            name: ViewedVolume(source, view, lengths, _input_places(name, description, view))
            for name, source in sources.items()
        }
        places = {head: _output_places(head, description, view) for head in heads}
        known = [
            (head, channel, place, box)
            for head, found in places.items()
            for channel, place in enumerate(found)
            if place is not None
            for box in [clip(moved(block.write, place.shift), shape)]
            if all(side.start < side.stop for side in box)
        ]
        if not known:
            continue
        region = _hull([box for *_, box in known])
        shown = view.in_view(region, lengths)
        # blocks of a net begin at multiples of its pooling, in every view
        asked = tuple(
            slice(side.start - side.start % step, side.stop) for side, step in zip(shown, stride, strict=True)
        )
        for answer in answers:
            given = answer(seen, Block(block.index, block.position, asked, asked))
            for head, channel, place, box in known:
                values = view.turned_back(given[head][place.channel][within(shown, asked)])
                target = within(moved(box, [-step for step in place.shift]), block.write)
                totals[head][channel][target] += _as_meant(values[within(box, region)], place)
                counts[head][channel][target] += 1
    return {head: np.divide(total, counts[head], dtype=np.float32) for head, total in totals.items()}


def view_problems(config: Config) -> Iterator[InputError]:
    """Check that nets can be asked in the views that a configuration wants."""
    nets, predict = config["nets"], config["predict"]
    for name, settings in nets.items():
        try:
            net = describe_net(settings, section_settings=nets["2d"] if name == "2d_to_3d" else None)
        except InputError:
            continue  # its shapes are refused already
        kind = KINDS[net.kind]
        if predict["transpose"] and "descriptors" in (*kind.inputs, *kind.heads) and len(set(net.sigma[-2:])) > 1:
            yield InputError(
                f"`predict.transpose` exchanges y and x, but the descriptors of `nets.{name}` have sigma "
                f"{list(net.sigma)}",
                allowed="the same sigma along y and x",
                remedy="set `predict.transpose` to false, or make both equal",
            )
        for view in views_of(net, predict["flips"], predict["transpose"]):
            missing = [
                offset
                for offset, place in zip(net.input_offsets, _affinities_shown(net, view), strict=True)
                if place is None
            ]
            if missing:
                yield InputError(
                    f"`predict.flips` is {predict['flips']} and `predict.transpose` {predict['transpose']}, but no "
                    f"affinity of `nets.2d.offsets` is that of {list(missing[0])} in a volume that is turned so",
                    allowed="offsets along one axis, with `transpose` the same along y and x",
                    remedy="remove this offset, add the one that is missing, or ask for fewer views",
                )
                break


def _input_places(name: str, description: NetDescription, view: View) -> tuple[Place, ...] | None:
    """Where the channels of an input of the net in a view are kept in the volume; None for an image."""
    if name == "raw":
        return None
    if name == "descriptors":
        return tuple(descriptor_places(view, KINDS[description.kind].described, back=False))
    places = [place for place in _affinities_shown(description, view) if place is not None]
    if len(places) < len(description.input_offsets):
        raise InputError(
            f"affinities of offsets {list(description.input_offsets)} don't say what they are in a turned volume",
            allowed="offsets along one axis, where y and x are exchanged the same along both",
            remedy="use fewer views, or a net that reads other offsets",
        )
    return tuple(places)


def _affinities_shown(description: NetDescription, view: View) -> list[Place | None]:
    """Where the affinities that the net reads in a view are kept in the volume."""
    offsets = [_deep(offset, 0) for offset in description.input_offsets]
    return affinity_places(view, offsets, offsets, back=False)


def _output_places(head: str, description: NetDescription, view: View) -> Sequence[Place | None]:
    """Where what is wanted of a head is found in what the net answers in a view."""
    if head == "descriptors":
        return descriptor_places(view, KINDS[description.kind].ndim, back=True)
    offsets = [_deep(offset, 0) for offset in description.offsets]
    return affinity_places(view, offsets, offsets, back=True)


def _as_meant(values: NDArray[Any], place: Place) -> NDArray[Any]:
    return complement(values) if place.complemented else values


def _deep(sides: Sequence[int], along_z: int = 1) -> tuple[int, ...]:
    """Numbers (z, y, x) from those of a net of two or three axes."""
    return (along_z,) * (3 - len(sides)) + tuple(sides)


def _hull(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all boxes."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )
