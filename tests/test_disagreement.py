"""Disagreement without truth: the same scale everywhere, and blocks add up to the volume."""

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities, axis_offsets
from sparse2dense.ops.descriptors import local_shape_descriptors, section_descriptors
from sparse2dense.ops.disagreement import (
    Disagreement,
    affinity_error,
    affinity_halo,
    descriptor_error,
    descriptor_halo,
    mean_errors,
    sum_errors,
)
from sparse2dense.volumes.grid import Block, Box, blocks
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

HUGE = 2**63
SHAPE = (9, 22, 27)
SIGMA = (1.5, 3.0, 3.0)
FAR = axis_offsets((1, 1, 1), (2, 5, 7))


def labels_of(seed: int = 0) -> np.ndarray:
    """Return objects with huge ids, and some background."""
    labels = voronoi(SHAPE, 7, seed, ids=range(HUGE - 3, HUGE + 4))
    labels[2:5, 3:9, 4:11] = 0
    return labels


def rows(table: Disagreement) -> list[tuple[int, ...]]:
    """Return a table as tuples of Python integers."""
    columns = (table.label, table.section, table.error, table.voxels)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def summed(tables: Iterable[Disagreement]) -> Counter[tuple[int, int, str]]:
    """Return the sums of tables of parts, per object and section."""
    sums: Counter[tuple[int, int, str]] = Counter()
    for label, section, error, voxels in (row for table in tables for row in rows(table)):
        sums[label, section, "error"] += error
        sums[label, section, "voxels"] += voxels
    return sums


def test_a_segmentation_agrees_with_its_own_affinities_and_descriptors() -> None:
    labels = labels_of()
    error = affinity_error(affinities(labels, FAR).astype(np.float32), labels, FAR)
    assert np.nanmax(error) == 0
    assert affinity_error(affinities(labels, FAR) * np.uint8(255), labels, FAR)[1:].max() == 0
    for exact, sigma in (
        (local_shape_descriptors(labels, SIGMA), SIGMA),
        (section_descriptors(labels, SIGMA[1:]), SIGMA[1:]),
    ):
        assert np.nanmax(descriptor_error(exact, labels, sigma)) == 0
        quantised = np.rint(exact * 255).astype(np.uint8)
        assert np.nanmax(descriptor_error(quantised, labels, sigma)) <= 0.51 / 255
        assert np.nanmean(descriptor_error(exact, labels_of(3), sigma)) > 0.05


def test_affinity_errors_by_hand() -> None:
    predicted = np.zeros((2, 1, 1, 3), np.float32)
    predicted[0, 0, 0] = (0.9, 0.75, 0.5)
    predicted[1, 0, 0] = (0.9, 0.9, 0.25)
    labels = np.array([[[4, 4, 5]]], np.uint64)
    offsets = [[0, 0, -1], [0, 0, -2]]
    error = affinity_error(predicted, labels, offsets)
    assert error.dtype == np.float32
    assert np.isnan(error[0, 0, 0]), "both pairs leave the volume"
    assert error[0, 0, 1:].tolist() == pytest.approx([0.25, (0.5 + 0.25) / 2])
    squared = affinity_error(predicted, labels, offsets, measure="squared")
    assert squared[0, 0, 1:].tolist() == pytest.approx([0.0625, (0.25 + 0.0625) / 2])
    bytes_ = affinity_error(np.rint(predicted * 255).astype(np.uint8), labels, offsets)
    assert bytes_[0, 0, 1:].tolist() == pytest.approx([0.25, 0.375], abs=1 / 255)
    assert affinity_error(predicted, 0 * labels, offsets)[0, 0, 1] == 0.75


def test_errors_dont_depend_on_what_else_is_in_the_block() -> None:
    labels = np.ones((1, 1, 8), np.uint64)
    calm, wild = np.full((1, 1, 1, 8), 0.9), np.full((1, 1, 1, 8), 0.9)
    wild[..., 6] = 0
    one, two = (affinity_error(values, labels, [[0, 0, -1]]) for values in (calm, wild))
    assert one[0, 0, 3] == two[0, 0, 3] == pytest.approx(0.1)
    assert two[0, 0, 6] == 1


def blockwise(
    block_shape: tuple[int, ...], halo: tuple[int, ...], error_of: Callable[[Box, Box], np.ndarray]
) -> tuple[np.ndarray, list[tuple[Block, np.ndarray]]]:
    """Return the errors of the volume put together from blocks, and those of each block."""
    whole = np.full(SHAPE, -1, np.float32)
    parts = []
    for block in blocks(SHAPE, block_shape, halo):
        read = tuple(slice(max(r.start, 0), min(r.stop, n)) for r, n in zip(block.read, SHAPE, strict=True))
        inner = tuple(slice(w.start - r.start, w.stop - r.start) for w, r in zip(block.write, read, strict=True))
        parts.append((block, error_of(read, inner)))
        whole[block.write] = parts[-1][1]
    return whole, parts


def test_blocks_with_a_halo_have_the_errors_of_the_volume() -> None:
    labels, predicted = labels_of(), noisy_affinities(labels_of(1), FAR)
    assert affinity_halo(FAR) == (2, 5, 7)
    found, parts = blockwise(
        (4, 10, 9),
        affinity_halo(FAR),
        lambda read, inner: affinity_error(predicted[:, *read], labels[read], FAR, inner),
    )
    expected = affinity_error(predicted, labels, FAR)
    assert np.array_equal(found, expected, equal_nan=True)
    tables = [sum_errors(error, labels[block.write], block.write[0].start) for block, error in parts]
    assert summed(tables) == summed([sum_errors(expected, labels)])


@pytest.mark.parametrize(("channels", "downsample"), [(10, 1), (10, 2), (6, 1), (6, 2)])
def test_blocks_describe_objects_as_the_volume_does(channels: int, downsample: int) -> None:
    labels = labels_of()
    predicted = np.random.default_rng(0).random((channels, *SHAPE)).astype(np.float32)
    halo = descriptor_halo(SIGMA, channels, downsample)
    found, _ = blockwise(
        (4, 10, 8),
        halo,
        lambda read, inner: descriptor_error(
            predicted[:, *read], labels[read], SIGMA, inner, "squared", downsample=downsample
        ),
    )
    expected = descriptor_error(predicted, labels, SIGMA, None, "squared", downsample=downsample)
    assert np.allclose(found, expected, atol=1e-5, equal_nan=True)
    assert np.array_equal(np.isnan(found), labels == 0)
    assert (halo[0] == 0) == (channels == 6)


def test_sums_per_object_and_section() -> None:
    error = np.array([[[0.5, 0.25]], [[1, np.nan]], [[0.125, 0.375]]], np.float32)
    labels = np.array([[[HUGE, 3]], [[HUGE, 3]], [[3, 0]]], np.uint64)
    table = sum_errors(error, labels, first_section=40)
    ids, errors, voxels = table.object_sums()
    assert ids.tolist() == [0, 3, HUGE]
    assert mean_errors(errors, voxels).tolist() == [0.375, 0.1875, 0.75]
    assert voxels.tolist() == [1, 2, 2]
    sections, errors, voxels = table.section_sums()
    assert sections.tolist() == [40, 41, 42]
    assert mean_errors(errors, voxels).tolist() == [0.375, 1, 0.25]
    assert voxels.tolist() == [2, 1, 2]
    masked = sum_errors(error, labels, 40, counted=labels == 3)
    assert rows(masked) == [(3, 40, 2**14, 1), (3, 42, 2**13, 1)]


def test_sums_of_sections_are_those_of_the_volume() -> None:
    error, labels = np.random.default_rng(0).random(SHAPE).astype(np.float32), labels_of()
    whole = sum_errors(error, labels)
    assert rows(whole) == sorted(row for z in range(SHAPE[0]) for row in rows(sum_errors(error[[z]], labels[[z]], z)))
    (mean,) = mean_errors(whole.error.sum(keepdims=True), whole.voxels.sum(keepdims=True))
    assert mean == pytest.approx(float(error.mean()), abs=1e-5)


def test_nothing_that_counts_has_no_mean() -> None:
    labels = np.zeros((1, 2, 2), np.uint8)
    nothing = descriptor_error(np.zeros((10, 1, 2, 2), np.uint8), labels, (1, 1, 1))
    for table in (sum_errors(nothing, labels), sum_errors(nothing[:0], labels[:0])):
        assert len(table) == len(table.object_sums()[0]) == len(table.section_sums()[0]) == 0
    assert np.isnan(mean_errors(np.zeros(1, np.int64), np.zeros(1, np.int64))).all()


def test_what_cannot_be_compared_is_refused() -> None:
    labels, predicted = np.ones((2, 3, 4), np.uint64), np.zeros((3, 2, 3, 4), np.float32)
    with pytest.raises(InputError, match=r"predictions of shape \(3, 2, 3, 4\)") as caught:
        affinity_error(predicted, labels, OFFSETS[:2])
    assert "2 channels" in caught.value.allowed
    with pytest.raises(InputError, match="predictions of shape"):
        affinity_error(predicted, labels[:1], OFFSETS)
    with pytest.raises(InputError, match="predictions of shape") as caught:
        descriptor_error(predicted, labels, SIGMA)
    assert "6 or 10 channels" in caught.value.allowed
    with pytest.raises(InputError, match=r"type float32 from 0\.0 to 1\.5"):
        affinity_error(predicted + np.float32(1.5), labels, OFFSETS)
    with pytest.raises(InputError, match="type uint16"):
        affinity_error(predicted.astype(np.uint16), labels, OFFSETS)
    with pytest.raises(InputError, match="type float32 from nan"):
        affinity_error(predicted + np.float32(np.nan), labels, OFFSETS)
    with pytest.raises(InputError, match="measure 'cubed'"):
        affinity_error(predicted, labels, OFFSETS, measure="cubed")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="errors of shape"):
        sum_errors(predicted[0], labels[:1])
