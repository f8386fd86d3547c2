"""Which sections, and which regions of them, to annotate next.

A region is worth annotating where the net is unsure (the entropy of its affinities, as in uncertainty sampling), where
the segmentation contradicts the net (disagreement), and where it looks like nothing that is annotated (the distance to
the nearest region that is, which chosen greedily covers all there is: the k-centre of Sener and Savarese, ICLR 2018).
The three have no common unit, so each counts by how many standard deviations it is above the mean of what could be
suggested: 0.5 is the mean, 1 is three deviations above or more, so that no artefact of the image outweighs all else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sparse2dense.ops.regions import LAGS

__all__ = ["PARTS", "Regions", "Suggestion", "closeness", "suggest"]

PARTS = ("uncertainty", "disagreement", "novelty")
MOST = 3.0
"""Standard deviations from the mean at which a score is 0 or 1."""


@dataclass(frozen=True)
class Regions:
    """The regions of all volumes, a row for each, in the order in which equally good ones are suggested.

    Parameters
    ----------
    volume, section, row, column
        int64 (n,): the number of the volume, and the place in it.
    voxels, counted
        int64 (n,): of the region, and those of them that count.
    annotated
        bool (n,): whether the annotation speaks anywhere in it.
    uncertainty, disagreement, looks
        float64 (n,), (n,) and (n, k), as `ops.regions.describe_regions` returns them.
    """

    volume: NDArray[np.int64]
    section: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    voxels: NDArray[np.int64]
    counted: NDArray[np.int64]
    annotated: NDArray[np.bool_]
    uncertainty: NDArray[np.float64]
    disagreement: NDArray[np.float64]
    looks: NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A section or region to annotate.

    Parameters
    ----------
    regions
        Rows of `Regions`: one, or all of the section.
    gain
        From 0 to 1: the mean of the three scores, less what a close section says already, over all voxels; voxels that
        don't count add nothing. Never more than that of the suggestion before.
    parts, scores
        Uncertainty (bits), disagreement and novelty, and how each counts, from 0 to 1; means over voxels.
    closeness
        How alike the nearest section is, from 0 to 1, that is annotated or was suggested before; likewise.
    """

    regions: NDArray[np.int64]
    gain: float
    parts: dict[str, float]
    scores: dict[str, float]
    closeness: float


def closeness(distance: NDArray, correlations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how alike two sections are that are so many sections apart: 1 at 0, 0 from twice the largest lag on.

    `correlations` are those of sections `LAGS` apart; between them it is interpolated.
    """
    return np.interp(distance, [0, *LAGS, 2 * LAGS[-1]], [1, *correlations, 0])


class _Known:
    """What annotation, and what is suggested to become one, says of every region."""

    def __init__(
        self, regions: Regions, correlations: Sequence[NDArray[np.float64]], looks: NDArray[np.float64]
    ) -> None:
        self.regions, self.correlations, self.looks = regions, correlations, looks
        # with nothing annotated, what differs most from the average is newest
        self.novelty = np.sqrt((looks**2).sum(axis=1))
        self.closeness = np.zeros(len(looks))
        # stacks are the regions above each other: those of one row and column of a volume
        height, width = (int(axis.max()) + 1 for axis in (regions.row, regions.column))
        place = (regions.volume * height + regions.row) * width + regions.column
        _, self.stack = np.unique(place, return_inverse=True)
        self.members = np.argsort(self.stack, kind="stable")
        self.begin = np.searchsorted(self.stack[self.members], np.arange(int(self.stack.max()) + 2))
        annotated = np.flatnonzero(regions.annotated)
        if (regions.counted[annotated] > 0).any():
            self.novelty[:] = np.inf
        self.add(annotated)

    def add(self, known: NDArray[np.int64]) -> None:
        """Take regions as known."""
        seen = known[self.regions.counted[known] > 0]
        if len(seen):
            distance, _ = cKDTree(self.looks[seen]).query(self.looks)
            self.novelty = np.minimum(self.novelty, distance)
        known = known[np.lexsort((self.regions.section[known], self.stack[known]))]
        for group in np.split(known, np.flatnonzero(np.diff(self.stack[known])) + 1) if len(known) else ():
            stack = self.stack[group[0]]
            rows = self.members[self.begin[stack] : self.begin[stack + 1]]
            away = _nearest(self.regions.section[rows], self.regions.section[group])
            alike = closeness(away, self.correlations[int(self.regions.volume[group[0]])])
            self.closeness[rows] = np.maximum(self.closeness[rows], alike)


def _nearest(sections: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how far each section is from the nearest of those known, which ascend."""
    after = np.searchsorted(known, sections)
    above, below = known[np.minimum(after, len(known) - 1)], known[np.maximum(after - 1, 0)]
    return np.minimum(np.abs(above - sections), np.abs(sections - below))


def suggest(
    regions: Regions, correlations: Sequence[NDArray[np.float64]], count: int, *, whole_sections: bool
) -> list[Suggestion]:
    """Choose what to annotate next, best first, one after the other.

    What is chosen counts as known for the next choice. So a choice isn't beside, and doesn't look like, those before it
    unless that is worth it.

    Parameters
    ----------
    regions
        Of all volumes.
    correlations
        Of every volume, as `ops.regions.correlations` returns them.
    count
        How many are suggested of a volume at most.
    whole_sections
        Whether sections are suggested, of which nothing is annotated yet, or single regions.
    """
    if not len(regions.volume):
        return []
    if whole_sections:
        place = np.stack([regions.volume, regions.section], axis=1)
        unit = np.unique(place, axis=0, return_inverse=True)[1].reshape(-1)
    else:
        unit = np.arange(len(regions.volume))
    total = np.bincount(unit, regions.voxels)
    open_units = np.bincount(unit, regions.annotated) == 0
    volume_of = np.zeros(len(total), np.int64)
    volume_of[unit] = regions.volume
    chosen: list[Suggestion] = []
    left = np.full(int(volume_of.max()) + 1, count)
    known = _Known(regions, correlations, _standardised(regions))
    candidates = open_units[unit] & (regions.counted > 0)
    if not candidates.any():
        return []
    scales = {name: _scale(_part(regions, known, name)[candidates]) for name in PARTS}
    while True:
        scores = {name: _score(_part(regions, known, name), *scales[name]) for name in PARTS}
        worth = sum(scores.values()) / len(PARTS) * (1 - known.closeness)
        gain = np.bincount(unit, worth * regions.counted) / total
        gain[~open_units | (left[volume_of] == 0)] = 0
        best = int(np.argmax(gain))
        if not gain[best] > 0:
            return chosen
        rows = np.flatnonzero(unit == best)
        means = {name: _mean(_part(regions, known, name), regions, rows) for name in PARTS}
        counts_as = {name: _mean(scores[name], regions, rows) for name in PARTS}
        alike = _mean(known.closeness, regions, rows)
        chosen.append(Suggestion(rows, float(gain[best]), means, counts_as, alike))
        open_units[best] = False
        left[volume_of[best]] -= 1
        known.add(rows)


def _standardised(regions: Regions) -> NDArray[np.float64]:
    """Looks with mean 0 and deviation 1 over all voxels that count, divided so that distances don't grow with k."""
    weight = regions.counted / max(1, int(regions.counted.sum()))
    centred = regions.looks - weight @ regions.looks
    deviation = np.sqrt(weight @ centred**2)
    # what hardly varies beside its own size is rounding
    varies = deviation > 1e-6 * np.abs(regions.looks).max(axis=0)
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=varies)
    return np.asarray(scaled / np.sqrt(regions.looks.shape[1]))


def _part(regions: Regions, known: _Known, name: str) -> NDArray[np.float64]:
    """Return one of `PARTS` of every region."""
    return known.novelty if name == "novelty" else np.asarray(getattr(regions, name))


def _scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, which is 0 where values differ by rounding only."""
    mean, deviation = float(values.mean()), float(values.std())
    return mean, deviation if deviation > 1e-9 * abs(mean) else 0.0


def _score(values: NDArray[np.float64], mean: float, deviation: float) -> NDArray[np.float64]:
    """Return how a part counts: 0.5 at the mean, 0 and 1 at so many deviations from it and beyond."""
    if deviation == 0:
        return np.where(values < mean - 1e-9 * abs(mean), 0, 0.5)
    return np.asarray(np.clip(0.5 + (values - mean) / (2 * MOST * deviation), 0, 1))


def _mean(values: NDArray[np.float64], regions: Regions, rows: NDArray[np.int64]) -> float:
    """Mean over the voxels of some regions that count."""
    return float(np.average(values[rows], weights=regions.counted[rows]))
