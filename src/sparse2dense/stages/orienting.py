"""Volumes cut into sections across any of their axes, and what nets say of all of them, brought together.

Where voxels are about as long along every axis, sections across y and x look like those across z, and a 2D net that has
learnt these knows them all. What it predicts is stacked, a stack for every axis; the 2D-to-3D net lifts each as if its
sections lay across z. A boundary that lies flat between two sections of one stack is cut by those of another.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.views import ORIENTATIONS, UNTURNED, View, affinity_places
from sparse2dense.stages.net_kinds import SCALE_TOLERANCE, NetDescription
from sparse2dense.stages.viewing import Answer, Source, ViewedVolume, mean_answer
from sparse2dense.volumes.grid import Block, common_multiple

__all__ = ["block_unit", "orientation_problems", "oriented_answer", "seen_across", "stack_name"]

Floats = NDArray[np.float32]


def stack_name(name: str, axis: str) -> str:
    """What `name`, a prediction of sections across z, is called for sections across `axis`: `descriptors.y`."""
    return name if axis == "z" else f"{name}.{axis}"


def block_unit(stride: Sequence[int], orientations: Sequence[View]) -> tuple[int, ...]:
    """Voxels (z, y, x) of which blocks are multiples, so that a net's total pooling divides them in each orientation.

    `stride` is that pooling along the net's own axes, which are (y, x) or (z, y, x).
    """
    unit: tuple[int, ...] = (1, 1, 1)
    for orientation in orientations:
        unit = common_multiple(unit, orientation.step((*(1,) * (3 - len(stride)), *stride)))
    return unit


def oriented_answer(
    answers: Sequence[Answer],
    description: NetDescription,
    stacks: Mapping[str, Mapping[str, Source]],
    block: Block,
    shape: Sequence[int],
    views: Sequence[View] = (UNTURNED,),
) -> dict[str, Floats]:
    """What nets answer for a block, as `viewing.mean_answer`, of a volume cut into sections across one axis or several.

    Parameters
    ----------
    answers, description, block, shape, views
        As there. Views are those of what the nets see: of sections across y they mirror the axes of these.
    stacks
        What the nets read, by the axis that its sections lie across. Its channels mean what they do to the nets.

    Returns
    -------
    For every head float32 (c, z, y, x). Of one stack, channels as the nets see them: affinities are along the axes of
    the sections, and so are descriptors. Of several, for 2D-to-3D nets and with `z`, the mean of the affinities along
    the axes of the volume; one that a stack holds no channel of doesn't count there.
    """
    if len(stacks) == 1:
        ((axis, sources),) = stacks.items()
        return _turned_answer(answers, description, sources, block, shape, views, ORIENTATIONS[axis])
    offsets = description.offsets
    totals = np.zeros((len(offsets), *block.write_shape), np.float32)
    counts = np.zeros((len(offsets), 1, 1, 1), np.float32)
    for axis, sources in stacks.items():
        orientation = ORIENTATIONS[axis]
        said = _turned_answer(answers, description, sources, block, shape, views, orientation)["affinities"]
        for channel, place in enumerate(affinity_places(orientation, offsets, offsets, back=True)):
            if place is not None and not any(place.shift):
                totals[channel] += said[place.channel]
                counts[channel] += 1
    return {"affinities": np.divide(totals, counts, out=totals)}


def seen_across(
    sources: Mapping[str, Source], orientation: View, shape: Sequence[int]
) -> tuple[dict[str, Source], list[int]]:
    """What nets read of a volume of `shape` in an orientation, and the lengths of its axes there."""
    seen: dict[str, Source] = {
        name: ViewedVolume(source, orientation, tuple(shape)) for name, source in sources.items()
    }
    return seen, [shape[axis] for axis in orientation.axes]


def orientation_problems(name: str, orientations: Sequence[str], voxel_size: Sequence[float]) -> Iterator[InputError]:
    """Yield why sections across other axes than z wouldn't look like these in a volume with voxels of so many nm."""
    if len(orientations) > 1 and max(voxel_size) > (1 + SCALE_TOLERANCE) * min(voxel_size):
        yield InputError(
            f"`predict.orientations` is {list(orientations)}, and volume {name} has voxels of {list(voxel_size)} nm",
            allowed="other axes than z where voxels are at most a quarter longer along one axis than along another",
            remedy="set `predict.orientations` to [z], or resample the volume",
        )


def _turned_answer(
    answers: Sequence[Answer],
    description: NetDescription,
    sources: Mapping[str, Source],
    block: Block,
    shape: Sequence[int],
    views: Sequence[View],
    orientation: View,
) -> dict[str, Floats]:
    """The mean of what nets answer in one orientation, its values at their voxels of the volume."""
    seen, lengths = seen_across(sources, orientation, shape)
    box = orientation.in_view(block.write, shape)
    said = mean_answer(answers, description, seen, Block(block.index, block.position, box, box), lengths, views)
    return {head: orientation.turned_back(values) for head, values in said.items()}
