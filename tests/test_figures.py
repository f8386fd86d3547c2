"""Pictures and charts: what they show, for the volumes that break naive drawing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from sparse2dense.errors import InputError
from sparse2dense.stages import figures
from sparse2dense.stages.charts import draw_voi, panel_svg, read_benchmarks, read_scores, rules_by_cost, sorted_tracks
from sparse2dense.stages.colours import (
    disagreement,
    label_colours,
    match_labels,
    matched_colours,
    track_style,
)
from sparse2dense.stages.pictures import Row, choose_planes, montage, read_plane
from sparse2dense.stages.rounds import bootstrapped_tracks, round_of
from sparse2dense.volumes.volume import create_volume, open_volume

HUGE = 2**63 - 2
VOXEL = (50.0, 4.5, 4.5)  # anisotropic and fractional


def store(path: Path, values: np.ndarray, offset: tuple[float, float, float] = (0, 0, 0), **attributes: object) -> Path:
    axes = "czyx" if values.ndim == 4 else "zyx"
    volume = create_volume(
        path, values.shape, values.dtype, voxel_size=VOXEL, offset=offset, axes=axes, attributes=attributes
    )
    volume[...] = values
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    values = np.random.default_rng(1).integers(0, 255, (7, 41, 53), dtype=np.uint8)
    return store(tmp_path / "raw.zarr", values)


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
        opened.load()
        return opened.size


def colours_in(picture: Path) -> set[Any]:
    with Image.open(picture) as opened:
        found = opened.convert("RGB").getcolors(2**24)
    assert found is not None
    return {colour for _, colour in found}


def test_a_label_has_one_colour_wherever_it_stands() -> None:
    here = label_colours(np.array([[0, 5], [HUGE, 2**64 - 1]], np.uint64))
    there = label_colours(np.array([5, HUGE, 5, HUGE + 1], np.uint64))
    assert np.array_equal(here[0, 1], there[0])
    assert np.array_equal(here[1, 0], there[1])
    assert np.array_equal(here[0, 0], [0, 0, 0])
    assert not np.array_equal(there[1], there[3]), "ids that floats can't tell apart have different colours"


def test_background_alone_is_black() -> None:
    assert label_colours(np.zeros((3, 4), np.uint64)).sum() == 0


def test_label_colours_are_bright_enough_to_differ_from_background() -> None:
    colours = label_colours(np.arange(1, 2000, dtype=np.uint64))
    assert colours.max(axis=1).min() > 0.5


def test_tracks_have_distinct_looks_and_keep_them() -> None:
    tracks = ["pseudo", "bootstrapped", "baseline", "mine", "theirs"]
    looks = [track_style(track, tracks) for track in tracks]
    assert len(set(looks)) == len(tracks)
    assert track_style("pseudo") == track_style("pseudo", tracks)


def test_ten_rounds_stand_in_order_and_differ() -> None:
    names = bootstrapped_tracks(10)
    tracks = ["pseudo", *names, "baseline", "mine"]
    assert sorted_tracks(sorted(tracks)) == tracks
    assert len({track_style(track, tracks[:-1]) for track in tracks[:-1]}) == 12
    assert [round_of(track) for track in tracks] == [*range(11), None, None]
    assert [round_of(f"bootstrapped_{name}") for name in ("1", "0", "02", "x")] == [None] * 4


def test_matching_pairs_each_object_with_one_segment() -> None:
    truth = np.array([HUGE] * 6 + [7] * 4 + [0] * 2, np.uint64)
    segmentation = np.array([1] * 4 + [2] * 2 + [2] * 3 + [0] + [3] * 2, np.uint64)
    matching = match_labels(segmentation, truth)
    partner = dict(zip(matching.segments.tolist(), matching.partner.tolist(), strict=True))
    assert partner == {0: 0, 1: HUGE, 2: 7, 3: 0}
    errors = disagreement(segmentation, truth, matching)
    assert np.flatnonzero(errors["merged"]).tolist() == [4, 5]
    assert np.flatnonzero(errors["missing"]).tolist() == [9]
    assert not errors["split"].any()


def test_a_piece_cut_off_is_a_split_and_wears_another_colour() -> None:
    truth = np.full(10, 7, np.uint64)
    segmentation = np.array([1] * 7 + [7] * 3, np.uint64)
    matching = match_labels(segmentation, truth)
    colours, true = matched_colours(segmentation, matching), label_colours(truth)
    assert np.array_equal(colours[:7], true[:7])
    assert not (colours[7:] == true[7:]).all(axis=1).any(), "its id is the truth's by chance, its colour must not be"
    assert np.flatnonzero(disagreement(segmentation, truth, matching)["split"]).tolist() == [7, 8, 9]


def test_an_empty_segmentation_is_missing_everywhere() -> None:
    truth, nothing = np.array([3, 3, 0], np.uint64), np.zeros(3, np.uint64)
    matching = match_labels(nothing, truth)
    assert disagreement(nothing, truth, matching)["missing"].tolist() == [True, True, False]
    assert matched_colours(nothing, matching).sum() == 0


@pytest.mark.parametrize(("depth", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (7, [1, 3, 5])])
def test_sections_are_spread_and_never_repeated(tmp_path: Path, depth: int, expected: list[int]) -> None:
    volume = open_volume(store(tmp_path / "v.zarr", np.zeros((depth, 5, 6), np.uint8)))
    planes = choose_planes(volume)
    assert [plane.box[0].start for plane in planes if plane.axis == 0] == expected
    assert sum(plane.axis == 1 for plane in planes) == (depth > 1)


def test_a_section_outside_the_volume_is_refused(raw: Path) -> None:
    with pytest.raises(InputError, match="section 7"):
        choose_planes(open_volume(raw), [3, 7])


def test_planes_are_read_where_they_lie_in_the_world(raw: Path, tmp_path: Path) -> None:
    values = np.arange(3 * 10 * 12, dtype=np.uint64).reshape(3, 10, 12) + HUGE
    inner = open_volume(store(tmp_path / "inner.zarr", values, offset=(2 * 50.0, 5 * 4.5, 6 * 4.5)))
    grid = open_volume(raw)
    section, cut = choose_planes(grid, [3])
    seen = read_plane(inner, grid, section)
    assert seen.shape == (41, 53)
    assert np.array_equal(seen[5:15, 6:18], values[1])
    assert np.count_nonzero(seen) == 120
    assert read_plane(inner, grid, cut).shape == (7, 53)


def test_another_voxel_size_is_refused(raw: Path, tmp_path: Path) -> None:
    other = create_volume(tmp_path / "o.zarr", (7, 41, 53), np.uint8, voxel_size=(50, 4, 4))
    with pytest.raises(InputError, match="voxel sizes differ"):
        read_plane(other, open_volume(raw), choose_planes(open_volume(raw))[0])


def test_large_sections_show_a_window(tmp_path: Path) -> None:
    wide = create_volume(tmp_path / "wide.zarr", (4, 100_000, 90_001), np.uint8, voxel_size=(40, 4, 4))
    section = choose_planes(wide, [2])[0]
    assert all(side.stop - side.start <= 640 for side in section.box)
    middle = (section.box[1].start + section.box[1].stop) / 2
    assert abs(middle - 50_000) <= 1


def labels_of(kind: str) -> np.ndarray:
    labels = np.zeros((7, 41, 53), np.uint64)
    if kind == "one object":
        labels[:] = HUGE
    elif kind == "many":
        labels[:, 3:20, 2:30], labels[:, 22:40, 2:50] = HUGE, HUGE - 1
    return labels


@pytest.mark.parametrize("kind", ["nothing", "one object", "many"])
@pytest.mark.parametrize("with_truth", [True, False])
def test_segmentation_is_drawn_whatever_it_holds(raw: Path, tmp_path: Path, kind: str, with_truth: bool) -> None:
    segmentation = store(tmp_path / "s.zarr", labels_of(kind))
    truth = store(tmp_path / "t.zarr", labels_of("many")) if with_truth else None
    figures.figure_segmentation(raw, segmentation, truth, tmp_path / "out" / "s.png")
    width, height = size_of(tmp_path / "out" / "s.png")
    assert width >= 600 and height >= 200
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["s.png"], "no unfinished file is left"


def test_matched_segments_wear_the_colour_of_the_truth(raw: Path, tmp_path: Path) -> None:
    truth = store(tmp_path / "t.zarr", labels_of("many"))
    renumbered = labels_of("many")
    renumbered[renumbered == HUGE] = 12
    figures.figure_segmentation(raw, store(tmp_path / "s.zarr", renumbered), truth, tmp_path / "s.png")
    own = tuple(int(value) for value in np.rint(label_colours(np.array([12], np.uint64))[0] * 255))
    assert own not in colours_in(tmp_path / "s.png")


def test_pictures_of_thin_volumes(tmp_path: Path) -> None:
    thin = store(tmp_path / "thin.zarr", np.full((1, 30, 20), 9, np.uint16))  # one section, constant
    fragments = store(tmp_path / "f.zarr", np.ones((1, 30, 20), np.uint64))
    figures.figure_fragments(thin, fragments, tmp_path / "f.png")
    affinities = store(tmp_path / "a.zarr", np.full((3, 1, 30, 20), 200, np.uint8))
    figures.figure_affinities(thin, affinities, tmp_path / "a.png")
    assert size_of(tmp_path / "f.png") and size_of(tmp_path / "a.png")


def test_prediction_without_descriptors_or_affinities(raw: Path, tmp_path: Path) -> None:
    two = np.zeros((2, 7, 41, 53), np.uint8)
    affinities = store(tmp_path / "a.zarr", two, offsets=[[0, -1, 0], [0, 0, -1]])
    descriptors = store(tmp_path / "d.zarr", np.zeros((6, 7, 41, 53), np.uint8))
    figures.figure_prediction(raw, affinities, None, tmp_path / "1.png", sections=[0, 6])
    figures.figure_prediction(raw, None, descriptors, tmp_path / "2.png", sections=1)
    assert size_of(tmp_path / "1.png") and size_of(tmp_path / "2.png")


def test_affinities_are_coloured_by_their_offsets_not_their_order(raw: Path, tmp_path: Path) -> None:
    values = np.zeros((4, 7, 41, 53), np.uint8)
    values[3] = 255  # z, the last channel
    offsets = [[0, 0, -1], [0, -1, 0], [0, 0, -9], [-1, 0, 0]]
    figures.figure_affinities(raw, store(tmp_path / "a.zarr", values, offsets=offsets), tmp_path / "a.png")
    reds = [c for c in colours_in(tmp_path / "a.png") if c[0] > 240 and c[1] < 15 and c[2] < 15]
    assert reds


def test_annotation_finds_the_painted_sections(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((7, 41, 53), np.uint8)
    mask[[2, 5], 4:9] = 1
    labels = labels_of("many") * mask
    titles: list[str] = []
    monkeypatch.setattr(figures, "montage", lambda rows, names, *rest: titles.extend(names))
    figures.figure_annotation(raw, store(tmp_path / "l.zarr", labels), store(tmp_path / "m.zarr", mask), tmp_path / "p")
    assert titles == ["section 2: 1 object", "section 5: 1 object"]


def test_annotation_without_paint_is_drawn(raw: Path, tmp_path: Path) -> None:
    empty = store(tmp_path / "m.zarr", np.zeros((7, 41, 53), np.uint8))
    figures.figure_annotation(raw, store(tmp_path / "l.zarr", labels_of("nothing")), empty, tmp_path / "a.png")
    assert size_of(tmp_path / "a.png")


def test_pseudo_truth_tells_the_counts(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text("step,objects,voxels\nsegmentation,812,5\ndust,300,4\n")
    before, after = store(tmp_path / "b.zarr", labels_of("many")), store(tmp_path / "a.zarr", labels_of("nothing"))
    titles: list[str] = []
    monkeypatch.setattr(figures, "montage", lambda rows, names, *rest: titles.extend(names))
    figures.figure_pseudo_truth(raw, before, after, tmp_path / "p.png", counts)
    figures.figure_pseudo_truth(raw, before, after, tmp_path / "p.png")
    assert titles[1:3] == ["before: 812 objects", "after: 300 objects"]
    assert titles[6].startswith("after: 0 ")


def test_noise_is_made_to_fit_a_small_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).random((400, 400, 3))
    montage([Row("a", (4, 4), [noise, noise])] * 3, ["one", "two"], tmp_path / "n.png")
    assert (tmp_path / "n.png").stat().st_size < 300_000


def score_table(track: str, volume: str = "test") -> pd.DataFrame:
    rows = []
    for convention in ("interior", "all"):
        for threshold in (0.1, 0.25, 0.58):
            split, merge = threshold, 0.7 - threshold
            rows.append((volume, track, convention, threshold, split, merge, split + merge))
    columns = ["volume", "track", "convention", "threshold", "voi_split", "voi_merge", "voi_sum"]
    return pd.DataFrame(rows, columns=columns)


def test_scores_of_every_track_are_drawn(tmp_path: Path) -> None:
    files, best = [], []
    for track in ("baseline", "pseudo"):
        files.append(tmp_path / f"{track}.csv")
        score_table(track).to_csv(files[-1], index=False)
        best.append(tmp_path / f"{track}.json")
        record = {"volume": "test", "track": track, "best": {"threshold": 0.58}, "chosen": None}
        best[-1].write_text(json.dumps(record))
    figures.figure_scores(files, tmp_path / "s.png", best)
    figures.figure_scores([], tmp_path / "none.png")
    assert size_of(tmp_path / "s.png")[1] > 300 and size_of(tmp_path / "none.png")
    assert set(read_scores(files)["track"]) == {"baseline", "pseudo"}


def test_scores_that_do_not_change_stay_below_the_top() -> None:
    """The marks of a flat curve are drawn whole, and an axis of nothing but 0 has a height."""
    for value in (0.75, 0.0):
        scores = pd.DataFrame({"threshold": [0.1, 0.2], "voi_sum": value})
        _, axes = pyplot.subplots()
        draw_voi(axes, scores.assign(volume="v", track="t", convention="all"), [], "v", "all", "voi_sum")
        bottom, top = axes.get_ylim()
        assert bottom == 0 and top > 1.02 * value
        pyplot.close()


def test_losses_with_and_without_validation(tmp_path: Path) -> None:
    with_validation, without = tmp_path / "a.csv", tmp_path / "b.csv"
    with_validation.write_text("step,seconds,loss,validation_loss\n1,0.5,0.9,\n2,1.0,0.5,0.6\n")
    without.write_text("step,seconds,loss,validation_loss\n1,0.5,0.0,\n")  # a loss of 0 has no logarithm
    figures.figure_losses({"2d": with_validation, "3d_baseline": without}, tmp_path / "l.png")
    figures.figure_losses({}, tmp_path / "none.png")
    assert size_of(tmp_path / "l.png") and size_of(tmp_path / "none.png")


def benchmark(path: Path, seconds: str, rss: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\tmean_load\tcpu_time\n{seconds}\t0:00:01\t{rss}\t150.0\t3\n")
    return path


def test_benchmarks_are_summed_per_rule(tmp_path: Path) -> None:
    files = [
        benchmark(tmp_path / "benchmarks" / "predict" / "a.tsv", "10.5", "100"),
        benchmark(tmp_path / "benchmarks" / "predict" / "b.pseudo.tsv", "20", "300"),
        benchmark(tmp_path / "benchmarks" / "train_2d" / "2d.tsv", "NA", "-"),  # too short to be measured
    ]
    jobs = read_benchmarks(files)
    assert jobs["job"].tolist() == ["a", "b.pseudo", "2d"]
    costliest = rules_by_cost(jobs).to_dict("records")[0]
    assert [costliest[key] for key in ("rule", "jobs", "seconds", "peak_mb")] == ["predict", 2, 30.5, 300]
    figures.figure_resources(files, tmp_path / "r.png")
    figures.figure_resources([], tmp_path / "none.png")
    assert size_of(tmp_path / "r.png") and size_of(tmp_path / "none.png")


def test_a_panel_for_the_page_takes_the_ink_of_the_page() -> None:
    svg = panel_svg(lambda axes: axes.set_xlabel("x"), 'a "panel" <of> a & b')
    assert svg.startswith("<svg ") and "currentColor" in svg
    assert "<script" not in svg and "<of>" not in svg and "http://purl.org" not in svg


def test_figures_are_the_same_bytes_again(raw: Path, tmp_path: Path) -> None:
    labels = store(tmp_path / "s.zarr", labels_of("many"))
    for name in ("1.png", "2.png"):
        figures.figure_fragments(raw, labels, tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def suggestion_rows(path: Path, *places: tuple[str, int, int]) -> Path:
    """A table of suggestions of the volume 007: kind, section, and where along x a region of 20 voxels begins."""
    rows = [
        {"kind": kind, "rank": rank, "volume": "007", "section": z, "begin_y": 0, "end_y": 41, "begin_x": x,
         "end_x": x + 20}
        for rank, (kind, z, x) in enumerate(places, start=1)
    ]  # fmt: skip
    pd.DataFrame(rows, columns=["kind", "rank", "volume", "section", *("begin_y", "end_y", "begin_x", "end_x")]).to_csv(
        path, index=False
    )
    return path


def test_suggestions_are_shown_with_what_is_uncertain_in_them(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most two sections and two regions, each its own box; a tenth of the voxels is marked at most."""
    shown: list[Row] = []
    monkeypatch.setattr(figures, "montage", lambda rows, *_: shown.extend(rows))
    values = np.full((2, 7, 41, 53), 250, np.uint8)
    values[:, 5, :, 10:14] = 128
    affinities = store(tmp_path / "affinities.zarr", values, offsets=[[0, -1, 0], [0, 0, -1]])
    places = [("section", z, 0) for z in (5, 0, 1)] + [("region", 5, 0), ("region", 5, 30)]
    table = suggestion_rows(tmp_path / "paint_next.csv", *places)
    figures.figure_paint_next(raw, affinities, table, tmp_path / "f.png", volume="007")
    assert [row.name.split(":")[1].split()[-1] for row in shown] == ["5", "0", "5", "5"]
    assert [row.pictures[0].shape for row in shown if row.pictures[0] is not None] == [(41, 53)] * 2 + [(41, 20)] * 2
    marked = []
    for row in shown:
        grey, _, tinted = row.pictures
        assert grey is not None and tinted is not None
        marked.append(np.abs(tinted - grey[..., None]).max(axis=-1) > 0.05)
    assert marked[0][:, 10:14].all() and not marked[0][:, 14:].any()
    assert not marked[1].any()
    assert marked[2][:, 10:14].all() and not marked[3].any()


def test_a_volume_of_which_nothing_is_suggested_is_shown_all_the_same(raw: Path, tmp_path: Path) -> None:
    """Sure everywhere, so nothing is marked."""
    affinities = store(tmp_path / "affinities.zarr", np.zeros((1, 7, 41, 53), np.uint8), offsets=[[0, -1, 0]])
    for table in (suggestion_rows(tmp_path / "a.csv"), suggestion_rows(tmp_path / "b.csv", ("section", 3, 0))):
        figures.figure_paint_next(raw, affinities, table, tmp_path / "f.png", volume="other")
        assert size_of(tmp_path / "f.png")[0] > 100
        assert not [colour for colour in colours_in(tmp_path / "f.png") if max(colour) - min(colour) > 60]
