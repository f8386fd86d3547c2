"""The sum of the graphs of blocks is exact, and takes the memory of a range of it."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.ops.graph import RegionGraph, merge_graphs
from sparse2dense.volumes import sorted_pieces
from sparse2dense.volumes.graph_pieces import save_piece, sums_of_pieces

SCALE = 255
PER_PIECE = 200


def piece_of(rng: np.random.Generator, index: int, edges: int, more: bool) -> RegionGraph:
    """Return a graph of fragments of its own block and the one before, ids from 2^63 on."""
    first = 2**63 + (index - 1) * PER_PIECE
    ends = np.sort(rng.choice(2 * PER_PIECE, (edges, 2)), axis=1)
    ends = np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0)
    u, v = (column.astype(np.uint64) + np.uint64(first) for column in ends.T)
    fragments = np.unique(rng.choice(2 * PER_PIECE, edges)).astype(np.uint64) + np.uint64(first)

    def numbers(length: int) -> NDArray[np.int64]:
        return rng.integers(1, 1000, length)

    if not more:
        return RegionGraph(u, v, numbers(len(u)), numbers(len(u)), fragments, numbers(len(fragments)), SCALE)
    lengths = rng.integers(0, 5, len(u))  # none for edges that only far affinities cross
    bins = [np.sort(rng.choice(256, length, replace=False)).astype(np.uint8) for length in lengths]
    return RegionGraph(
        u, v, numbers(len(u)), numbers(len(u)), fragments, numbers(len(fragments)), SCALE,
        far_count=numbers(len(u)), far_total=numbers(len(u)), bin_start=np.concatenate([[0], np.cumsum(lengths)]),
        bin=np.concatenate([np.zeros(0, np.uint8), *bins]), bin_count=numbers(int(lengths.sum())),
    )  # fmt: skip


def saved(folder: Path, count: int, edges: int, more: bool = False) -> list[RegionGraph]:
    """Return pieces that were written, some of them without a row."""
    rng = np.random.default_rng(0)
    pieces = [piece_of(rng, index, 0 if index % 7 == 3 else edges, more) for index in range(count)]
    for index, piece in enumerate(pieces):
        save_piece(piece, folder, index)
    return pieces


def joined(parts: list[RegionGraph], name: str) -> NDArray:
    """Return an array of all parts, the starts of histograms as their lengths."""
    arrays = [getattr(part, name) for part in parts]
    return np.concatenate([np.diff(array) for array in arrays] if name == "bin_start" else arrays)


@pytest.mark.parametrize("more", [True, False], ids=["all statistics", "contacts only"])
@pytest.mark.parametrize(("rows", "step"), [(2**22, 256), (500, 8), (9, 1)])
def test_ranges_are_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bool, rows: int, step: int) -> None:
    monkeypatch.setattr(sorted_pieces, "ROWS", rows)
    monkeypatch.setattr(sorted_pieces, "STEP", step)
    whole = merge_graphs(saved(tmp_path, 12, 150, more))
    parts = list(sums_of_pieces(tmp_path, 12, SCALE))
    assert (len(parts) > 5) == (rows < 2**22)
    for name, expected in vars(whole).items():
        if isinstance(expected, np.ndarray):
            found = joined(parts, name)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, np.diff(expected) if name == "bin_start" else expected)
    assert all(part.scale == SCALE and (part.far_total is None) != more for part in parts)


def test_no_fragment_at_all_is_one_graph_without_rows(tmp_path: Path) -> None:
    pieces = [piece_of(np.random.default_rng(0), index, 0, True) for index in range(3)]
    for index, piece in enumerate(pieces):
        save_piece(piece, tmp_path, index)
    (part,) = sums_of_pieces(tmp_path, 3, SCALE)
    assert len(part) == len(part.fragments) == 0
    assert part.bin_start is not None and part.bin_start.tolist() == [0]


def test_memory_is_that_of_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed number of rows at a time, however many pieces there are; all at once take several times as much."""
    monkeypatch.setattr(sorted_pieces, "ROWS", 20_000)
    pieces = saved(tmp_path, 60, 4000)
    rows = sum(len(piece) + len(piece.fragments) for piece in pieces)
    del pieces
    list(sums_of_pieces(tmp_path, 3, SCALE))
    edges, peaks = 0, []
    for count in (20, 60):
        tracemalloc.start()
        try:
            edges = sum(len(part) for part in sums_of_pieces(tmp_path, count, SCALE))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert rows > 10 * sorted_pieces.ROWS
    assert edges > 5 * sorted_pieces.ROWS
    assert peaks[1] < 200 * sorted_pieces.ROWS < 32 * edges
    assert peaks[1] < 1.3 * peaks[0]
