"""Pictures of what a net is shown, should answer, and answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["draw_snapshot"]


def draw_snapshot(
    path: Path, batch: Mapping[str, Any], answer: Mapping[str, Tensor], net: NetDescription, step: int
) -> None:
    """Draw the input of the first sample of `batch` and, for every head, its target and the net's answer.

    Affinities show three channels of the shortest offsets as red, green, blue; descriptors the first three.
    Voxels without weight are dark in the target.
    """
    shown = batch["input"][0].float().cpu().numpy()
    raw = KINDS[net.kind].inputs == ("raw",)
    pictures = [("input", _section(shown[len(shown) // 2 :][:1] if raw else shown[:3], net))]
    for head, value in answer.items():
        weight = batch["weights"][head][0].float().cpu().numpy()
        target = batch["targets"][head][0].float().cpu().numpy() * (weight > 0)
        pictures += [(f"{head}, target", _section(target, net)), (f"{head}, answer", _section(value[0].numpy(), net))]
    figure, axes = plt.subplots(1, len(pictures), figsize=(3.2 * len(pictures), 3.4), constrained_layout=True)
    for axis, (title, picture) in zip(np.atleast_1d(axes), pictures, strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set(title=title, xlabel="x (voxels)", ylabel="y (voxels)")
    figure.suptitle(f"{net.kind}, held-out sample, step {step}")
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=90)
    plt.close(figure)


def _section(channels: NDArray, net: NetDescription) -> NDArray:
    """The middle section of (c, [z,] y, x) as grey (y, x) or colour (y, x, 3), in [0, 1]."""
    if net.architecture.ndim == 3:
        channels = channels[:, channels.shape[1] // 2]
    if len(channels) == 1:
        return np.clip(channels[0], 0, 1)
    colour = np.zeros((*channels.shape[1:], 3), np.float32)
    for position in range(min(3, len(channels))):
        colour[..., position] = channels[position]
    return np.clip(colour, 0, 1)
