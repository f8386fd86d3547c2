"""Tables of parts add up to that of the whole, row by row."""

from collections import Counter

import numpy as np
import pytest

from sparse2dense.ops.row_sums import equal_rows, sum_rows


@pytest.mark.parametrize("rows", [0, 1, 2, 500])
def test_every_key_is_there_once_with_its_sum(rows: int) -> None:
    """Keys of several types, those around 2^63 told apart."""
    rng = np.random.default_rng(rows)
    section, label = rng.integers(-1, 2, rows), rng.integers(0, 9, rows).astype(np.uint64) + np.uint64(2**63 - 4)
    kind, count = rng.integers(0, 2, rows).astype(np.int8), rng.integers(-5, 2**40, rows)
    expected: Counter[tuple[int, ...]] = Counter()
    for *key, value in zip(kind.tolist(), section.tolist(), label.tolist(), count.tolist(), strict=True):
        expected[tuple(key)] += value
    keys, sums = sum_rows([kind, section, label], [count, np.ones(rows, np.int64)])
    assert [key.dtype for key in keys] == [np.int8, np.int64, np.uint64]
    assert list(zip(*(key.tolist() for key in keys), strict=True)) == sorted(expected)
    assert sums[0].tolist() == [expected[key] for key in sorted(expected)]
    assert sums[1].sum() == rows
    assert {column.dtype for column in sums} == {np.dtype(np.int64)}


def test_rows_of_equal_keys_stay_as_they_come() -> None:
    order, starts = equal_rows([np.array([3, 1, 3, 1, 1]), np.array([0, 2, 0, 2, 1])])
    assert order.tolist() == [4, 1, 3, 0, 2]
    assert starts.tolist() == [0, 1, 3]
