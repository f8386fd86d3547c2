"""One U-Net for every net of the project, in two or three dimensions.

The same weights run padded, which wastes nothing in training, or unpadded ("valid"), where every output voxel has seen
real input only. Nothing in it depends on where a block begins as long as blocks begin at multiples of the total
pooling: up-sampling repeats values instead of interpolating across a block's border, and normalisation uses running
statistics. So prediction in blocks equals prediction of the whole.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse2dense.ops.architecture import Architecture

__all__ = ["UNet"]


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with residual-free double convolutions and one 1x1 head per output.

    Input (batch, in_channels, *spatial) float; output a tensor of logits (batch, channels, *spatial) for each head.
    Padded, spatial sides must be multiples of `architecture.stride` and stay as they are; unpadded, they must be an
    `architecture.input_shape(...)`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = architecture.widths
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
