"""One U-Net for every net of the project, in two or three dimensions, and the arithmetic of its shapes.

The same weights run padded, which wastes nothing in training, or unpadded ("valid"), where every output voxel has seen
real input only. Nothing in it depends on where a block begins as long as blocks begin at multiples of the total
pooling: up-sampling repeats values instead of interpolating across a block's border, and normalisation uses running
statistics. So prediction in blocks equals prediction of the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse2dense.errors import InputError

__all__ = ["Architecture", "UNet"]


@dataclass(frozen=True)
class Architecture:
    """What a U-Net looks like; a plain value that a checkpoint can carry.

    Parameters
    ----------
    in_channels
        Channels of the input.
    heads
        Output channels of every head by name; all heads share one decoder.
    features
        Feature maps at full resolution.
    growth
        Factor by which the feature maps grow with every level.
    pooling
        Pooling factors per axis, one entry for every step down; its length is the number of levels less one.
    kernels
        Odd kernel sizes per axis for both convolutions of a level, from full resolution to the coarsest.
    normalization
        `batch` or `none`.
    """

    in_channels: int
    heads: Mapping[str, int]
    features: int
    growth: int
    pooling: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    normalization: str = "batch"

    def __post_init__(self) -> None:
        if len(self.kernels) != len(self.pooling) + 1:
            raise InputError(
                f"kernels has {len(self.kernels)} entries for {len(self.pooling)} poolings",
                allowed="one entry for every level: one more than there are poolings",
                remedy="add or remove entries of `kernels` or `pooling`",
            )
        if any(size % 2 == 0 for kernel in self.kernels for size in kernel):
            raise InputError(
                f"kernels {self.kernels} hold an even size",
                allowed="odd sizes, so that a voxel stays in the middle of what it sees",
                remedy="use 1, 3, 5, ...",
            )
        if len({len(sizes) for sizes in (*self.kernels, *self.pooling)}) != 1 or self.ndim not in (2, 3):
            raise InputError(
                f"kernels {self.kernels} and pooling {self.pooling} differ in their number of axes",
                allowed="two axes (y, x) or three (z, y, x) everywhere",
                remedy="give every entry as many numbers as the net has axes",
            )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernels[0])

    @property
    def stride(self) -> tuple[int, ...]:
        """Total pooling per axis, in voxels: blocks that begin at multiples of it are predicted alike."""
        return tuple(prod(factors[axis] for factors in self.pooling) for axis in range(self.ndim))

    @property
    def context(self) -> tuple[int, ...]:
        """Input voxels per side and axis that an output voxel needs beyond itself when the net runs unpadded."""
        context = [0] * self.ndim
        scale = [1] * self.ndim
        last = len(self.pooling)
        for level, kernel in enumerate(self.kernels):
            convolutions = 2 if level == last else 4  # two on the way down, two on the way up
            for axis in range(self.ndim):
                context[axis] += convolutions * (kernel[axis] // 2) * scale[axis]
                if level < last:
                    scale[axis] *= self.pooling[level][axis]
        return tuple(context)

    def input_shape(self, output_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Smallest unpadded input (spatial, in voxels) whose output covers `output_shape`.

        The output begins `context` voxels after the input's first voxel; it may end later than asked for.
        """
        shape = []
        last = len(self.pooling)
        for axis, wanted in enumerate(output_shape):
            factors = [factor[axis] for factor in self.pooling]
            crop = [2 * (kernel[axis] // 2) * 2 for kernel in self.kernels]  # both convolutions of one pass
            size = wanted
            for level in range(last):  # sizes the decoder must start from, going down
                size = -(-(size + crop[level]) // factors[level])
            size += crop[last]
            for level in reversed(range(last)):
                size = size * factors[level] + crop[level]
            shape.append(size)
        return tuple(shape)


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with residual-free double convolutions and one 1x1 head per output.

    Input (batch, in_channels, *spatial) float; output a tensor of logits (batch, channels, *spatial) for each head.
    Padded, spatial sides must be multiples of `architecture.stride` and stay as they are; unpadded, they must be an
    `architecture.input_shape(...)`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = [architecture.features * architecture.growth**level for level in range(len(architecture.kernels))]
        inputs = [architecture.in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            _DoubleConvolution(a, b, kernel, architecture.normalization)
            for a, b, kernel in zip(inputs, widths, architecture.kernels, strict=True)
        )
        self.up = nn.ModuleList(
            _DoubleConvolution(coarse + fine, fine, kernel, architecture.normalization)
            for fine, coarse, kernel in zip(widths[:-1], widths[1:], architecture.kernels[:-1], strict=True)
        )
        convolution = nn.Conv2d if architecture.ndim == 2 else nn.Conv3d
        self.heads = nn.ModuleDict({name: convolution(widths[0], n, 1) for name, n in architecture.heads.items()})
        self.pool = functional.max_pool2d if architecture.ndim == 2 else functional.max_pool3d

    def forward(self, x: Tensor, padded: bool = True) -> dict[str, Tensor]:
        """Logits of every head."""
        skips = []
        for level, factors in enumerate(self.architecture.pooling):
            x = self.down[level](x, padded)
            skips.append(x)
            x = self.pool(x, factors)
        x = self.down[-1](x, padded)
        for level in reversed(range(len(skips))):
            x = _repeat(x, self.architecture.pooling[level])
            x = self.up[level](torch.cat([_centre(skips[level], x.shape[2:]), x], dim=1), padded)
        return {name: head(x) for name, head in self.heads.items()}


class _DoubleConvolution(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, ...], normalization: str) -> None:
        super().__init__()
        convolution: Any = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
        norm: Any = nn.BatchNorm2d if len(kernel) == 2 else nn.BatchNorm3d
        batch = normalization == "batch"
        self.padding = tuple(size // 2 for size in kernel)
        layers = [convolution(a, channels_out, kernel, bias=not batch) for a in (channels_in, channels_out)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.convolutions = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm(channels_out) if batch else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor, padded: bool) -> Tensor:
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            # An attribute of the layer, so that one set of weights serves both ways.
            cast(Any, layer).padding = self.padding if padded else (0,) * len(self.padding)
            x = functional.relu(norm(layer(x)), inplace=True)
        return x


def _repeat(x: Tensor, factors: tuple[int, ...]) -> Tensor:
    return functional.interpolate(x, scale_factor=[float(factor) for factor in factors], mode="nearest")


def _centre(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The middle of `x` with the spatial `shape`."""
    starts = [(have - want) // 2 for have, want in zip(x.shape[2:], shape, strict=True)]
    box = tuple(slice(start, start + want) for start, want in zip(starts, shape, strict=True))
    return x[(slice(None), slice(None), *box)]
