"""Imitated errors of a 2D net: where they are, and that they are nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.corruption import Corruption, Degradation, corrupt, degrade
from tests.voronoi import voronoi

NOTHING = Corruption(tries=1, split=0.0, merge=0.0, artefact=0.0, missing=0.0, shift=0.0, erosion=0)
CLEAN = Degradation(
    faint=0.0, spurious=0.0, noise=0.0, intensity_channel=0.0, intensity_section=0.0, blur=0.0, low_contrast=0.0
)


def changed_sections(before: NDArray, after: NDArray) -> NDArray:
    return np.flatnonzero((before != after).any(axis=(1, 2)))


@pytest.mark.parametrize("seed", range(4))
def test_splits_add_labels_in_few_sections(seed: int) -> None:
    labels = voronoi((12, 40, 41), 8, seed)
    found = corrupt(labels, np.random.default_rng(seed), replace(NOTHING, split=1.0))
    sections = changed_sections(labels, found)
    assert len(sections) <= 2
    assert (found[found != labels] == 9).all()
    assert len(np.unique(labels[found != labels])) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_merges_join_touching_objects(seed: int) -> None:
    labels = voronoi((12, 40, 41), 8, seed)
    found = corrupt(labels, np.random.default_rng(seed), replace(NOTHING, merge=1.0))
    sections = changed_sections(labels, found)
    assert 1 <= len(sections) <= 2
    lost, kept = np.unique(labels[found != labels]), np.unique(found[found != labels])
    assert len(lost) == len(kept) == 1 and kept[0] in labels
    for z in sections:
        assert lost[0] not in found[z]


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_a_merge_leaves_no_seam(gap: int) -> None:
    """Background between the two, such as erosion leaves, goes to the object; other background stays."""
    labels = np.zeros((1, 30, 40), np.uint64)
    labels[0, 2:20, 3:15] = 2**63 + 1
    labels[0, 2:20, 15 + gap : 34] = 2**63 + 2
    found = corrupt(labels, np.random.default_rng(0), replace(NOTHING, tries=5, merge=1.0))[0]
    joined = np.unique(found[2:20, 3:34])
    assert len(joined) == 1 and joined[0] in (2**63 + 1, 2**63 + 2)
    found[2:20, 3:34] = 0
    assert not found.any()


def test_a_merge_fills_nothing_behind_a_third_object() -> None:
    """What lies between is what no other object lies between as well."""
    labels = np.zeros((1, 9, 20), np.uint32)
    labels[0, :, :5], labels[0, :4, 6:10], labels[0, 4:, 7:9], labels[0, 4:, 10:] = 1, 2, 3, 2
    first, second = labels == 1, labels == 2
    found = [corrupt(labels, np.random.default_rng(seed), replace(NOTHING, merge=1.0)) for seed in range(40)]
    assert any((f[first] == f[second].max()).all() for f in found)
    assert not any((f[0, 5:, 9] == f[0, 5:, 4]).any() for f in found)


def test_artefacts_are_new_small_objects() -> None:
    labels = voronoi((12, 40, 41), 8)
    found = corrupt(labels, np.random.default_rng(2), replace(NOTHING, tries=3, artefact=1.0))
    new = np.unique(found[found != labels])
    assert set(new) <= {9, 10, 11} and len(new) > 1
    for label in new:
        per_section = (found == label).sum(axis=(1, 2))
        assert per_section.max() <= 17**2 and np.count_nonzero(per_section) <= 2


def test_new_labels_never_collide_and_operations_are_independent() -> None:
    """Each operation happens without the others in some samples, which one shared draw would rule out."""
    labels = voronoi((8, 30, 30), 6)
    rng = np.random.default_rng(0)
    merged = split = 0
    for _ in range(40):
        found = corrupt(labels, rng, replace(NOTHING, split=0.5, merge=0.5))
        fresh = bool((found > 6).any())
        other = bool(((found != labels) & (found <= 6)).any())
        split += fresh and not other
        merged += other and not fresh
    assert split > 2 and merged > 2


def test_missing_and_shifted_sections_are_whole_sections() -> None:
    labels = voronoi((200, 12, 13), 30, seed=6)
    gone = corrupt(labels, np.random.default_rng(1), replace(NOTHING, missing=0.2))
    empty = ~gone.any(axis=(1, 2))
    assert 20 < empty.sum() < 60
    np.testing.assert_array_equal(gone[~empty], labels[~empty])
    moved = corrupt(labels, np.random.default_rng(1), replace(NOTHING, shift=0.3, shift_sigma=2.0))
    z = changed_sections(labels, moved)[0]
    assert any(
        (np.roll(labels[z], (dy, dx), (0, 1))[6:7, 6:7] == moved[z][6:7, 6:7]).all()
        for dy in range(-5, 6)
        for dx in range(-5, 6)
    )
    assert 20 < len(changed_sections(labels, moved)) < 90


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (3, 2, 90)])
def test_small_and_empty_volumes_pass(shape: tuple[int, int, int]) -> None:
    always = Corruption(split=1.0, merge=1.0, artefact=1.0, shift=1.0)
    for labels in (np.zeros(shape, np.uint32), np.ones(shape, np.uint32), np.full(shape, 2**63, np.uint64)):
        found = corrupt(labels, np.random.default_rng(0), always)
        assert found.shape == shape and found.dtype == labels.dtype


def test_input_is_left_alone_and_seeds_repeat() -> None:
    labels = voronoi((8, 30, 30), 6)
    before = labels.copy()
    always = Corruption(split=1.0, merge=1.0, artefact=1.0)
    first, second = (corrupt(labels, np.random.default_rng(3), always) for _ in range(2))
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(first, second)
    channels = np.random.default_rng(1).random((4, 3, 20, 21), dtype=np.float32)
    copy = channels.copy()
    once, again = (degrade(channels, np.random.default_rng(2), [2, 3]) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(channels, copy)


def test_faint_boundaries_and_false_ones_touch_only_affinities() -> None:
    channels = np.full((3, 6, 60, 60), 0.5, np.float32)
    for settings, sign in ((replace(CLEAN, faint=1.0), 1), (replace(CLEAN, spurious=1.0), -1)):
        found = degrade(channels, np.random.default_rng(4), [1, 2], settings)
        np.testing.assert_array_equal(found[0], channels[0])
        difference = sign * (found[1:] - channels[1:])
        assert difference.min() >= 0 and difference.max() > 0.05
        assert (difference > 0).mean() < 0.4


def test_blur_stays_within_section_and_channel() -> None:
    channels = np.zeros((2, 5, 31, 33), np.float32)
    channels[0, 2, 15, 16] = 1
    found = degrade(channels, np.random.default_rng(0), settings=replace(CLEAN, blur=1.0, blur_sigma=(0.5, 1.5)))
    assert 0 < found[0, 2, 15, 16] < 1
    np.testing.assert_allclose(found[0, 2].sum(), 1, atol=1e-3)
    found[0, 2] = 0
    assert not found.any()
    level = np.full((1, 2, 9, 2), 0.25, np.float32)
    blurred = degrade(level, np.random.default_rng(0), settings=replace(CLEAN, blur=1.0, blur_sigma=(0.5, 1.5)))
    np.testing.assert_allclose(blurred, level, atol=1e-3)


def test_low_contrast_takes_whole_sections_at_its_rate() -> None:
    channels = np.random.default_rng(0).random((2, 400, 9, 9), dtype=np.float32)
    settings = replace(CLEAN, low_contrast=0.1)
    faded = degrade(channels, np.random.default_rng(1), settings=settings).std(axis=(2, 3)) < 0.1
    assert (faded[0] == faded[1]).all() and 20 < faded[0].sum() < 60


def test_values_stay_within_range_and_nothing_drawn_changes_nothing() -> None:
    channels = np.random.default_rng(0).random((3, 4, 17, 19), dtype=np.float32)
    np.testing.assert_array_equal(degrade(channels, np.random.default_rng(1), [0], CLEAN), channels)
    found = degrade(channels, np.random.default_rng(1), [0], Degradation(noise=1.0, noise_sigma=(1.0, 1.0)))
    assert found.min() >= 0 and found.max() <= 1 and found.dtype == np.float32


def test_overwriting_gives_the_same_in_place() -> None:
    channels = np.random.default_rng(0).random((3, 4, 21, 19), dtype=np.float32)
    for seed in range(8):
        given = channels.copy()
        kept = degrade(given, np.random.default_rng(seed), (1, 2))
        np.testing.assert_array_equal(given, channels)
        changed = degrade(given, np.random.default_rng(seed), (1, 2), overwrite=True)
        np.testing.assert_array_equal(changed, kept)
        assert changed is given
