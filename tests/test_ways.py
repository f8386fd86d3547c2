"""Benchmarks of ways compare what gives the same result, and fail where a limit isn't kept."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import scoring, time_to_luts
from benchmarks._ways import THRESHOLDS, Taken, judge, over
from benchmarks.gigavoxel import STAGES, Run
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.volumes.tables import read_table


def test_the_recipe_finds_the_segments_that_ours_finds(tmp_path: Path) -> None:
    for stage in ("generate", "make_fragments"):
        STAGES[stage](Run(tmp_path, 48, (48, 48, 48)))
    time_to_luts.ours(tmp_path)
    time_to_luts.recipe(tmp_path)
    found = set()
    for threshold in THRESHOLDS[::7]:
        fragments, segments = read_table(tmp_path / f"luts/{threshold}.parquet", "fragment", "segment")
        ids, theirs = np.load(tmp_path / f"recipe/{threshold}.npz")["arr_0"]
        assert np.array_equal(ids[ids != 0], fragments)
        assert score(overlaps(theirs[ids != 0], segments))["voi_sum"] < 0.01  # waterz leaves ties to its queue
        found.add(int(segments.max()))
    assert len(found) > 3


@pytest.mark.parametrize(("seconds", "kept"), [(1.49, True), (1.51, False)])
def test_the_limit_is_one_of_seconds(seconds: float, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert judge("scoring", over(Taken(2 * seconds, 9.0), Taken(2.0, 3.0)), 1.5) == kept
    assert ("NOT within 1.5" in capsys.readouterr().out) != kept


def test_inputs_are_given_all_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        scoring.main(["--fragments", "fragments.zarr"])
    assert end.value.code == 2
    assert "give all of fragments, truth, tree, or none" in capsys.readouterr().err
