"""What can be told from painted sections before anything is learnt from them: how much, how whole, and what 0 means."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import edt
import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.annotation import Zero

__all__ = ["REACH", "PaintedSection", "describe_section", "scant_sections", "suggest_validation", "suggest_zero"]

REACH = 8
"""Pixels: membranes, and the gap that a painter leaves at them, are narrower than twice this."""
GAP = 0.01
"""Part of a section that may be 0 and beyond `REACH` where everything was painted: corners where many objects meet."""
SCANT = 0.1
"""Sections painted less than this part of the usual one were perhaps painted by accident."""


@dataclass(frozen=True)
class PaintedSection:
    """One section that somebody painted.

    Parameters
    ----------
    number
        Its place in the volume, from 0.
    objects
        Number of different ids above 0.
    painted
        Part of its pixels that have such an id.
    bare
        Part of its pixels that are 0 and farther than `REACH` from any painted one.
    """

    number: int
    objects: int
    painted: float
    bare: float


def describe_section(labels: NDArray, number: int) -> PaintedSection | None:
    """Return what is painted on section `number`, integer ids (y, x); None where nothing is."""
    painted = labels > 0
    if not painted.any():
        return None
    ids = np.unique(labels[painted])
    bare = edt.edt(np.ascontiguousarray(~painted).view(np.uint8), black_border=False, parallel=1) > REACH
    return PaintedSection(number, len(ids), float(painted.mean()), float(bare.mean()))


def scant_sections(sections: Sequence[PaintedSection]) -> list[PaintedSection]:
    """Return sections on which next to nothing is painted, compared with the others."""
    usual = median(section.painted for section in sections)
    return [section for section in sections if section.painted < SCANT * usual]


def suggest_zero(sections: Sequence[PaintedSection]) -> tuple[Zero, PaintedSection]:
    """Return what 0 probably means in painted sections, and the section that tells.

    Where every object is painted, what is left are membranes: all 0s lie near paint. A region without paint is either
    empty or left out, which only the painter knows; then the answer is the one that claims less, `unlabelled`.

    Parameters
    ----------
    sections
        At least one.
    """
    scant = scant_sections(sections)
    barest = max((section for section in sections if section not in scant), key=lambda section: section.bare)
    return ("background" if barest.bare <= GAP else "unlabelled"), barest


def suggest_validation(sections: Sequence[PaintedSection]) -> int | None:
    """Return the section to keep out of the training: the last one that is painted as much as the others.

    None for fewer than three sections, of which none can be spared.
    """
    if len(sections) < 3:
        return None
    usual = median(section.painted for section in sections)
    return next(section.number for section in reversed(sections) if section.painted >= usual / 2)
