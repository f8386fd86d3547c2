"""The colours of tracks, nets and labels: one definition for every figure and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import hsv_to_rgb

__all__ = ["DISAGREEMENT_COLOURS", "Matching", "disagreement", "label_colours", "match_labels", "track_style"]

# The palette of Okabe and Ito (2008), which readers with any common colour blindness tell apart.
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
TRACKS = {"pseudo": (ORANGE, "o"), "bootstrapped": (BLUE, "s"), "baseline": (GREEN, "^")}
SPARE_COLOURS, SPARE_MARKERS = (PURPLE, SKY, VERMILLION), ("D", "v", "P")
DISAGREEMENT_COLOURS = {"split": BLUE, "merged": VERMILLION, "missing": YELLOW}


def track_style(track: str, known: Sequence[str] = ()) -> tuple[str, str]:
    """Colour (`#rrggbb`) and marker of `track`; a track of another name takes a spare one by its place in `known`."""
    if track in TRACKS:
        return TRACKS[track]
    others = [name for name in known if name not in TRACKS]
    place = others.index(track) if track in others else 0
    turn = place // len(SPARE_COLOURS)  # colours that come again take other markers: nine looks differ
    return SPARE_COLOURS[place % len(SPARE_COLOURS)], SPARE_MARKERS[(place + turn) % len(SPARE_MARKERS)]


def _scrambled(ids: np.ndarray) -> np.ndarray:
    """Hash of uint64 ids (the finaliser of SplitMix64, Steele et al. 2014), uint64, wrapping on purpose."""
    with np.errstate(over="ignore"):
        mixed = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def label_colours(labels: np.ndarray) -> np.ndarray:
    """RGB in 0..1 (float32, one axis more than `labels`) that depends on the id alone; 0 is black.

    Colours vary in lightness as well as hue, but hundreds of objects can't all differ for every reader:
    figures draw outlines beside.
    """
    ids, places = np.unique(labels, return_inverse=True)
    mixed = _scrambled(ids)
    hue = (mixed & np.uint64(0xFFFF)).astype(np.float64) / 65536.0
    saturation = 0.45 + 0.25 * ((mixed >> np.uint64(16)) & np.uint64(3)).astype(np.float64) / 3 * 2
    value = 0.55 + 0.45 * ((mixed >> np.uint64(20)) & np.uint64(3)).astype(np.float64) / 3
    palette = hsv_to_rgb(np.stack([hue, saturation, value], axis=-1)).astype(np.float32)
    palette[ids == 0] = 0
    return np.asarray(palette[places.reshape(labels.shape)])


@dataclass(frozen=True)
class Matching:
    """Which segment stands for which truth object, by overlap; all arrays are parallel to their ids."""

    segments: np.ndarray
    partner: np.ndarray  # one to one: the truth object that lends each segment its colour, 0 where none
    main_truth: np.ndarray  # the truth object each segment shares most voxels with, 0 where none
    truth: np.ndarray
    main_segment: np.ndarray  # the segment each truth object shares most voxels with, 0 where none


def match_labels(segmentation: np.ndarray, truth: np.ndarray) -> Matching:
    """Match the segments and truth objects of two integer arrays of equal shape, largest overlap first; 0 is nobody."""
    segments, segment_at = np.unique(segmentation, return_inverse=True)
    objects, object_at = np.unique(truth, return_inverse=True)
    pairs, voxels = np.unique(segment_at.ravel() * len(objects) + object_at.ravel(), return_counts=True)
    # np.unique sorts the pairs, so a stable sort breaks ties by ids
    order = np.argsort(-voxels, kind="stable")
    partner, main_truth = np.zeros(len(segments), truth.dtype), np.zeros(len(segments), truth.dtype)
    main_segment = np.zeros(len(objects), segmentation.dtype)
    taken: set[int] = set()
    for pair in pairs[order]:
        i, j = divmod(int(pair), len(objects))
        if segments[i] == 0 or objects[j] == 0:
            continue
        if main_segment[j] == 0:
            main_segment[j] = segments[i]
        if main_truth[i] == 0:
            main_truth[i] = objects[j]
        if partner[i] == 0 and j not in taken:
            partner[i] = objects[j]
            taken.add(j)
    return Matching(segments, partner, main_truth, objects, main_segment)


def matched_colours(segmentation: np.ndarray, matching: Matching) -> np.ndarray:
    """RGB of segments in the colour of the truth object each stands for; those that stand for none have their own."""
    ids = np.unique(segmentation)
    known = np.isin(ids, matching.segments)
    partner = np.zeros(len(ids), np.uint64)
    partner[known] = matching.partner[np.searchsorted(matching.segments, ids[known])]
    # ~id is another id, so that a segment without partner doesn't wear the colour of the truth object of its number
    alone = np.where(ids == 0, np.uint64(0), ~ids.astype(np.uint64))
    return label_colours(np.where(partner == 0, alone, partner)[np.searchsorted(ids, segmentation)])


def disagreement(segmentation: np.ndarray, truth: np.ndarray, matching: Matching) -> dict[str, np.ndarray]:
    """Boolean arrays of the voxels that are `split` off, `merged` into another's segment, or `missing`."""
    main_segment = matching.main_segment[np.searchsorted(matching.truth, truth)]
    main_truth = matching.main_truth[np.searchsorted(matching.segments, segmentation)]
    covered, inside = segmentation != 0, truth != 0
    merged = covered & inside & (main_truth != truth)
    split = covered & inside & ~merged & (main_segment != segmentation)
    return {"split": split, "merged": merged, "missing": inside & ~covered}
