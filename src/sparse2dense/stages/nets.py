"""Nets as files and in use: checkpoints, the intensities they see, and the order of memory they are fastest in."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.unet import UNet
from sparse2dense.ops.views import UNTURNED, View
from sparse2dense.stages.net_kinds import NetDescription, description_of
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.volume import Volume

__all__ = ["check_input", "fastest", "load_net", "memory_format", "normalised", "read_training", "save_net"]


def normalised(raw: NDArray) -> NDArray[np.float32]:
    """Intensities as the nets see them: float32 in [0, 1] for integers by their type's range; floats as they are."""
    if np.issubdtype(raw.dtype, np.integer):
        return raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max)
    return raw.astype(np.float32)


def memory_format(ndim: int) -> torch.memory_format:
    """Channels-last for so many spatial axes, which convolutions are fastest in."""
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def fastest(net: UNet) -> UNet:
    """The net with its weights in the order of memory that convolutions are fastest in."""
    layout = memory_format(net.architecture.ndim)
    for parameter in net.parameters():
        if parameter.ndim == net.architecture.ndim + 2:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return net


def save_net(path: Path, net: UNet, description: NetDescription, provenance: Mapping[str, Any]) -> None:
    """Write weights, description and provenance to one file, atomically."""
    with atomic_file(path) as partial:
        torch.save(
            {
                "weights": {name: value.detach().cpu() for name, value in net.state_dict().items()},
                "description": asdict(description),
                "provenance": dict(provenance),
            },
            partial,
        )


def load_net(path: Path) -> tuple[UNet, NetDescription]:
    """Read a checkpoint: the net, in evaluation mode on the CPU, and its description. Loads no code.

    Raises
    ------
    InputError
        Where the file is missing or no checkpoint of this project, or its parts contradict each other.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        description = description_of(content["description"])
        weights = dict(content["weights"])
        _check_weights(weights, description)
        net = UNet(description.architecture)
        net.load_state_dict(weights)
    except Exception as error:
        reason = error.problem if isinstance(error, InputError) else f"{type(error).__name__}: {error}".split("\n")[0]
        raise InputError(
            f"{path} can't be read as a checkpoint: {reason}",
            allowed="a checkpoint.pt written by a training rule of this workflow",
            remedy="train the net again, or correct the path",
        ) from error
    return net.eval(), description


def read_training(path: Path) -> tuple[NetDescription, dict[str, Any]]:
    """Read what a checkpoint says of its net, and the block of `nets` that it was trained by; empty where it is absent.

    Raises InputError as `load_net` does.
    """
    description = load_net(path)[1]
    record = torch.load(path, map_location="cpu", weights_only=True)["provenance"]
    return description, dict(record.get("settings", {}).get("settings", {}))


def check_input(volume: Volume, name: str, description: NetDescription, net: str, view: View = UNTURNED) -> None:
    """Refuse a volume that isn't, in a view, what the described net reads as `name`; `net` says which net that is.

    Raises
    ------
    InputError
        For other channels, offsets, sigma or voxels than those of the net.
    """
    wanted = 1 if name == "raw" else description.input_channels[name]
    found = volume.shape[0] if len(volume.shape) == 4 else 1
    if found != wanted:
        raise InputError(
            f"{volume.path} holds {found} channels of {name}",
            allowed=f"{wanted}, which {net} of kind {description.kind} reads",
            remedy="choose kinds of nets that fit each other, or train the net again",
        )
    if name == "affinities":
        given = [view.seen(offset)[1:] for offset in volume.attributes["offsets"]]
        if given != list(description.input_offsets):
            raise InputError(
                f"{volume.path} holds affinities of offsets {given}",
                allowed=f"the offsets {net} was trained on: {list(description.input_offsets)}",
                remedy="train the 2D-to-3D net again for these offsets",
            )
    if name == "descriptors" and tuple(volume.attributes["sigma"]) != description.sigma:
        raise InputError(
            f"{volume.path} holds descriptors of sigma {volume.attributes['sigma']}",
            allowed=f"the sigma {net} was trained on: {list(description.sigma)}",
            remedy="train the net that reads them again for this sigma",
        )
    size = tuple(volume.voxel_size[axis] for axis in view.axes)
    if not description.fits_voxels(size):
        other = "train a net on it" if view == UNTURNED else "set `predict.orientations` to [z]"
        raise InputError(
            f"{volume.path} has voxels of {size} nm",
            allowed=f"within a quarter of {description.voxel_size} nm, on which {net} was trained",
            remedy=f"resample the volume, or {other}",
        )


def _check_weights(weights: Mapping[str, Any], description: NetDescription) -> None:
    """Refuse weights that are not those of the described net, before memory is taken for it."""
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in UNet(description.architecture).state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != wanted:
        raise ValueError("its weights are not those of the net it describes")
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise ValueError("some of its weights are not finite")
