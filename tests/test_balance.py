"""Balanced weights: both classes weigh the same unless one is very rare."""

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.balance import balance_weights


def test_classes_weigh_the_same_where_the_mask_counts() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random((2, 3, 20, 21)) < 0.8).astype(np.uint8)
    mask = (rng.random(target.shape) < 0.5).astype(np.uint8)
    weights = balance_weights(target, mask)
    assert weights.dtype == np.float32
    assert (weights[mask == 0] == 0).all()
    np.testing.assert_allclose(weights[target == 1].sum(), weights[target == 0].sum(), rtol=1e-4)
    np.testing.assert_allclose(weights.sum(), mask.sum(), rtol=1e-4)


def test_rare_classes_are_limited() -> None:
    target = np.ones((1, 1000), np.uint8)
    target[0, 0] = 0
    weights = balance_weights(target, np.ones_like(target))
    np.testing.assert_allclose([weights[0, 0], weights[0, 1]], [10, 0.5 / 0.95], rtol=1e-6)


def test_groups_are_balanced_apart() -> None:
    target = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [1, 1, 0, 0]], np.uint8)
    mask = np.ones_like(target)
    weights = balance_weights(target, mask, [[0, 1], [2]])
    np.testing.assert_allclose(weights, np.ones((3, 4)))
    single = balance_weights(target, mask, [[0], [1], [2]])
    np.testing.assert_allclose(single[0], [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)


def test_nothing_known_weighs_nothing() -> None:
    assert not balance_weights(np.ones((2, 5), np.uint8), np.zeros((2, 5), np.uint8)).any()


def test_bad_input_is_named() -> None:
    target = np.ones((2, 5), np.uint8)
    with pytest.raises(InputError, match="groups"):
        balance_weights(target, target, [[0]])
    with pytest.raises(InputError, match="mask"):
        balance_weights(target, target[:1])
