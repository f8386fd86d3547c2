"""The worst errors are listed with the place they are at, and every wrong voxel is marked, in any cut."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.interior import interior
from sparse2dense.ops.nearest import nearest_labels
from sparse2dense.ops.object_errors import error_volume, merge_errors, split_errors
from sparse2dense.ops.overlaps import look_up, overlaps
from sparse2dense.ops.scores import score
from sparse2dense.stages.comparing import Comparison
from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.stages.locating import ERROR_COLUMNS, rank_errors, write_error_volume
from sparse2dense.volumes.tables import write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import voronoi

VOXEL_SIZE = (20.5, 8.0, 4.0)
BORDER, REACH = (0, 1, 1), 3
FIRST = 2**63 - 5


def save(path: Path, values: np.ndarray, offset: Sequence[float] = (0, 0, 0)) -> Path:
    create_volume(path, values.shape, values.dtype, voxel_size=VOXEL_SIZE, offset=offset, chunks=(4, 8, 8))[...] = (
        values
    )
    return path


class Case:
    """Fragments and a truth that reaches beyond them on some sides and ends before them on others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fragments = voronoi((9, 21, 23), 20, ids=range(FIRST, FIRST + 20))
        fragments[np.random.default_rng(4).random(fragments.shape) < 0.4] = 0
        fragments[:, 6:12, 4:18] = 0  # wider than the reach
        self.ids = np.arange(FIRST, FIRST + 20, dtype=np.uint64)
        self.segments = np.arange(20, dtype=np.uint64) % np.uint64(6) + np.uint64(1)
        truth = voronoi((11, 17, 26), 7, seed=1, ids=[0, *range(FIRST, FIRST + 6)])
        save(folder / "fragments.zarr", fragments, (41, 16, 0))
        save(folder / "truth.zarr", truth, (41 - 3 * 20.5, 16 + 2 * 8, -5 * 4))
        write_table(folder / "lut.parquet", {"fragment": self.ids, "segment": self.segments}, {"threshold": "0.58"})
        self.volumes: dict[str, Any] = {name: folder / f"{name}.zarr" for name in ("fragments", "truth")}
        self.volumes |= {"border": BORDER, "reach": REACH}
        self.tables = folder / "overlaps.parquet", folder / "lut.parquet"
        count_overlaps(output=folder / "overlaps.parquet", **self.volumes)
        # what is shared, in voxels of the truth, and the same without any blocks
        self.shared = (slice(3, 11), slice(0, 17), slice(5, 26))
        self.truth = truth[self.shared]
        filled = nearest_labels(fragments, VOXEL_SIZE, REACH)[:8, 2:19, :21]
        self.segmentation = look_up(filled, self.ids, self.segments)
        self.counted = interior(self.truth, BORDER)
        self.table = overlaps(self.truth, self.segmentation, self.counted)

    def compared(self, mask: Path | None = None) -> Comparison:
        """Both volumes, as they were counted."""
        return Comparison(**self.volumes, mask=mask)

    def ranked(self, mask: Path | None = None, convention: str = "interior", **settings: Any) -> list[dict[str, str]]:
        """The rows of the table of the worst errors."""
        output = self.folder / "errors.csv"
        rank_errors(self.compared(mask), *self.tables, output, **settings)
        with output.open(newline="") as file:
            rows = csv.DictReader(file)
            assert tuple(rows.fieldnames or ()) == ERROR_COLUMNS
            return [row for row in rows if row["convention"] == convention]

    def marked(self, mask: Path | None = None, **settings: Any) -> np.ndarray:
        """The volume of the errors."""
        output = self.folder / "errors.zarr"
        write_error_volume(self.compared(mask), *self.tables, output, **settings)
        return open_volume(output)[...]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_bits_of_the_listed_errors_add_up_to_the_scores(case: Case) -> None:
    rows, scores = case.ranked(), score(case.table)
    splits, merges = ([row for row in rows if row["kind"] == kind] for kind in ("split", "merge"))
    assert sum(float(row["bits"]) for row in splits) == pytest.approx(scores["voi_split"])
    background = merge_errors(case.table).select(merge_errors(case.table).label == 0).bits.sum()
    assert background > 0, "voxels out of reach of all fragments count, but no segment is to blame"
    assert sum(float(row["bits"]) for row in merges) == pytest.approx(scores["voi_merge"] - background)
    assert [row["label"] for row in splits] == [str(label) for label in split_errors(case.table).worst(99).label]
    assert {row["threshold"] for row in rows} == {"0.58"}


def test_boxes_hold_the_voxels_of_the_label_that_count(case: Case) -> None:
    rows = case.ranked()
    assert {row["kind"] for row in rows} == {"split", "merge"}
    for row in rows:
        labels = case.truth if row["kind"] == "split" else case.segmentation
        mine = (labels == np.uint64(row["label"])) & case.counted
        assert int(row["voxels"]) == np.count_nonzero(mine)
        place = np.argwhere(mine) + [side.start for side in case.shared]
        assert [int(row[f"begin_{axis}"]) for axis in "zyx"] == place.min(axis=0).tolist()
        assert [int(row[f"end_{axis}"]) for axis in "zyx"] == (place.max(axis=0) + 1).tolist()
        begin = (place.min(axis=0) * VOXEL_SIZE + [-20.5, 32, -20]).tolist()
        assert [float(row[f"begin_{axis}_nm"]) for axis in "zyx"] == begin


def test_all_voxels_have_errors_of_their_own(case: Case) -> None:
    """Beside those of the interior: background counts as a segment, and is never blamed; boxes hold what counts."""
    rows = case.ranked(convention="all", count=3)
    unfilled = open_volume(case.folder / "fragments.zarr")[...][:8, 2:19, :21]
    segmentation = look_up(unfilled, case.ids, case.segments)
    table = overlaps(case.truth, segmentation, case.truth != 0)
    worst = {"split": split_errors(table).worst(3), "merge": merge_errors(table).worst(3)}
    assert [(row["kind"], int(row["label"])) for row in rows] == [
        (kind, label) for kind, errors in worst.items() for label in errors.label.tolist()
    ]
    assert rows != case.ranked(count=3) and len(rows) == 6
    for row in rows:
        labels = case.truth if row["kind"] == "split" else segmentation
        mine = (labels == np.uint64(row["label"])) & (case.truth != 0)
        assert int(row["voxels"]) == np.count_nonzero(mine)
        place = np.argwhere(mine) + [side.start for side in case.shared]
        assert [int(row[f"begin_{axis}"]) for axis in "zyx"] == place.min(axis=0).tolist()
        assert [int(row[f"end_{axis}"]) for axis in "zyx"] == (place.max(axis=0) + 1).tolist()


def test_the_volume_marks_wrong_voxels_in_the_place_of_the_truth(case: Case) -> None:
    marked = case.marked()
    expected = np.zeros((11, 17, 26), np.uint8)
    expected[case.shared] = error_volume(
        case.truth, case.segmentation, split_errors(case.table), merge_errors(case.table), case.counted
    )
    assert np.unique(expected).tolist() == [0, 1, 2, 3]
    assert np.array_equal(marked, expected)
    volume = open_volume(case.folder / "errors.zarr")
    assert volume.dtype == np.uint8
    assert volume.extent == open_volume(case.folder / "truth.zarr").extent
    assert list(volume.attributes["codes"]) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("block_shape", "workers"), [((3, 7, 11), 1), ((4, 9, 40), 2)])
def test_neither_depends_on_the_cut(case: Case, block_shape: tuple[int, int, int], workers: int) -> None:
    rows, marked = case.ranked(), case.marked()
    assert case.ranked(block_shape=block_shape, workers=workers) == rows
    assert np.array_equal(case.marked(block_shape=block_shape, workers=workers), marked)
    assert sorted(path.name for path in case.folder.glob("errors*")) == ["errors.csv", "errors.zarr"]


def test_parts_make_what_one_job_makes(case: Case) -> None:
    rows, marked = case.ranked(), case.marked()
    (case.folder / "errors.csv").unlink()
    shutil.rmtree(case.folder / "errors.zarr")
    for part in ((1, 2), (0, 2)):
        inputs = case.compared(), *case.tables
        rank_errors(*inputs, case.folder / "errors.csv", part=part, block_shape=(4, 8, 16))
        write_error_volume(*inputs, case.folder / "errors.zarr", part=part, block_shape=(4, 8, 16))
        assert not (case.folder / "errors.csv").exists()
        assert not (case.folder / "errors.zarr").exists()
    assert case.ranked(block_shape=(4, 8, 16)) == rows
    assert np.array_equal(case.marked(block_shape=(4, 8, 16)), marked)


def test_only_the_worst_are_listed(case: Case) -> None:
    rows = case.ranked()
    few = case.ranked(count=1)
    assert len(rows) > 2
    assert few == [next(row for row in rows if row["kind"] == kind) for kind in ("split", "merge")]


def test_masked_voxels_are_neither_listed_nor_marked(case: Case) -> None:
    mask = np.zeros((11, 17, 26), np.uint8)
    mask[5] = 1
    save(case.folder / "mask.zarr", mask, open_volume(case.folder / "truth.zarr").offset)
    settings: dict[str, Any] = {"mask": case.folder / "mask.zarr"}
    count_overlaps(output=case.folder / "overlaps.parquet", **case.volumes, **settings)
    rows, marked = case.ranked(**settings), case.marked(**settings)
    assert rows
    assert {(row["begin_z"], row["end_z"]) for row in rows} == {("5", "6")}
    assert np.flatnonzero(marked.any(axis=(1, 2))).tolist() == [5]


@pytest.mark.parametrize("found", ["perfect", "nothing", "no interior"])
def test_without_errors_the_table_and_the_volume_are_empty(tmp_path: Path, found: str) -> None:
    truth = np.full((1, 5, 7), FIRST, np.uint64)
    truth[:, :, :3] = FIRST + 9
    if found == "no interior":
        truth = np.indices(truth.shape).sum(axis=0).astype(np.uint64) % np.uint64(2) + np.uint64(1)
    save(tmp_path / "truth.zarr", truth)
    save(tmp_path / "fragments.zarr", np.zeros_like(truth) if found == "nothing" else truth)
    ids = np.zeros(0, np.uint64) if found == "nothing" else np.unique(truth)
    segments = np.arange(1, len(ids) + 1, dtype=np.uint64)
    write_table(tmp_path / "lut.parquet", {"fragment": ids, "segment": segments}, {"threshold": "0.1"})
    volumes: dict[str, Any] = {name: tmp_path / f"{name}.zarr" for name in ("fragments", "truth")}
    volumes |= {"border": (0, 1, 1), "reach": 32}
    count_overlaps(output=tmp_path / "overlaps.parquet", **volumes)
    inputs = Comparison(**volumes), tmp_path / "overlaps.parquet", tmp_path / "lut.parquet"
    rank_errors(*inputs, tmp_path / "errors.csv")
    write_error_volume(*inputs, tmp_path / "errors.zarr")
    assert (tmp_path / "errors.csv").read_text() == ",".join(ERROR_COLUMNS) + "\n"
    # all in background is in no segment at all, which is a split
    expected = interior(truth, (0, 1, 1)) * np.uint8(found == "nothing")
    assert np.array_equal(open_volume(tmp_path / "errors.zarr")[...], expected)


def test_ids_that_differ_by_section_are_refused(case: Case) -> None:
    count_overlaps(output=case.folder / "overlaps.parquet", per_section=True, **case.volumes)
    with pytest.raises(InputError, match="counted section by section"):
        case.ranked()
    with pytest.raises(InputError, match="counted section by section"):
        case.marked()
    assert not list(case.folder.glob("errors*"))
