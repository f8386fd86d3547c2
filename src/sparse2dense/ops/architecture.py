"""What a U-Net looks like, and the arithmetic of its shapes, weights and memory; it needs no library for nets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from sparse2dense.errors import InputError

__all__ = ["Architecture"]


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

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps of every level, from full resolution to the coarsest."""
        return tuple(self.features * self.growth**level for level in range(len(self.kernels)))

    @property
    def weights(self) -> int:
        """Number of weights, those of normalisation left out."""
        down = zip((self.in_channels, *self.widths[:-1]), self.widths, self.kernels, strict=True)
        up = zip(map(sum, zip(self.widths[:-1], self.widths[1:], strict=True)), self.widths, self.kernels, strict=False)
        pairs = sum((into + out) * out * prod(kernel) for levels in (down, up) for into, out, kernel in levels)
        return pairs + self.widths[0] * sum(self.heads.values())

    def pass_values(self, output_shape: tuple[int, ...]) -> int:
        """Numbers held at the busiest moment of an unpadded pass of one sample without gradients, weights left out.

        Everything counts that `UNet.forward` still has a name for, what goes into a layer and what comes out of it.
        """
        sizes = self.input_shape(output_shape)
        last, held, peaks = len(self.pooling), 0, [0]
        into = self.in_channels
        skips = []
        for level in range(last):
            values, sizes = self._pair(level, into, sizes, held, peaks)
            held += values
            skips.append(values)
            sizes = tuple(size // factor for size, factor in zip(sizes, self.pooling[level], strict=True))
            into = self.widths[level]
        values, sizes = self._pair(last, into, sizes, held, peaks)
        for level in reversed(range(last)):
            coarse, sizes = values, tuple(a * b for a, b in zip(sizes, self.pooling[level], strict=True))
            repeated = self.widths[level + 1] * prod(sizes)
            peaks.append(held + coarse + repeated)
            into = self.widths[level] + self.widths[level + 1]
            values, sizes = self._pair(level, into, sizes, held + repeated, peaks)
        return max(*peaks, held + values + sum(self.heads.values()) * prod(sizes))

    def _pair(
        self, level: int, into: int, sizes: Sequence[int], held: int, peaks: list[int]
    ) -> tuple[int, tuple[int, ...]]:
        """Values and sides of what both convolutions of a level leave; adds to `peaks` what is held meanwhile."""
        first, second = (
            tuple(size - times * (kernel - 1) for size, kernel in zip(sizes, self.kernels[level], strict=True))
            for times in (1, 2)
        )
        copies = 2 if self.normalization == "batch" else 1  # before and after normalisation
        given, middle, result = into * prod(sizes), self.widths[level] * prod(first), self.widths[level] * prod(second)
        peaks.append(held + given + max(copies * middle, middle + copies * result))
        return result, second
