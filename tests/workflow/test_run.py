"""A whole run on generated volumes, and what a second run does."""

import csv
import json
import re
from pathlib import Path

import pyarrow.parquet as pq

from sparse2dense.volumes.volume import open_volume
from tests.workflow.invocation import ROOT, TINY, snakemake, started, written

RUN = Path("results/tiny")


def test_everything_is_made(tiny_run: Path) -> None:
    """Every track is scored on the test volume, in both conventions and at every threshold."""
    run = tiny_run / RUN
    for track in ("pseudo", "bootstrapped", "baseline"):
        rows = list(csv.DictReader((run / "held_out" / track / "scores.csv").open()))
        assert {row["convention"] for row in rows} == {"all", "interior"}
        assert [row["threshold"] for row in rows][:5] == ["0.2", "0.4", "0.5", "0.6", "0.8"]
        best = json.loads((run / "held_out" / track / "best.json").read_text())
        lowest = min(float(row["voi_sum"]) for row in rows if row["convention"] == best["convention"])
        assert best["best"]["voi_sum"] == lowest
        assert best["chosen"]["threshold"] == json.loads((run / f"thresholds/{track}.json").read_text())["threshold"]
        assert best["agreeing"]["threshold"] in (0.2, 0.4, 0.5, 0.6, 0.8)
        assert "disagreement" in best["agreeing"]["reason"]
        along = list(csv.DictReader((run / "held_out" / track / "skeleton_scores.csv").open()))
        assert [row["threshold"] for row in along] == ["0.2", "0.4", "0.5", "0.6", "0.8"]
        assert all(0 <= float(row["erl_nm"]) <= float(row["erl_max_nm"]) < 2000 for row in along)
    suggested = list(csv.DictReader((run / "paint_next.csv").open()))
    painted = [int(row["section"]) for row in suggested if (row["kind"], row["volume"]) == ("section", "painted")]
    assert len(painted) == 3 and not {5, 10, 15} & set(painted)
    assert (run / "report.html").stat().st_size > 100_000


def test_nothing_half_written_is_left(tiny_run: Path) -> None:
    """No working directory outlives a run."""
    assert not [path for path in (tiny_run / RUN).rglob("*") if path.name.endswith((".partial", ".new"))]


def test_volumes_keep_place_and_size(tiny_run: Path) -> None:
    """What is made of a volume has its shape and voxel size, from raw to segmentation."""
    run = tiny_run / RUN / "held_out"
    names = ("raw", "truth", "pseudo/affinities", "pseudo/fragments", "baseline/segmentation/best")
    volumes = {name: open_volume(run / f"{name}.zarr") for name in names}
    assert {volume.spatial_shape for volume in volumes.values()} == {(17, 50, 44)}
    assert {volume.voxel_size for volume in volumes.values()} == {(8.0, 8.0, 8.0)}
    assert volumes["pseudo/affinities"].shape[0] == 6


def test_every_job_leaves_log_and_benchmark(tiny_run: Path) -> None:
    """Logs and benchmarks stand beside the results, by rule."""
    run = tiny_run / RUN
    logs = {path.relative_to(run / "logs").with_suffix("") for path in (run / "logs").rglob("*.log")}
    benchmarks = {path.relative_to(run / "benchmarks").with_suffix("") for path in (run / "benchmarks").rglob("*.tsv")}
    assert logs == benchmarks
    assert len(logs) > 100
    assert all(path.stat().st_size > 0 for path in (run / "benchmarks").rglob("*.tsv"))


def test_second_run_has_nothing_to_do(tiny_run: Path) -> None:
    """No rule forgets an output, and no parameter changes by itself."""
    assert "Nothing to be done" in snakemake(tiny_run).text


def test_other_thresholds_only_score_again(tiny_run: Path) -> None:
    """A finer sweep reads the overlap tables and merge trees that are there; no net and no fragment is made again."""
    before = (tiny_run / RUN / "thresholds/pseudo.json").read_text()
    chosen = json.loads(before)["threshold"]
    finer = written(tiny_run, {"segment": {"thresholds": sorted({chosen, 0.9975, 0.9985})}})
    outcome = snakemake(tiny_run, configfiles=(TINY, finer))
    expensive = re.compile(
        r"train|predict|make_(?!lut)|import|annotate|slice|mask|count|figure_(annot|pred|aff|frag|pseudo)"
    )
    assert not [rule for rule in started(outcome) if expensive.match(rule)]
    assert {"score", "choose_threshold", "find_best", "write_report"} <= set(started(outcome))
    snakemake(tiny_run)


def test_objects_are_judged_without_truth(tiny_run: Path) -> None:
    """Asking for the disagreement of an unlabelled volume's own threshold trains and predicts nothing."""
    folder = RUN / "bare/pseudo/disagreement/agreeing"
    outcome = snakemake(tiny_run, str(folder / "sections.csv"))
    assert set(started(outcome)) == {"make_lut", "measure_disagreement"}
    rows = list(csv.DictReader((tiny_run / folder / "sections.csv").open()))
    assert {row["prediction"] for row in rows} == {"stacked_affinities", "stacked_descriptors", "affinities"}
    assert all(0 <= float(row["disagreement"]) <= 1 for row in rows)
    assert pq.read_table(tiny_run / folder / "objects.parquet").column_names[:2] == ["prediction", "segment"]


def test_a_named_threshold_costs_a_look_up(tiny_run: Path) -> None:
    """Asking for the segmentation of a threshold cuts the tree and writes the volume, and does nothing else."""
    target = RUN / "held_out/pseudo/segmentation/0.58.zarr"
    outcome = snakemake(tiny_run, str(target))
    assert started(outcome) == ["make_lut", "write_segmentation"]
    lut = pq.read_table(tiny_run / RUN / "held_out/pseudo/luts/0.58.parquet")
    assert set(lut.column_names) == {"fragment", "segment"}


def test_changed_filter_trains_the_bootstrapped_net_again_and_no_other(tiny_run: Path) -> None:
    """A parameter leads to the jobs that depend on it."""
    change = written(tiny_run, {"pseudo_truth": {"dust": 21}})
    plan = snakemake(tiny_run, "--dry-run", configfiles=(TINY, change)).text
    trained = set(re.findall(r"^rule (train_\w+):", plan, re.MULTILINE))
    assert trained == {"train_3d_bootstrapped"}


def test_snakemake_report(tiny_run: Path) -> None:
    """Snakemake's own report is made, with our captions and categories."""
    snakemake(tiny_run, "--report", "snakemake.html")
    page = (tiny_run / "snakemake.html").read_text()
    for category in ("Scores", "3D affinities", "Pseudo ground truth", "Training", "Time and memory", "Worst errors",
                     "Side by side", "Largest objects in 3D"):  # fmt: skip
        assert category in page
    charts = ("chart_scores", "chart_losses", "chart_resources", "snapshots")
    for name in ("affinities", "pseudo_truth", "scores", "errors", "shapes", "side_by_side", *charts):
        assert (ROOT / f"workflow/report/{name}.rst").read_text()[:30] in page
