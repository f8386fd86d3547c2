"""What can be said of a region of a section: how sure the net is there, whether it is believed, what it looks like.

A region is a box of one section. What is measured of it are sums over its voxels, in whole multiples of a unit: regions
that several blocks share add up to the same in any blocks. So do the sums that say how alike sections are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError

__all__ = [
    "LAGS",
    "MEASURED",
    "TEXTURES",
    "RegionSums",
    "binary_entropy",
    "correlations",
    "describe_regions",
    "lag_sums",
    "merge_regions",
    "region_edges",
    "sum_regions",
]

TEXTURES = (1, 2, 4, 8)
"""Voxels between those whose difference is the texture of an image."""
MEASURED = (
    "counted", "annotated", "entropy", "compared", "error", "intensity", "square",
    *(f"texture_{step}" for step in TEXTURES),
)  # fmt: skip
"""What is summed up over a region: voxels that count and, of them, voxels where the annotation speaks; the entropy of
the affinities; voxels with an error, and their errors; intensities, their squares, and their differences."""
LAGS = (1, 2, 4, 8, 16, 32)
"""Sections between those that are compared."""
EVERY = 8
"""Only such sections are compared with later ones: there are more than enough of them."""
UNIT = 2.0**-16


def binary_entropy(affinities: NDArray) -> NDArray[np.float32]:
    """Return the mean entropy in bits of the affinities of every voxel: 0 where all are 0 or 1, 1 where all are 0.5.

    Parameters
    ----------
    affinities
        (channels, ...), uint8 (255 is 1) or float in [0, 1].

    Returns
    -------
    float32 (...), -p log2 p - (1 - p) log2 (1 - p) averaged over the channels.
    """
    share = np.arange(256) / 255 if affinities.dtype == np.uint8 else affinities.astype(np.float64)
    inside = np.clip(share, 1e-12, 1 - 1e-12)
    bits = np.where(
        (share > 0) & (share < 1), -inside * np.log2(inside) - (1 - inside) * np.log2(1 - inside), 0
    ).astype(np.float32)
    if affinities.dtype != np.uint8:
        return np.asarray(bits.mean(axis=0), np.float32)
    total = np.zeros(affinities.shape[1:], np.float32)
    for channel in affinities:
        total += bits[channel]
    return total / np.float32(len(affinities))


def region_edges(length: int, side: int) -> NDArray[np.int64]:
    """Return where the regions along an axis of `length` voxels begin, and where the last one ends: about `side` apart.

    The axis is divided evenly, so that no region is a sliver. Raises InputError for a side below 1.
    """
    if side < 1:
        raise InputError(f"regions of {side} voxels", allowed="at least one voxel", remedy="choose larger regions")
    return np.linspace(0, length, max(1, round(length / side)) + 1).astype(np.int64)


@dataclass(frozen=True)
class RegionSums:
    """Sums over regions, a row for each, in the order of section, row and column.

    Parameters
    ----------
    section, row, column
        int64 (n,): where the region is, in sections of the volume and in regions from the top and from the left.
    sums
        int64 (n, len(MEASURED)): voxels as they are, all else in multiples of 2^-16.
    """

    section: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    sums: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.section)


def sum_regions(
    raw: NDArray,
    entropy: NDArray[np.float32],
    error: NDArray[np.float32],
    counted: NDArray,
    annotated: NDArray,
    begin: Sequence[int],
    edges: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> RegionSums:
    """Sum up over the regions of a block what is measured of its voxels.

    Parameters
    ----------
    raw
        Image (z, y, x) of the block and, behind it, of max(TEXTURES) voxels more along y and x (mirrored where the
        volume ends); integers are fractions of their type's largest number, floats in [0, 1] are taken as they are.
    entropy
        (z, y, x) of the block, as `binary_entropy` returns it.
    error
        Of the same shape, as `disagreement.affinity_error` returns it: nan where no pair counts.
    counted, annotated
        Of the same shape, not 0 where voxels count at all, and where the annotation speaks.
    begin
        Where the block begins in the volume (z, y, x).
    edges
        Of the regions along y and x in the volume, as `region_edges` returns them.

    Raises InputError when shapes don't fit.
    """
    depth, height, width = entropy.shape
    beyond = max(TEXTURES)
    given = {array.shape for array in (error, counted, annotated)}
    if given != {entropy.shape} or raw.shape != (depth, height + beyond, width + beyond):
        raise InputError(
            f"measurements of shapes {sorted({entropy.shape, *given})} of an image of shape {raw.shape}",
            allowed=f"the same (z, y, x), and an image that is {beyond} voxels longer along y and x",
            remedy="read the image with voxels behind the block",
        )
    rows, row_starts = _touched(edges[0], begin[1], height)
    columns, column_starts = _touched(edges[1], begin[2], width)
    found = []
    for z in range(depth):  # a section at a time: maps of whole numbers take much more memory than the block
        image = _fractions(raw[z])
        here = counted[z] != 0
        compared = here & np.isfinite(error[z])
        maps = [here, here & (annotated[z] != 0), _whole(entropy[z]), compared, _whole(np.nan_to_num(error[z]))]
        maps += [_whole(image[:height, :width]), _whole(image[:height, :width] ** 2)]
        maps += [_whole(_differences(image, step, (height, width))) for step in TEXTURES]
        for number, values in enumerate(maps):
            by_row = np.add.reduceat(np.where(here, values, 0), row_starts, axis=0, dtype=np.int64)
            maps[number] = np.add.reduceat(by_row, column_starts, axis=1)
        found.append(np.stack(maps, axis=-1))
    place = np.meshgrid(np.arange(begin[0], begin[0] + depth), rows, columns, indexing="ij")
    section, row, column = (axis.ravel().astype(np.int64) for axis in place)
    return RegionSums(section, row, column, np.stack(found).reshape(-1, len(MEASURED)))


def merge_regions(parts: Sequence[RegionSums]) -> RegionSums:
    """Add up the tables of disjoint blocks of a volume: the result is the table of the whole, in any order."""
    place = np.concatenate([np.stack([part.section, part.row, part.column], axis=1) for part in parts])
    kept, number = np.unique(place, axis=0, return_inverse=True)
    sums = np.zeros((len(kept), len(MEASURED)), np.int64)
    np.add.at(sums, number.reshape(-1), np.concatenate([part.sums for part in parts]))
    section, row, column = kept.T.copy()
    return RegionSums(section, row, column, sums)


def describe_regions(table: RegionSums) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return uncertainty (mean entropy, bits), disagreement (mean error), and what regions look like.

    The last is (n, 2 + len(TEXTURES)): mean intensity, its standard deviation, and for each distance of `TEXTURES` the
    mean difference of two voxels so far apart, divided by that deviation, which says how fine the texture is whatever
    its contrast. All are 0 where nothing counts.
    """
    value = dict(zip(MEASURED, table.sums.T.astype(np.float64), strict=True))
    voxels, compared = np.maximum(value["counted"], 1), np.maximum(value["compared"], 1)
    uncertainty, disagreement = value["entropy"] * UNIT / voxels, value["error"] * UNIT / compared
    mean = value["intensity"] * UNIT / voxels
    variance = value["square"] * UNIT / voxels - mean**2
    # below the rounding of the sums there is nothing but noise
    deviation = np.sqrt(np.where(variance > 4 * UNIT, variance, 0))
    looks = [mean, deviation]
    for step in TEXTURES:
        difference = value[f"texture_{step}"] * UNIT / voxels
        looks.append(np.divide(difference, deviation, out=np.zeros_like(mean), where=deviation > 0))
    return uncertainty, disagreement, np.stack(looks, axis=1)


def lag_sums(raw: NDArray, counted: NDArray, first: int, depth: int) -> NDArray[np.int64]:
    """Return the sums from which `correlations` says how alike sections of a block and later ones are.

    Parameters
    ----------
    raw, counted
        Image (z, y, x) of the block and of the max(LAGS) sections behind it, as far as the volume has them; not 0
        where voxels count. Intensities as in `sum_regions`.
    first, depth
        The first section of the block in the volume, and how many sections it has.

    Returns
    -------
    int64 (len(LAGS), 6): pairs of voxels, then in multiples of 2^-16 the sums of x, y, x^2, y^2 and x y over them.
    """
    sums = np.zeros((len(LAGS), 6), np.int64)
    for z in range(-first % EVERY, depth, EVERY):
        for number, lag in enumerate(LAGS):
            if z + lag < len(raw):
                both = (counted[z] != 0) & (counted[z + lag] != 0)
                x, y = _fractions(raw[z][both]), _fractions(raw[z + lag][both])
                sums[number, 0] += len(x)
                sums[number, 1:] += [int(_whole(values).sum()) for values in (x, y, x * x, y * y, x * y)]
    return sums


def correlations(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the correlation (0 to 1) of sections `LAGS` apart from the sums of all blocks of a volume; 0 if unknown.

    Sections that differ more than by chance (a negative correlation) count as unlike.
    """
    pairs = np.maximum(sums[:, 0], 1)
    x, y, xx, yy, xy = (sums[:, 1:] * UNIT / pairs[:, None]).T
    spread = np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0)
    known = spread > (4 * UNIT) ** 2
    return np.clip(np.divide(xy - x * y, np.sqrt(spread), out=np.zeros(len(sums)), where=known), 0, 1)


def _touched(edges: NDArray[np.int64], begin: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the regions along an axis that a block meets, and where each begins in the block."""
    numbers = np.flatnonzero((edges[1:] > begin) & (edges[:-1] < begin + length))
    return numbers, np.maximum(edges[numbers] - begin, 0)


def _fractions(raw: NDArray) -> NDArray[np.float32]:
    scale = np.iinfo(raw.dtype).max if raw.dtype.kind in "iu" else 1
    return raw.astype(np.float32) / np.float32(scale)


def _whole(values: NDArray) -> NDArray[np.int64]:
    """Values as whole multiples of the unit."""
    return np.rint(values.astype(np.float64) / UNIT).astype(np.int64)


def _differences(image: NDArray[np.float32], step: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Mean absolute difference of a voxel to those `step` further along y and along x."""
    height, width = shape
    here = image[:height, :width]
    down, right = image[step : step + height, :width], image[:height, step : step + width]
    return (np.abs(down - here) + np.abs(right - here)) / 2
