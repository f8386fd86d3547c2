"""How wrong the 2D net is on what its training held out, for the 2D-to-3D net to learn from such predictions."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.corruption import Degradation
from sparse2dense.ops.measured_degradation import measured_degradation
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.nets import load_net, normalised
from sparse2dense.stages.samples import Targets
from sparse2dense.stages.slicing import SectionData, read_sections
from sparse2dense.stages.training import split_sections, targets_of
from sparse2dense.volumes.provenance import provenance
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["measure_errors", "read_errors"]

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
HEADS = ("descriptors", "affinities")
"""In the order in which a 2D-to-3D net reads them."""


def measure_errors(
    checkpoint: Path,
    sections: Mapping[str, Path],
    output: Path,
    *,
    settings: Mapping[str, Any],
    validation: Mapping[str, int | None],
    read: Sequence[str],
) -> None:
    """Write the settings by which exact channels become as wrong as a 2D net's predictions of held-out sections.

    Parameters
    ----------
    checkpoint
        The 2D net.
    sections, settings, validation
        As in `training.train_sections`.
    output
        JSON file: `degradation`, fields of `ops.corruption.Degradation`; and the sections that were compared.
    read
        Which predictions the 2D-to-3D net reads, of `descriptors` and `affinities`.

    Raises InputError when the held-out part holds nothing to compare with.
    """
    net, description = load_net(checkpoint)
    targets = targets_of(description, settings)
    data = {volume: read_sections(folder) for volume, folder in sections.items()}
    _, held_out = split_sections(data, validation)
    heads = [head for head in HEADS if head in read]
    compared = []
    for section in held_out:
        exact, weights = exact_section(targets, section)
        said = predicted_section(net, section)
        compared.append([np.concatenate([of[head] for head in heads]) for of in (said, exact, weights)])
    predicted, exact_channels, weight = (_stacked(arrays) for arrays in zip(*compared, strict=True))
    first = net.architecture.heads["descriptors"] if "descriptors" in heads else 0
    try:
        found = measured_degradation(predicted, exact_channels, weight > 0, range(first, len(predicted)))
    except InputError as error:
        raise InputError(
            f"the errors of the 2D net can't be measured: {error.problem}",
            allowed="labelled voxels in what is held out for validation",
            remedy="choose another `annotation.validation`, or set `nets.2d_to_3d.synthetic.errors` to usual",
        ) from error
    numbers = [section.section for section in held_out]
    record = provenance("measure_errors", {"validation": validation, "read": heads}, {"checkpoint": checkpoint})
    with atomic_file(output) as file:
        content = {"degradation": asdict(found), "sections": numbers, "provenance": record}
        file.write_text(json.dumps(content, indent=2) + "\n")
    log.info("%s: measured on sections %s: %s", output, numbers, found)


def exact_section(targets: Targets, section: SectionData) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return what a net should say of a whole section by head, (c, y, x), and weights, 0 where that isn't known."""
    margin = [(side, side) for side in targets.margin]
    scope = np.pad(section.scope > 0, margin)
    return targets.make(np.pad(section.labels, margin), np.pad(section.mask, margin), scope)


def predicted_section(net: UNet, section: SectionData) -> dict[str, Floats]:
    """Return what a 2D net says of a whole section by head, (c, y, x) in 0..1; the section is mirrored at its edges."""
    architecture, shape = net.architecture, section.labels.shape
    wanted = architecture.input_shape(shape)
    margins = [
        (before, whole - side - before) for before, whole, side in zip(architecture.context, wanted, shape, strict=True)
    ]
    image = np.pad(normalised(section.raw), [(0, 0), *margins], mode="reflect")
    with torch.inference_mode():
        answer = net(torch.from_numpy(image[None]), padded=False)
    rows, columns = shape
    return {head: value[0, :, :rows, :columns].sigmoid().numpy() for head, value in answer.items()}


def read_errors(path: Path) -> Degradation:
    """Return what `measure_errors` wrote."""
    found = json.loads(path.read_text())["degradation"]
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return Degradation(**fields)


def _stacked(arrays: Sequence[Floats]) -> Floats:
    """Stack the channels of sections (c, y, x) as (c, z, y, x), smaller ones filled up with 0, of which none count."""
    rows, columns = (max(array.shape[axis] for array in arrays) for axis in (1, 2))
    padded = [np.pad(a, [(0, 0), (0, rows - a.shape[1]), (0, columns - a.shape[2])]) for a in arrays]
    return np.stack(padded, axis=1)
