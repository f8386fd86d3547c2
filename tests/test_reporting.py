"""The report: what it says in words and tables, whole and partial runs, and that it loads nothing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from sparse2dense.errors import InputError
from sparse2dense.stages import report_pictures
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.report_pictures import FIGURE_SECTIONS
from sparse2dense.stages.reporting import count, duration, write_report
from sparse2dense.stages.suggesting import SUGGESTED
from tests.report_example import TRACKS, example_panes, example_run, skeleton_table

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
EMPTY: dict[str, Any] = {
    "run": "nothing",
    "config": {},
    "scores": [],
    "best": [],
    "losses": {},
    "figures": {},
    "annotation": [],
    "benchmarks": [],
}


class Reader(HTMLParser):
    """Text, links, sources and ids of a page, and whether its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.stack: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element refers to."""
        values = dict(attrs)
        if tag not in ("meta", "img", "link", "br", "input"):
            self.stack.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if tag in ("a", "link") and "href" in values else []
        self.sources += [values["src"] or ""] if values.get("src") else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the id of an element that closes itself, as those of SVG do."""
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        """Refuse an element that is closed out of order."""
        assert self.stack and self.stack[-1] == tag, f"</{tag}> within {self.stack[-3:]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        """Collect text that is shown."""
        if not {"style", "script"} & set(self.stack):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All text that is shown, single spaces between words."""
        return " ".join(" ".join(self.words).split())


def read(page: Path) -> Reader:
    reader = Reader(page.read_text(encoding="utf-8"))
    assert not reader.stack
    return reader


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return example_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("page") / "made" / "report.html"
    write_report(output, **example)
    assert [file.name for file in output.parent.iterdir()] == ["report.html"]
    return output


def test_nets_that_were_not_trained_say_where_they_come_from(tmp_path: Path) -> None:
    """Instead of an empty chart, or beside the charts of the nets that were trained."""
    record = tmp_path / "reused.json"
    origin = "https://example.org/a&b/2d.pt"
    record.write_text(json.dumps({"origin": origin, "sha256": "0f" * 32, "kind": "2d_affs"}))
    said = f"Net 2d (2d_affs) was not trained here: reused from {origin} , SHA-256 {'0f' * 32}"
    write_report(tmp_path / "alone.html", **EMPTY, reused={"2d": record})
    alone = read(tmp_path / "alone.html").text
    assert said in alone
    assert "leaves losses.csv" not in alone
    write_report(tmp_path / "empty.html", **EMPTY)
    assert "leaves losses.csv" in read(tmp_path / "empty.html").text
    run = example_run(tmp_path / "run")
    del run["losses"]["2d"]
    write_report(tmp_path / "both.html", **run, reused={"2d": record})
    both = read(tmp_path / "both.html").text
    assert said in both
    assert "Net 2d_to_3d 20 steps" in both


def test_the_page_opens_with_the_result_of_the_test_volume(page: Path) -> None:
    text = read(page).text
    opening = text[text.index("How to reproduce") : text.index("Scores at the chosen")]  # after the contents
    for number in ("1.200 bits", "1.000 bits", "0.800 bits"):  # the chosen threshold 0.58, not the best one
        assert number in opening
    assert "Best possible threshold: 0.3 with 1.100 bits" in opening
    assert "on home" not in opening, "annotated volumes are no headline"
    assert "2 painted sections with 2 objects and 49 voxels in home" in opening
    assert "lowest VOI sum on the annotation of home" in opening


def test_time_of_painting_is_an_estimate_that_says_its_rate(page: Path) -> None:
    """An object in two sections and one in a single section are three outlines."""
    text = read(page).text
    assert "49 voxels in home, estimated 1 min 30 s of painting. The estimate takes 30 s for each object in" in text
    assert "home 2 2 49 3 2" in text[text.index("the time is an estimate at 30 s per outline") :]


def test_the_methods_paragraph_stands_in_the_page(example: dict[str, Any], tmp_path: Path) -> None:
    settings = {"volumes": {"home": {"role": "annotated"}, "away": {"role": "test"}}}
    config = complete(yaml.safe_load((ROOT / "config/fib25.yaml").read_text()), load_schema(SCHEMA))
    write_report(tmp_path / "r.html", **{**EMPTY, "config": {**config, **settings}, "losses": example["losses"]})
    text = read(tmp_path / "r.html").text
    assert "home (annotated) and away (test) were segmented with sparse2dense" in text
    assert "on the annotation alone for 20 steps of 8 samples" in text, "steps done, not those asked for"
    assert 'button type="button" class="copy" data-of="methods-text"' in (tmp_path / "r.html").read_text()


def test_every_threshold_of_every_track_stands_in_the_table(page: Path) -> None:
    rows = re.findall(
        r'<tr data-volume="(\w+)" data-track="(\w+)" data-convention="(\w+)"( class="marked")?', page.read_text()
    )
    assert len(rows) == 2 * 3 * 2 * 4
    assert sum(bool(mark) for *_, mark in rows) == 2 * 3 * 2 * 2
    assert [track for _, track, _, _ in rows[:24:8]] == list(TRACKS)


def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    reader = read(page)
    assert reader.sources and all(source.startswith("data:image/") for source in reader.sources)
    assert all(link.startswith("#") or link == "data:," for link in reader.links)
    assert "default-src 'none'" in page.read_text()
    assert not re.search(r"@import|url\((?!#)", page.read_text())


def test_ids_are_unique_and_links_lead_somewhere(page: Path) -> None:
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)


def test_captions_and_names_are_escaped(page: Path) -> None:
    assert "What <segmentation> shows & how." in read(page).text
    assert "<segmentation>" not in page.read_text()


def test_large_ids_of_painted_objects_survive(page: Path) -> None:
    assert "9223372036854775806" in read(page).text


def test_config_versions_and_costs_are_told(page: Path) -> None:
    text = read(page).text
    assert "path: away.tif" in text
    assert "numpy " + np.__version__ in text
    assert "2 jobs took 5 min 00 s in all" in text
    assert "301" in text[text.index("Before and after every filter, home") :]
    assert "lowest validation loss 0.400 at step 2" in text and "no validation loss" in text
    assert "(1, 2, 2 voxels a side in z, y, x)" in text


def test_the_worst_errors_of_every_track_say_where_to_look(page: Path) -> None:
    text = read(page).text
    section = text[text.index("The objects of the truth that are split worst") :]
    section = section[: section.index("Best segmentation")]
    assert section.index("away, track pseudo, threshold 0.58") < section.index("away, track bootstrapped")
    assert "split 9223372036854775700 0.500 4 321 3 9223372036854775750 4 15 25 4:5, 10:20, 20:30" in section
    assert section.count("merge 9223372036854775700 0.500") == 2
    assert section.count("split 92233720368547757") == 2 * 5, "the worst five of seven"
    assert "away, track baseline: no object is split, and no segment holds two objects." in section
    for track, shown in (("pseudo", 1), ("bootstrapped", 1), ("baseline", 0)):
        assert section.count(f"away/{track}/errors/0.58.zarr") == shown, "the volume to open, of tracks with errors"


def test_sections_and_regions_to_paint_next_say_where_they_are_and_why(page: Path) -> None:
    text = read(page).text
    section = text[text.index("Paint every object in the first section") : text.index("The 2D net predicts every")]
    sections, regions = section.split("The same for regions of sections")
    assert "1 home 7 280 0.688 0.562 0.562 0.562 0.562 2 home 14 560 0.625" in sections
    assert "nothing is annotated on any of them" in sections
    assert "1 home 7 280 0:30, 25:50 0.688" in regions
    assert "What <paint_next> shows & how." in section
    assert "annotation.sections" in sections


def test_where_everything_is_annotated_nothing_is_suggested(tmp_path: Path) -> None:
    pd.DataFrame(columns=list(SUGGESTED)).to_csv(tmp_path / "paint_next.csv", index=False)
    write_report(tmp_path / "r.html", **EMPTY, suggestions=[tmp_path / "paint_next.csv"])
    text = read(tmp_path / "r.html").text
    assert "Not in this run: a suggestion." in text
    assert "unless paint_next.count is 0" in text


def test_scores_by_skeletons_stand_at_the_thresholds_that_matter(page: Path) -> None:
    text = read(page).text
    section = text[text.index("How far one gets") : text.index("The objects of the truth that are split worst")]
    brief, every = section.split("Every threshold", maxsplit=1)
    assert "● pseudo 0.1 longest 0.500 6 000 1 800 10 0 77 0.625" in brief
    assert "● pseudo 0.3 best 0.400" in brief and "▲ baseline 0.58 chosen 0.650 7 800 440 58 0 57 0.625" in brief
    assert "0.7" not in brief[brief.index("Mark") :].split() and every.count(" 0.7 ") == 3
    for column in ("normalised ERL", "splits", "mergers", "edits"):
        assert f'aria-label="{column} per threshold by skeletons, away"' in page.read_text()


def test_skeletons_without_length_or_edits_or_scores(tmp_path: Path) -> None:
    """Skeletons of single nodes have no run to measure; edits are counted only where asked; scores may be absent."""
    table = skeleton_table("away", "mine", 0).drop(columns=["edits"]).assign(erl_normalised=np.nan, erl_nm=np.nan)
    table.to_csv(tmp_path / "skeleton_scores.csv", index=False)
    write_report(tmp_path / "r.html", **{**EMPTY, "skeletons": [tmp_path / "skeleton_scores.csv"]})
    page = (tmp_path / "r.html").read_text()
    assert "mine 0.7 – – 600 70 0 0.625" in read(tmp_path / "r.html").text
    assert re.findall(r'aria-label="([\w ]+) per threshold by', page) == ["splits", "mergers"]
    assert "longest</td>" not in page and "Edits" not in page


def test_an_empty_run_says_what_is_absent_and_how_to_get_it(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", **EMPTY)
    reader = read(tmp_path / "r.html")
    assert reader.text.count("Not in this run:") == 17
    assert "`" not in reader.text


def test_a_missing_track_is_named(example: dict[str, Any], tmp_path: Path) -> None:
    partial = {**example, "scores": example["scores"][:1], "best": example["best"][:1]}
    write_report(tmp_path / "r.html", **partial)
    text = read(tmp_path / "r.html").text
    assert "the track bootstrapped" in text and "the track baseline" in text and "the track pseudo." not in text
    assert "on home (annotated volume)" in text, "without a scored test volume others are the headline"


def test_without_best_json_the_best_threshold_comes_from_the_scores(example: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", **{**example, "scores": example["scores"][3:4], "best": []})
    text = read(tmp_path / "r.html").text
    assert "Interior VOI sum at the best threshold 0.3" in text
    assert "No threshold was chosen beforehand." in text


def test_scores_that_are_not_numbers_leave_a_dash(tmp_path: Path) -> None:
    record: dict[str, Any] = {"volume": "v", "track": "mine", "convention": "all", "chosen": None}
    record["best"] = {"threshold": 0.5, "reason": "", "voi_sum": 2.5, "voi_split": None}
    (tmp_path / "best.json").write_text(json.dumps(record))
    table = {"volume": ["v"], "track": ["mine"], "convention": ["interior"], "threshold": [0.5]}
    pd.DataFrame({**table, "voi_split": [np.nan], "voi_merge": [np.nan], "voi_sum": [np.nan]}).to_csv(
        tmp_path / "scores.csv", index=False
    )
    write_report(
        tmp_path / "r.html", **{**EMPTY, "best": [tmp_path / "best.json"], "scores": [tmp_path / "scores.csv"]}
    )
    text = read(tmp_path / "r.html").text
    assert "2.500 bits All VOI sum at the best threshold 0.5: split –" in text


def test_unknown_sections_and_missing_files_are_refused(example: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="segmentatoin"):
        write_report(tmp_path / "r.html", **{**example, "figures": {"segmentatoin": []}})
    with pytest.raises(InputError, match=r"gone\.png"):
        write_report(tmp_path / "r.html", **{**example, "figures": {"annotation": [("a", "b", tmp_path / "gone.png")]}})
    assert not (tmp_path / "r.html").exists()


def test_many_large_pictures_still_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_pictures, "PICTURE_BYTES", 200_000)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    pictures = [("t", "c", tmp_path / "noise.png")] * 4
    assert (tmp_path / "noise.png").stat().st_size > 300_000
    found = report_pictures.embed({"fragments": pictures}, set())["fragments"]
    assert sum(len(picture.source) for picture in found) < 200_000 * 1.4
    assert all(picture.source.startswith("data:image/jpeg") and picture.width >= 100 for picture in found)
    assert set(report_pictures.embed({}, set())) == set(FIGURE_SECTIONS)


def test_sections_side_by_side_stand_pane_by_pane(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = read(page).text
    assert "away Section 3 12" in text and "A voxel is 4.0 × 8.0 nm (y, x)." in text
    section = page.read_text()[page.read_text().index('data-section="12"') :]
    assert section.index("raw, section 12 of away") < section.index("truth, section 12") < section.index("pseudo, sec")
    (directory,) = example_panes(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    for file in directory.glob("*.png"):
        Image.fromarray(pixels).save(file)
    monkeypatch.setattr(report_pictures, "PANE_BYTES", 200_000)
    (found,) = report_pictures.compared([directory])
    shown = [pane for section in found["sections"] for pane in section["panes"]]
    assert sum(len(pane.source) for pane in shown) < 200_000 * 1.4 and len(shown) == 8


def test_charts_of_the_whole_run_stand_below_the_drawn_ones(page: Path) -> None:
    """Each once, closed, for slides; none is left out and no other section claims it."""
    text = read(page).text
    assert text.count("The same as one picture, for slides") == 3
    for name in ("scores", "losses", "resources", "snapshots", "errors", "shapes"):
        assert text.count(f"{name} of home. What <{name}> shows & how.") == 1


def test_pictures_of_test_volumes_come_first(tmp_path: Path) -> None:
    files = []
    for volume in ("home", "away"):
        files.append(tmp_path / volume / "figures" / "fragments.png")
        files[-1].parent.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(files[-1])
    group = [(file.parts[-3], "", file) for file in files]
    foremost = {
        picture.title: picture.foremost
        for picture in report_pictures.embed({"fragments": group}, {"away"})["fragments"]
    }
    assert foremost == {"home": False, "away": True}
    assert all(picture.foremost for picture in report_pictures.embed({"fragments": group[:1]}, {"away"})["fragments"])


def test_durations_and_counts_read_well() -> None:
    assert [duration(s) for s in (0.04, 59.96, 61, 3599.6, 7260, None, float("nan"))] == [
        "0.0 s",
        "60.0 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 01 min",
        "–",
        "–",
    ]
    assert count(1234567) == "1\u2009234\u2009567"


def test_the_same_run_gives_the_same_bytes(example: dict[str, Any], page: Path, tmp_path: Path) -> None:
    write_report(tmp_path / "again.html", **example)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
