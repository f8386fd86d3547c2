"""Every threshold is scored as its segmentation volume would be, and chosen without a look at test truth."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.agglomeration import MergeTree
from sparse2dense.ops.interior import interior
from sparse2dense.ops.nearest import nearest_labels
from sparse2dense.ops.overlaps import look_up
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.stages.agglomerating import make_graph, make_merge_tree, read_merge_tree
from sparse2dense.stages.evaluating import (
    COLUMNS,
    choose_threshold,
    count_overlaps,
    find_best,
    read_threshold,
    score_thresholds,
)
from sparse2dense.stages.segmenting import make_fragments
from sparse2dense.volumes import sorted_pieces
from sparse2dense.volumes.tables import read_table, write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

SHAPE, VOXEL_SIZE = (10, 30, 33), (20.5, 8.0, 8.0)
THRESHOLDS = ["0.1", "0.3", "0.58", "0.9"]


CUTS = [((3, 7, 11), 1), ((4, 31, 5), 2), ((1, 1, 40), 1), ((10, 13, 9), 1), ((4, 16, 16), 1)]


def save(
    path: Path,
    values: np.ndarray,
    offset: Sequence[float] = (0, 0, 0),
    chunks: Sequence[int] | None = None,
    **attributes: object,
) -> Path:
    """Write an array as a volume."""
    create_volume(
        path, values.shape, values.dtype, voxel_size=VOXEL_SIZE, offset=offset,
        axes="czyx" if values.ndim == 4 else "zyx", chunks=chunks, attributes=attributes,
    )[...] = values  # fmt: skip
    return path


def scores_of(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return the scores of every convention and threshold."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    return {(row["convention"], row["threshold"]): {name: float(row[name]) for name in COLUMNS[4:]} for row in rows}


@pytest.fixture
def segmented(tmp_path: Path) -> Path:
    """A folder with truth, fragments (with gaps) and merge tree of twelve objects."""
    truth = voronoi(SHAPE, 12)
    truth[:, :3, :4] = 0
    save(tmp_path / "truth.zarr", truth)
    values = np.round(noisy_affinities(truth, noise=0.35) * 255).astype(np.uint8)
    values[:, 2:8, 6:25, 8:30:6] = 0
    save(tmp_path / "affinities.zarr", values, offsets=OFFSETS)
    make_fragments(tmp_path / "affinities.zarr", tmp_path / "fragments.zarr", seed_distance=5)
    make_graph(tmp_path / "affinities.zarr", tmp_path / "fragments.zarr", tmp_path / "graph")
    make_merge_tree(tmp_path / "graph", tmp_path / "tree.parquet")
    return tmp_path


def scored(folder: Path, truth: str, **settings: object) -> dict[tuple[str, str], dict[str, float]]:
    """Count and score all thresholds."""
    count_overlaps(folder / "fragments.zarr", folder / truth, folder / "overlaps.parquet", **settings)  # type: ignore[arg-type]
    score_thresholds(
        folder / "overlaps.parquet",
        folder / "tree.parquet",
        folder / "scores.csv",
        thresholds=[0.1, "0.30", 0.58, 0.9],
        volume="cube",
        track="pseudo",
    )
    return scores_of(folder / "scores.csv")


def test_scores_equal_those_of_the_segmentation_volumes(segmented: Path) -> None:
    found = scored(segmented, "truth.zarr", border=(1, 2, 2))
    truth, fragments = (open_volume(segmented / f"{name}.zarr")[...] for name in ("truth", "fragments"))
    tree = read_merge_tree(segmented / "tree.parquet")
    inside = interior(truth, (1, 2, 2))
    filled = nearest_labels(fragments, VOXEL_SIZE, 32)
    assert np.any(inside & (fragments == 0))
    for threshold in THRESHOLDS:
        cut = tree.cut(threshold)
        assert found["all", threshold] == pytest.approx(_named(score(overlaps(truth, look_up(fragments, *cut)))))
        expected = score(overlaps(truth, look_up(filled, *cut), inside))
        assert found["interior", threshold] == pytest.approx(_named(expected))
    assert len({values["voi_sum"] for values in found.values()}) > 4


def _named(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[name] for name in COLUMNS[4:]}


@pytest.mark.parametrize("per_section", [False, True])
def test_overlaps_are_the_same_bytes_in_any_blocks_and_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_section: bool
) -> None:
    """Ids around 2^63; blocks without a label; few rows at a time. Rows are ordered by all columns but the last."""
    fragments = voronoi(SHAPE, 60, 1, ids=range(2**63 - 30, 2**63 + 30))
    truth = voronoi(SHAPE, 12, ids=range(2**63 - 6, 2**63 + 6))
    fragments[4:6, 5:9], truth[:, :9, :11] = 0, 0
    paths = save(tmp_path / "fragments.zarr", fragments), save(tmp_path / "truth.zarr", truth)
    files = []
    for rows, block in ((2**22, SHAPE), (30, SHAPE), (30, (3, 8, 9)), (1, (10, 7, 33)), (2**22, (1, 30, 4))):
        monkeypatch.setattr(sorted_pieces, "ROWS", rows)
        monkeypatch.setattr(sorted_pieces, "STEP", 2)
        count_overlaps(*paths, tmp_path / "overlaps.parquet", per_section=per_section, block_shape=block)
        files.append((tmp_path / "overlaps.parquet").read_bytes())
    assert len(set(files)) == 1
    columns = read_table(tmp_path / "overlaps.parquet", "convention", "section", "truth", "fragment", "voxels")
    keys = list(zip(*(column.tolist() for column in columns[:4]), strict=True))
    assert keys == sorted(set(keys))
    assert len(keys) > 100
    for section in range(SHAPE[0]) if per_section else [None]:
        part = slice(section, None if section is None else section + 1)
        expected = overlaps(truth[part], fragments[part], truth[part] != 0)
        here = (columns[0] == "all") & (columns[1] == (-1 if section is None else section))
        assert [column[here].tolist() for column in columns[2:]] == [
            column.tolist() for column in (expected.truth, expected.segment, expected.voxels)
        ]


def test_truth_of_a_part_is_scored_where_it_lies(segmented: Path) -> None:
    truth = open_volume(segmented / "truth.zarr")[...]
    save(segmented / "part.zarr", truth[2:9, 5:40, :20], offset=(2 * 20.5, 5 * 8, 0))
    masked = np.zeros_like(truth)
    masked[2:9, 5:40, :20] = truth[2:9, 5:40, :20]
    save(segmented / "masked.zarr", masked)
    part, whole = scored(segmented, "part.zarr"), scored(segmented, "masked.zarr")
    for threshold in THRESHOLDS:
        assert part["all", threshold] == pytest.approx(whole["all", threshold])


def test_truth_that_reaches_beyond_the_fragments_is_cut(segmented: Path) -> None:
    truth = open_volume(segmented / "truth.zarr")[...]
    wide = np.pad(truth, ((3, 1), (0, 2), (4, 0)), constant_values=99)
    save(segmented / "wide.zarr", wide, offset=(-3 * 20.5, 0, -4 * 8))
    assert scored(segmented, "wide.zarr", border=(0, 0, 0)) == scored(segmented, "truth.zarr", border=(0, 0, 0))


def test_truth_elsewhere_is_refused(segmented: Path) -> None:
    truth = open_volume(segmented / "truth.zarr")[...]
    for offset, message in (
        ((0, 8000, 0), "share nothing"),
        ((0, 4, 0), "differ by whole voxels"),
    ):
        save(segmented / "moved.zarr", truth, offset=offset)
        with pytest.raises(InputError, match=message):
            scored(segmented, "moved.zarr")
    save(segmented / "empty.zarr", np.zeros_like(truth))
    with pytest.raises(InputError, match="no labelled voxel"):
        scored(segmented, "empty.zarr")


def test_only_painted_sections_count(segmented: Path) -> None:
    truth, fragments = (open_volume(segmented / f"{name}.zarr")[...] for name in ("truth", "fragments"))
    mask = np.zeros(SHAPE, np.uint8)
    mask[[2, 7]] = 1
    save(segmented / "mask.zarr", mask)
    found = scored(segmented, "truth.zarr", mask=segmented / "mask.zarr", border=(0, 2, 2))
    cut = read_merge_tree(segmented / "tree.parquet").cut("0.3")
    segments = look_up(nearest_labels(fragments, VOXEL_SIZE, 32), *cut)
    expected = score(overlaps(truth, segments, (mask > 0) & interior(truth, (0, 2, 2))))
    assert found["interior", "0.3"] == pytest.approx(_named(expected))
    with pytest.raises(InputError, match=r"covers .* not the same place"):
        save(segmented / "mask.zarr", mask[1:])
        scored(segmented, "truth.zarr", mask=segmented / "mask.zarr")


@pytest.mark.parametrize(("block_shape", "workers"), CUTS)
@pytest.mark.parametrize("per_section", [False, True])
def test_overlaps_dont_depend_on_the_cut(
    tmp_path: Path, block_shape: tuple[int, int, int], workers: int, per_section: bool
) -> None:
    rng = np.random.default_rng(4)
    fragments = voronoi(SHAPE, 40, ids=range(2**63, 2**63 + 40))
    fragments[rng.random(SHAPE) < 0.5] = 0
    fragments[:, 8:22, 6:28] = 0  # wider than the reach
    save(tmp_path / "fragments.zarr", fragments, offset=(-41, 0.5, 16), chunks=(2, 8, 16))
    truth = voronoi((13, 28, 40), 7, seed=1, ids=[0, *range(2**63, 2**63 + 6)])
    save(tmp_path / "truth.zarr", truth, offset=(-41 + 3 * 20.5, 0.5 + 16, 16 - 5 * 8))
    mask = (rng.random(truth.shape) < 0.95).astype(np.uint8)
    save(tmp_path / "mask.zarr", mask, offset=(-41 + 3 * 20.5, 0.5 + 16, 16 - 5 * 8))
    tables = []
    for cut in ({}, {"block_shape": block_shape, "workers": workers}):
        count_overlaps(
            tmp_path / "fragments.zarr", tmp_path / "truth.zarr", tmp_path / "overlaps.parquet",
            mask=tmp_path / "mask.zarr", border=(1, 0, 1), reach=3, per_section=per_section, **cut,  # type: ignore[arg-type]
        )  # fmt: skip
        tables.append((tmp_path / "overlaps.parquet").read_bytes())
        assert sorted(path.suffix for path in tmp_path.iterdir()) == [".parquet", ".zarr", ".zarr", ".zarr"]
    assert tables[0] == tables[1]
    convention, section, ids, voxels = read_table(
        tmp_path / "overlaps.parquet", "convention", "section", "fragment", "voxels"
    )
    counted = (truth * mask)[:7, :, 5:38]
    inside = interior(counted, (1, 0, 1))
    filled = nearest_labels(fragments, VOXEL_SIZE, 3)[3:10, 2:30]
    assert (section == -1).all() != per_section
    for name, where, segments in (("all", counted > 0, fragments[3:10, 2:30]), ("interior", inside, filled)):
        mine = convention == name
        assert voxels[mine].sum() == np.count_nonzero(where)
        assert voxels[mine & (ids == 0)].sum() == np.count_nonzero(segments[where] == 0) > 0


def test_parts_count_what_one_job_counts(segmented: Path) -> None:
    fragments, truth, output = (segmented / name for name in ("fragments.zarr", "truth.zarr", "overlaps.parquet"))
    count_overlaps(fragments, truth, output)
    whole = output.read_bytes()
    output.unlink()
    for part in ((2, 3), (0, 3), (1, 3), None):
        assert not output.exists()
        count_overlaps(fragments, truth, output, block_shape=(3, 9, 17), part=part)
    assert output.read_bytes() == whole


def test_voxels_far_from_all_fragments_stay_background(tmp_path: Path) -> None:
    fragments = np.zeros((1, 4, 50), np.uint64)
    fragments[:, :, 0] = 5
    save(tmp_path / "fragments.zarr", fragments)
    save(tmp_path / "truth.zarr", np.ones_like(fragments))
    for reach, near in ((32, 33), (4, 5), (0, 1)):
        count_overlaps(tmp_path / "fragments.zarr", tmp_path / "truth.zarr", tmp_path / "overlaps.parquet", reach=reach)
        convention, fragment, voxels = read_table(tmp_path / "overlaps.parquet", "convention", "fragment", "voxels")
        mine = convention == "interior"
        assert fragment[mine].tolist() == [0, 5]
        assert voxels[mine].tolist() == [4 * (50 - near), 4 * near]


def test_ids_of_sections_painted_one_by_one_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    # one object through two sections, painted as 1 and as 2; another painted as 2 and as 1
    truth = np.zeros((2, 4, 8), np.uint64)
    truth[0, :, :4], truth[0, :, 4:], truth[1, :, :4], truth[1, :, 4:] = 1, 2, 2, 1
    fragments = np.ones_like(truth)
    fragments[:, :, 4:] = 2
    save(tmp_path / "truth.zarr", truth)
    save(tmp_path / "fragments.zarr", fragments)
    ids = np.array([1, 2], np.uint64)
    write_table(tmp_path / "tree.parquet", {"a": ids[:1], "b": ids[1:], "score": np.array([0.2])}, {})
    found = scored(tmp_path, "truth.zarr", per_section=True, border=(0, 1, 1))
    for convention in ("all", "interior"):
        assert found[convention, "0.1"]["voi_sum"] == 0
        assert found[convention, "0.1"]["arand"] == 0
        assert found[convention, "0.3"]["voi_split"] == pytest.approx(0)
        assert found[convention, "0.3"]["voi_merge"] == pytest.approx(1)
    assert scored(tmp_path, "truth.zarr")["all", "0.1"]["voi_sum"] == pytest.approx(2)
    assert read_table(tmp_path / "overlaps.parquet", "section")[0].tolist() == [-1] * 4


def test_no_interior_leaves_it_unscored_and_judges_by_all(tmp_path: Path) -> None:
    truth = np.ones((1, 4, 4), np.uint64)
    truth[:, :, 2:] = 2
    save(tmp_path / "truth.zarr", truth)
    save(tmp_path / "fragments.zarr", truth)
    ids = np.array([1, 2], np.uint64)
    write_table(tmp_path / "tree.parquet", {"a": ids[:1], "b": ids[1:], "score": np.array([0.2])}, {})
    found = scored(tmp_path, "truth.zarr", border=(0, 3, 3))
    assert np.isnan(found["interior", "0.1"]["voi_sum"])
    sweep = sweep_of(tmp_path / "disagreement.csv", "cube", dict.fromkeys(THRESHOLDS, 0.2))
    choose_threshold([tmp_path / "scores.csv"], [sweep], tmp_path / "chosen.json")
    find_best(tmp_path / "scores.csv", tmp_path / "chosen.json", sweep, tmp_path / "best.json")
    assert read_threshold(tmp_path / "chosen.json") == "0.1"
    assert json.loads((tmp_path / "best.json").read_text())["convention"] == "all"


def table_of(path: Path, volume: str, sums: dict[str, float], merges: dict[str, float] | None = None) -> Path:
    """Write a table of scores with the given interior VOI sums, of which some is merge."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, restval=0.5)
        rows.writeheader()
        for threshold, voi_sum in sums.items():
            head = {"volume": volume, "track": "pseudo", "threshold": threshold}
            merge = (merges or {}).get(threshold, 0.0)
            for convention, value in (("all", 9 - voi_sum), ("interior", voi_sum)):
                parts = {"voi_sum": value, "voi_split": value - merge, "voi_merge": merge}
                rows.writerow({**head, "convention": convention, **parts})
    return path


def sweep_of(path: Path, volume: str, disagreement: dict[str, float]) -> Path:
    """Write a table of the given disagreement per threshold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["volume,track,threshold,disagreement_split,disagreement_merge,disagreement"]
    lines += [f"{volume},pseudo,{threshold},0,{value},{value}" for threshold, value in disagreement.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_threshold_is_best_on_average_over_the_annotated_volumes(tmp_path: Path) -> None:
    one = table_of(tmp_path / "one/pseudo/scores.csv", "one", {"0.1": 1.0, "0.29": 2.0, "0.58": 3.0})
    two = table_of(tmp_path / "two/pseudo/scores.csv", "two", {"0.1": 5.0, "0.29": 2.5, "0.58": 1.5, "0.9": 0.1})
    sweep = sweep_of(tmp_path / "bare/pseudo/disagreement.csv", "bare", {"0.1": 0.3, "0.9": 0.2})
    choose_threshold([one, two], [sweep], tmp_path / "thresholds/pseudo.json")
    content = json.loads((tmp_path / "thresholds/pseudo.json").read_text())
    assert content["threshold"] == 0.29  # ties go to the lower threshold; 0.9 isn't scored on both
    assert content["chosen_by"] == "annotation"
    assert content["annotation"]["voi_sum"] == 2.25
    assert content["reason"] == "lowest VOI sum, a mean of 2.250 bits (interior), on the annotation of one, two"
    assert content["disagreement"]["threshold"] == 0.9
    assert read_threshold(tmp_path / "thresholds/pseudo.json") == "0.29"


def test_a_threshold_is_chosen_without_truth(tmp_path: Path) -> None:
    """By disagreement on all volumes, also where no voxel of the annotation counts; both choices are recorded."""
    sweeps = [
        sweep_of(tmp_path / "one/pseudo/disagreement.csv", "one", {"0.1": 0.1, "0.29": 0.3, "0.58": 0.2}),
        sweep_of(tmp_path / "bare/pseudo/disagreement.csv", "bare", {"0.1": 0.6, "0.29": 0.3, "0.58": 0.2}),
    ]
    chosen = tmp_path / "pseudo.json"
    scored = table_of(tmp_path / "one/pseudo/scores.csv", "one", {"0.1": 1.0, "0.29": 2.0, "0.58": 3.0})
    choose_threshold([scored], sweeps, chosen, choose_by="disagreement")
    content = json.loads(chosen.read_text())
    assert (content["threshold"], content["chosen_by"]) == (0.58, "disagreement")
    assert content["reason"].endswith("a mean of 0.2000, on one, bare")
    assert content["annotation"]["threshold"] == 0.1
    nowhere = table_of(tmp_path / "two/pseudo/scores.csv", "two", {"0.1": float("nan")})
    choose_threshold([nowhere], sweeps, chosen, choose_by="disagreement")
    content = json.loads(chosen.read_text())
    assert (content["threshold"], content["annotation"]) == (0.58, None)
    with pytest.raises(InputError, match="choose_by 'truth'"):
        choose_threshold([scored], sweeps, chosen, choose_by="truth")  # type: ignore[arg-type]


def test_merges_weigh_more_where_asked(tmp_path: Path) -> None:
    """A heavy merge weight prefers a threshold of fewer merges, even with a larger VOI sum; the reason says so."""
    table = table_of(tmp_path / "scores.csv", "one", {"0.1": 1.1, "0.2": 1.0}, {"0.1": 0.1, "0.2": 0.5})
    sweep = sweep_of(tmp_path / "disagreement.csv", "one", {"0.1": 0, "0.2": 0})
    for weight, expected in ((2.0, "0.1"), (1.0, "0.2")):
        choose_threshold([table], [sweep], tmp_path / "chosen.json", merge_weight=weight)
        assert read_threshold(tmp_path / "chosen.json") == expected
        assert ("2 x merge" in json.loads((tmp_path / "chosen.json").read_text())["reason"]) == (weight == 2)


def test_best_and_chosen_are_told_apart(tmp_path: Path) -> None:
    annotated = table_of(tmp_path / "one/pseudo/scores.csv", "one", {"0.1": 1.0, "0.29": 2.0})
    test = table_of(tmp_path / "two/pseudo/scores.csv", "two", {"0.1": 5.0, "0.29": 2.5, "0.5": 3.0})
    own = sweep_of(tmp_path / "one/pseudo/disagreement.csv", "one", {"0.1": 0.1, "0.29": 0.2})
    sweep = sweep_of(tmp_path / "two/pseudo/disagreement.csv", "two", {"0.1": 0.3, "0.29": 0.2, "0.5": 0.1})
    choose_threshold([annotated], [own], tmp_path / "pseudo.json")
    find_best(test, tmp_path / "pseudo.json", sweep, tmp_path / "best.json")
    content = json.loads((tmp_path / "best.json").read_text())
    assert (content["volume"], content["track"], content["convention"]) == ("two", "pseudo", "interior")
    assert (content["best"]["threshold"], content["best"]["voi_sum"]) == (0.29, 2.5)
    assert (content["chosen"]["threshold"], content["chosen"]["voi_sum"]) == (0.1, 5.0)
    assert "annotation of one" in content["chosen"]["reason"]
    assert (content["agreeing"]["threshold"], content["agreeing"]["voi_sum"]) == (0.5, 3.0)
    assert (
        content["agreeing"]["reason"] == "lowest disagreement with the affinities that reach farthest, 0.1000, on two"
    )
    assert read_threshold(tmp_path / "best.json") == "0.29"


def test_thresholds_that_were_not_scored_are_refused(tmp_path: Path) -> None:
    one = table_of(tmp_path / "one/pseudo/scores.csv", "one", {"0.1": 1.0})
    two = table_of(tmp_path / "two/pseudo/scores.csv", "two", {"0.2": 1.0})
    first = sweep_of(tmp_path / "one/pseudo/disagreement.csv", "one", {"0.1": 0.1})
    second = sweep_of(tmp_path / "two/pseudo/disagreement.csv", "two", {"0.2": 0.1})
    with pytest.raises(InputError, match="no threshold is scored in all"):
        choose_threshold([one, two], [first], tmp_path / "pseudo.json")
    choose_threshold([one], [first], tmp_path / "pseudo.json")
    with pytest.raises(InputError, match=r"no threshold 0\.1"):
        find_best(two, tmp_path / "pseudo.json", second, tmp_path / "best.json")
    with pytest.raises(InputError, match=r"no threshold 0\.2, which .*disagreement.csv names"):
        find_best(one, tmp_path / "pseudo.json", second, tmp_path / "best.json")
    nowhere = table_of(tmp_path / "bare/pseudo/scores.csv", "bare", {"0.1": float("nan")})
    with pytest.raises(InputError, match="has no scores"):
        find_best(nowhere, tmp_path / "pseudo.json", first, tmp_path / "best.json")
    (tmp_path / "none.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="holds no scores"):
        choose_threshold([tmp_path / "none.csv"], [first], tmp_path / "pseudo.json")


def test_a_tree_without_fragments_scores_background(tmp_path: Path) -> None:
    save(tmp_path / "truth.zarr", voronoi((2, 9, 9), 3))
    save(tmp_path / "fragments.zarr", np.zeros((2, 9, 9), np.uint64))
    none = MergeTree(*(np.zeros(0, np.uint64),) * 3, np.zeros(0))
    write_table(tmp_path / "tree.parquet", {"a": none.a, "b": none.b, "score": none.score}, {})
    found = scored(tmp_path, "truth.zarr")
    assert found["all", "0.1"]["voi_split"] == 0
    assert found["all", "0.1"]["nvi_merge"] == pytest.approx(1)
