"""Annotations drawn from truth or painted: what is shown, what is hidden, and blocks that equal the whole."""

from collections.abc import Callable

import numpy as np
import pytest

from sparse2dense.ops import annotation
from sparse2dense.ops.annotation import Annotation, Zero

HIGH = 2**63 + 11


@pytest.fixture
def truth() -> np.ndarray:
    """Four objects of different sizes, and some 0, with ids beyond 2^63."""
    labels = np.zeros((5, 9, 11), np.uint64)
    labels[:, :4, :5] = HIGH
    labels[1:, 4:, :6] = 3
    labels[:3, :4, 5:] = 40
    labels[4, 8, 10] = 2**32 + 1
    return labels


def test_zero_is_unknown_or_background(truth: np.ndarray) -> None:
    labels, mask = annotation.painted(truth, zero="unlabelled")
    assert (labels == truth).all()
    assert (mask == (truth > 0)).all()
    labels, mask = annotation.painted(truth, zero="background")
    assert (labels == truth).all()
    assert mask.all()
    assert (labels.dtype, mask.dtype) == (np.uint64, np.uint8)


def test_a_painted_mask_decides_alone(truth: np.ndarray) -> None:
    spoken = np.zeros(truth.shape, np.int16)
    spoken[2] = -1
    zeros: tuple[Zero, ...] = ("unlabelled", "background")
    for zero in zeros:
        labels, mask = annotation.painted(truth, spoken, zero=zero)
        assert (mask == (spoken != 0)).all()
        assert (labels[2] == truth[2]).all()
        assert not labels[[0, 1, 3, 4]].any()


def test_signed_labels_are_accepted() -> None:
    labels, _ = annotation.painted(np.array([[[0, 5]]], np.int32))
    assert labels.dtype == np.uint64
    assert labels.tolist() == [[[0, 5]]]


def test_sections_show_themselves_only(truth: np.ndarray) -> None:
    labels, mask = annotation.sections(truth, [1, 4])
    assert (labels[[1, 4]] == truth[[1, 4]]).all()
    assert not labels[[0, 2, 3]].any()
    assert (mask == (labels > 0)).all()
    _, mask = annotation.sections(truth, [1, 4], zero="background")
    assert mask[[1, 4]].all()
    assert not mask[[0, 2, 3]].any()


def test_disks_are_flat_round_and_cut_at_the_edge() -> None:
    truth = np.ones((3, 21, 30), np.uint64)
    labels, mask = annotation.disks(truth, np.array([[1, 10, 12], [2, 0, 0]]), 4)
    assert (labels == mask).all()
    assert not mask[0].any()
    rows, columns = np.nonzero(mask[1])
    assert (np.hypot(rows - 10, columns - 12) <= 4).all()
    assert mask[1].sum() == sum(y * y + x * x <= 16 for y in range(-4, 5) for x in range(-4, 5))
    assert mask[2, 0, :6].tolist() == [1, 1, 1, 1, 1, 0]


def test_disks_are_drawn_from_the_chosen_sections() -> None:
    def drawn(seed: int) -> np.ndarray:
        return annotation.draw_disks((10, 7, 300), 200, np.random.default_rng(seed), chosen=[7, 2])

    assert set(drawn(1)[:, 0]) == {2, 7}
    assert drawn(1)[:, 1].max() == 6
    assert drawn(1)[:, 2].max() > 200
    assert (drawn(1) == drawn(1)).all()
    assert (drawn(1) != drawn(2)).any()


def test_objects_say_nothing_about_the_rest(truth: np.ndarray) -> None:
    labels, mask = annotation.objects(truth, np.array([0, 3, HIGH], np.uint64))
    assert sorted(np.unique(labels)) == [0, 3, HIGH]
    assert (mask == np.isin(truth, np.array([3, HIGH], np.uint64))).all()


def test_objects_are_drawn_without_repetition(truth: np.ndarray) -> None:
    statistics = annotation.label_statistics(annotation.count_labels(truth))
    ids = annotation.draw_objects(statistics, 4, np.random.default_rng(0))
    assert ids.tolist() == [3, 40, 2**32 + 1, HIGH]
    with pytest.raises(ValueError, match="larger sample"):
        annotation.draw_objects(statistics, 5, np.random.default_rng(0))


def test_parts_share_out_all_objects_evenly() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(1, 61, dtype=np.uint64), rng.integers(1, 200, 60))[None, None]
    statistics = annotation.label_statistics(annotation.count_labels(labels))
    parts = annotation.split_objects(statistics, 3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1, 61))
    voxels = [int(np.isin(labels, part).sum()) for part in parts]
    assert max(voxels) - min(voxels) <= 200
    assert [part.tolist() for part in annotation.split_objects(statistics, 3)] == [part.tolist() for part in parts]


def test_removed_objects_become_unlabelled_not_background(truth: np.ndarray) -> None:
    small = annotation.small_objects(annotation.label_statistics(annotation.count_labels(truth)), 2)
    labels, mask = annotation.remove_labels(*annotation.dense(truth, zero="background"), small)
    gone = truth == 2**32 + 1
    assert not labels[gone].any()
    assert not mask[gone].any()
    assert (labels[~gone] == truth[~gone]).all()
    assert mask[~gone].all()


def test_statistics_of_every_object(truth: np.ndarray) -> None:
    table = annotation.label_statistics(annotation.count_labels(truth))
    rows = {int(row[0]): row[1:].tolist() for row in table.to_numpy(object)}
    assert list(rows) == [3, 40, 2**32 + 1, HIGH]
    assert rows[HIGH] == [100, 5, 0, 4]
    assert rows[3] == [120, 4, 1, 4]
    assert rows[40] == [72, 3, 0, 2]
    assert rows[2**32 + 1] == [1, 1, 4, 4]


def test_empty_volumes_have_no_statistics() -> None:
    counts = annotation.count_labels(np.zeros((3, 4, 5), np.uint64))
    table = annotation.label_statistics(counts)
    assert len(table) == 0
    assert list(table.columns) == ["object", "voxels", "sections", "first_section", "last_section"]


def test_counts_of_blocks_add_up(truth: np.ndarray) -> None:
    pieces = [annotation.count_labels(truth[z : z + 2, y : y + 5], first_section=z) for z in (4, 0, 2) for y in (5, 0)]
    whole, summed = annotation.count_labels(truth), annotation.sum_counts(pieces)
    assert whole.equals(summed)
    assert summed["object"].dtype == np.uint64


CENTRES = np.array([[0, 2, 3], [3, 5, 5], [3, 8, 10]])


@pytest.mark.parametrize(
    "draw",
    [
        lambda part, begin: annotation.sections(part, [1, 3], first_section=begin[0]),
        lambda part, begin: annotation.disks(part, CENTRES, 3, begin=begin, zero="background"),
        lambda part, begin: annotation.objects(part, np.array([40], np.uint64)),
    ],
)
def test_blocks_equal_the_whole(
    truth: np.ndarray, draw: Callable[[np.ndarray, tuple[int, int, int]], Annotation]
) -> None:
    labels, mask = draw(truth, (0, 0, 0))
    for z in (0, 2, 4):
        for y in (0, 4, 8):
            for x in (0, 7):
                box = (slice(z, z + 2), slice(y, y + 4), slice(x, x + 7))
                part_labels, part_mask = draw(truth[box], (z, y, x))
                assert (part_labels == labels[box]).all()
                assert (part_mask == mask[box]).all()
