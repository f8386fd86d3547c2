"""What rounds gained: in numbers, in words, and on the page of the report."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.stages.reporting import write_report
from sparse2dense.stages.rounds import bootstrapped_tracks, round_gains, run_tracks
from tests.report_example import CONFIG, best_record, example_run, score_table

ROLES = {"home": "annotated", "away": "test", "further": "test"}


def record(volume: str, track: str, voi_sum: float | None, convention: str = "interior") -> dict[str, Any]:
    """As much of `best.json` as says what the chosen threshold gave."""
    return {
        "volume": volume,
        "track": track,
        "convention": convention,
        "chosen": {"threshold": 0.25, "voi_sum": voi_sum},
    }


def verdicts(sums: dict[str, list[float | None]]) -> list[str | None]:
    """The sentences on rounds that reach these sums on volumes, from the pseudo track on."""
    tracks = ["pseudo", *bootstrapped_tracks(9)]
    records = [
        record(volume, track, value) for volume in sums for track, value in zip(tracks, sums[volume], strict=False)
    ]
    return [row["verdict"] for row in round_gains(records, ROLES)["rows"]]


def test_tracks_of_all_rounds_stand_where_the_first_is_asked_for() -> None:
    assert run_tracks(["baseline", "bootstrapped"], 3) == [
        "baseline",
        "bootstrapped",
        "bootstrapped_2",
        "bootstrapped_3",
    ]
    assert run_tracks(["pseudo", "bootstrapped"], 1) == ["pseudo", "bootstrapped"]
    assert run_tracks(["pseudo"], 1) == ["pseudo"]


def test_a_round_is_compared_with_the_one_before_on_every_volume() -> None:
    """Annotated volumes stand first, tracks beside the rounds don't count, and changes are those of the sums shown."""
    records = [
        record("away", "bootstrapped_2", 0.4004),
        record("away", "bootstrapped", 0.5006),
        record("away", "baseline", 0.1),
        record("home", "bootstrapped", 0.3, "all"),
        record("home", "bootstrapped_2", 0.35, "all"),
    ]
    found = round_gains(records, ROLES)
    assert found["volumes"] == [
        {"name": "home", "reference": "annotation", "convention": "all"},
        {"name": "away", "reference": "truth", "convention": "interior"},
    ]
    first, second = found["rows"]
    assert (first["round"], first["track"], first["verdict"]) == (1, "bootstrapped", None)
    assert [point["change"] for point in first["points"]] == [None, None]
    assert [point["voi_sum"] for point in second["points"]] == [0.35, 0.4]
    assert [point["change"] for point in second["points"]] == [0.05, -0.101]
    assert second["verdict"] == "Round 2 gained on the truth of away, but not on the annotation of home."


def test_a_round_that_does_not_gain_says_so() -> None:
    """Neither a sum as low as before is a gain, nor one that is lower by less than is shown."""
    said = verdicts({"home": [0.9, 0.5, 0.5, 0.49996, 0.4], "away": [0.8, 0.7, 0.71, 0.7, 0.3]})
    assert said == [
        None,
        "Round 1 gained on the annotation of home and the truth of away.",
        "Round 2 did not gain on the annotation of home or the truth of away.",
        "Round 3 gained on the truth of away, but not on the annotation of home.",
        "Round 4 gained on the annotation of home and the truth of away.",
    ]
    three = verdicts({"home": [1, 1, 2], "away": [1, 1, 2], "further": [1, 1, 2]})
    assert three[-1] == "Round 2 did not gain on the annotation of home, the truth of away or the truth of further."


def test_what_is_not_known_is_not_judged() -> None:
    """A volume that is scored in one round only, a score that is no number, a threshold that was not chosen."""
    assert verdicts({"home": [None, 0.5, 0.4], "away": [0.5]}) == [
        None,
        None,
        "Round 2 gained on the annotation of home.",
    ]
    assert verdicts({"home": [0.5, None, 0.4]}) == [None, None]
    assert round_gains([record("home", "bootstrapped_2", 1.0) | {"chosen": None}], ROLES) == {}
    assert round_gains([], ROLES) == {}


def test_one_round_is_no_section() -> None:
    assert round_gains([record("home", track, 1.0) for track in ("pseudo", "bootstrapped", "baseline")], ROLES) == {}


@pytest.fixture
def three_rounds(tmp_path: Path) -> dict[str, Any]:
    """The example with a second round that gains on the annotation alone, and a third that doesn't gain."""
    run = example_run(tmp_path)
    for track, levels in (("bootstrapped_2", (0.7, 0.8)), ("bootstrapped_3", (0.9, 0.805))):
        for volume, level in zip(("home", "away"), levels, strict=True):
            folder = tmp_path / volume / track
            folder.mkdir()
            table = score_table(volume, track, level)
            table.to_csv(folder / "scores.csv", index=False)
            (folder / "best.json").write_text(json.dumps(best_record(table)))
            run["scores"].append(folder / "scores.csv")
            run["best"].append(folder / "best.json")
    filters = tmp_path / "home" / "bootstrapped" / "pseudo_truth.csv"
    filters.write_text("step,objects,voxels\nsegmentation,412,123456\n")
    run["pseudo_truth"].append(filters)
    return run


def words(page: Path) -> str:
    """The text of a page, single spaces between words."""
    return " ".join(re.sub(r"<[^>]*>", " ", page.read_text()).split())


def test_the_report_has_a_row_for_every_round(three_rounds: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", **three_rounds)
    text = words(tmp_path / "r.html")
    section = text[text.index("A round filters the segmentation") : text.index("Scores per threshold VOI split")]
    assert "Round 1 gained on the annotation of home and the truth of away." in section
    assert "Round 2 gained on the annotation of home, but not on the truth of away." in section
    assert "Round 3 did not gain on the annotation of home or the truth of away." in section
    assert "home, annotation (interior) Change Threshold away, truth (interior) Change Threshold" in section
    assert "before ● pseudo 1.200 – 0.58 1.200 – 0.58" in section
    assert "1 ■ bootstrapped 1.000 −0.200 0.58 1.000 −0.200 0.58" in section
    assert "2 ◆ bootstrapped_2 0.900 −0.100 0.58 1.000 0.000 0.58" in section
    assert "3 ▼ bootstrapped_3 1.100 +0.200 0.58 1.005 +0.005 0.58" in section
    assert "baseline" not in section
    assert 'href="#rounds"' in (tmp_path / "r.html").read_text()
    assert "Before and after every filter, home. step" in text
    assert "Before and after every filter, home, for round 2." in text
    assert "Every later round learns from the segmentation of the track before it." in text


def test_the_report_of_one_round_is_silent_about_rounds(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", **example_run(tmp_path))
    page = (tmp_path / "r.html").read_text()
    assert set(CONFIG["evaluate"]["tracks"]) == {"pseudo", "bootstrapped", "baseline"}
    assert "Rounds" not in page and "round 2" not in page and "later round" not in page
