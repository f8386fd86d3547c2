"""Sums of sorted tables are exact however many rows are put together at a time, and take the memory of these."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.row_sums import sum_rows
from sparse2dense.volumes import sorted_pieces
from sparse2dense.volumes.sorted_pieces import save_rows, summed_rows

KEYS = ("kind", "section", "label")
FIRST = 2**63 - 100
KEYS_OF_TWO = ("truth", "fragment")


def saved(folder: Path, count: int, rows: int) -> list[dict[str, NDArray]]:
    """Return pieces that were written, some of them without a row; ids around 2^63 and at both ends of their type."""
    rng, pieces = np.random.default_rng(0), []
    for index in range(count):
        length = 0 if index % 5 == 3 else rows
        label = rng.integers(0, 200, length).astype(np.uint64) + np.uint64(FIRST)
        label[:2] = [0, 2**64 - 1][: len(label)]
        keys: list[NDArray] = [rng.integers(0, 2, length).astype(np.int8), rng.integers(-1, 3, length), label]
        found, sums = sum_rows(keys, [rng.integers(1, 2**40, length), np.ones(length, np.int64)])
        pieces.append(dict(zip((*KEYS, "total", "voxels"), [*found, *sums], strict=True)))
        save_rows(pieces[-1], folder, "table", index)
    return pieces


@pytest.mark.parametrize(("at_a_time", "step"), [(2**22, 256), (300, 8), (7, 1), (1, 1)])
def test_ranges_are_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int, step: int) -> None:
    monkeypatch.setattr(sorted_pieces, "ROWS", at_a_time)
    monkeypatch.setattr(sorted_pieces, "STEP", step)
    pieces = saved(tmp_path, 7, 120)
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    keys, sums = sum_rows([whole[key] for key in KEYS], [whole["total"], whole["voxels"]])
    parts = list(summed_rows(tmp_path, "table", 7, KEYS))
    assert (len(parts) == 1) == (at_a_time == 2**22)
    for name, expected in zip(whole, [*keys, *sums], strict=True):
        found = np.concatenate([part[name] for part in parts])
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_rows_of_one_key_are_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_pieces, "ROWS", 2)
    monkeypatch.setattr(sorted_pieces, "STEP", 1)
    for index in range(9):
        save_rows({"label": np.array([7, 2**64 - 1], np.uint64), "voxels": np.array([1, index])}, tmp_path, "t", index)
    parts = list(summed_rows(tmp_path, "t", 9, ["label"]))
    assert [part["label"].tolist() for part in parts] == [[7], [2**64 - 1]]
    assert [part["voxels"].tolist() for part in parts] == [[9], [36]]


def test_no_row_at_all_is_one_table_without_rows(tmp_path: Path) -> None:
    for index in range(3):
        save_rows({"u": np.zeros(0, np.uint64), "pairs": np.zeros(0, np.int64)}, tmp_path, "links", index)
    (part,) = summed_rows(tmp_path, "links", 3, ["u"])
    assert {name: (len(column), column.dtype) for name, column in part.items()} == {
        "u": (0, np.uint64), "pairs": (0, np.int64),
    }  # fmt: skip


def test_memory_is_that_of_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed number of rows at a time, whatever their sum: even all blocks of one object are parted by fragments."""
    rows = 4000
    monkeypatch.setattr(sorted_pieces, "ROWS", 10_000)
    for index in range(45):
        fragment = np.arange(rows, dtype=np.uint64) + np.uint64(FIRST + index * rows // 2)
        columns = {"truth": np.full(rows, 2**63, np.uint64), "fragment": fragment, "voxels": np.ones(rows, np.int64)}
        save_rows(columns, tmp_path, "overlaps", index)
    peaks = []
    for count in (15, 45):
        tracemalloc.start()
        try:
            total = sum(int(part["voxels"].sum()) for part in summed_rows(tmp_path, "overlaps", count, KEYS_OF_TWO))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert total == count * rows > 4 * sorted_pieces.ROWS
    assert peaks[1] < 180 * sorted_pieces.ROWS
    assert peaks[1] < 1.3 * peaks[0]
