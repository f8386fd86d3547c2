"""Where a section shows tissue: the image without the emptiness around it."""

import edt
import numpy as np
from numpy.typing import NDArray

__all__ = ["tissue_halo", "tissue_mask"]


def tissue_halo(radius: int, iterations: int) -> int:
    """Pixels around a block on which its tissue mask depends: as many dilations as erosions, each by `radius`."""
    return 2 * radius * iterations


def tissue_mask(section: NDArray, *, radius: int = 10, iterations: int = 2) -> NDArray[np.uint8]:
    """Close the gaps in the non-zero part of a section, by `iterations` dilations and then as many erosions.

    Parameters
    ----------
    section
        Image (y, x); 0 is empty, and so is everything around the image.
    radius
        Of the disc, in pixels.
    iterations
        How often the disc is applied; gaps up to about 2 * radius * iterations wide close.

    Returns
    -------
    uint8 (y, x), 1 where tissue is.
    """
    margin = radius * iterations
    mask = np.pad(section != 0, margin)
    for _ in range(iterations):
        mask = _squared_distance(~mask) <= radius**2
    for _ in range(iterations):
        mask = _squared_distance(mask) > radius**2
    inner = tuple(slice(margin, margin + n) for n in section.shape)
    return mask[inner].astype(np.uint8)


def _squared_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Squared distance of every set pixel to the nearest unset one: 0 where unset, infinite where all are set."""
    return edt.edtsq(np.ascontiguousarray(mask), black_border=False, parallel=1)
