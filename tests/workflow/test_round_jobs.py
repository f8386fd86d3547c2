"""Rounds: what each adds to the plan, what it learns from, and what is made again."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workflow.invocation import TINY, Job, planned, snakemake, written

RUN = Path("results/tiny")
FOLLOWED = {
    *("affinities.zarr", "descriptors.zarr", "fragments.zarr", "graph", "merge_tree.parquet", "links.parquet"),
    *("disagreement.csv", "luts/chosen.parquet", "segmentation/chosen.zarr"),
    *(f"figures/{name}.png" for name in ("affinities", "fragments", "segmentation_chosen")),
}
FILTERED = {"pseudo_truth.zarr", "pseudo_truth_mask.zarr", "pseudo_truth.csv", "figures/pseudo_truth.png"}


def of_rounds(rounds: int, directory: Path, *options: str) -> list[Job]:
    """The plan of the tiny configuration with so many rounds."""
    change = written(directory, {"rounds": rounds}, f"rounds_{rounds}.yaml")
    return planned(snakemake(directory, "--dry-run", *options, configfiles=(TINY, change)))


def outputs(jobs: list[Job]) -> dict[str, Job]:
    """The job of every output."""
    return {path: job for job in jobs for path in job.outputs}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """The plan without the key."""
    return planned(snakemake(tmp_path_factory.mktemp("one"), "--dry-run"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """The plan of two rounds."""
    return of_rounds(2, tmp_path_factory.mktemp("two"))


def test_one_round_is_the_default(one: list[Job]) -> None:
    """It trains one bootstrapped net on pseudo ground truth of the pseudo track, and makes no other."""
    made = outputs(one)
    assert not any("bootstrapped_" in path for path in made)
    assert {path for path in made if "pseudo_truth" in path} == {
        str(RUN / volume / "pseudo" / name) for volume in ("painted", "bare") for name in FILTERED
    }
    assert {path for path in made if path.endswith("checkpoint.pt")} == {
        str(RUN / "nets" / net / "checkpoint.pt") for net in ("2d", "2d_to_3d", "3d_bootstrapped", "3d_baseline")
    }


def test_a_second_round_adds_its_own_jobs_and_no_others(one: list[Job], two: list[Job]) -> None:
    """All of the first round again under its own name, and the first round where it now is pseudo ground truth."""
    before, after = outputs(one), outputs(two)
    again = {path.replace("bootstrapped", "bootstrapped_2") for path in before if "bootstrapped" in path}
    filtered = {str(RUN / volume / "bootstrapped" / name) for volume in ("painted", "bare") for name in FILTERED}
    bare = {str(RUN / "bare/bootstrapped" / name) for name in FOLLOWED}
    assert len(again) > 30
    assert set(after) - set(before) == again | filtered | bare
    assert set(before) <= set(after)
    changed = {job.rule for path, job in before.items() if after[path] != job}
    shown = {"write_report", "figure_side_by_side", "figure_scores", "figure_losses", "figure_resources"}
    assert changed == {"choose_threshold", *shown}, "it is chosen with the unlabelled volume in view, and shown"
    assert sum(job.rule == "train_3d_bootstrapped" for job in two) == 2


def test_a_round_learns_from_the_segmentation_of_the_one_before(tmp_path: Path) -> None:
    """Of annotated and unlabelled volumes, at a threshold chosen without any test volume; the first from `pseudo`."""
    jobs = of_rounds(3, tmp_path, "bootstrap")
    nets = outputs([job for job in jobs if job.rule == "train_3d_bootstrapped"])
    tracks = ("pseudo", "bootstrapped", "bootstrapped_2", "bootstrapped_3")
    for former, track in pairwise(tracks):
        raw = {str(RUN / volume / "raw.zarr") for volume in ("painted", "bare")}
        taught = {
            str(RUN / volume / former / name)
            for volume in ("painted", "bare")
            for name in ("pseudo_truth.zarr", "pseudo_truth_mask.zarr")
        }
        assert nets[str(RUN / "nets" / f"3d_{track}" / "checkpoint.pt")].inputs == raw | taught
    assert len({id(job) for job in nets.values()}) == 3
    assert not any("held_out" in path for job in jobs for path in job.inputs | job.outputs)
    assert {path for path in outputs(jobs) if "thresholds" in path} == {
        str(RUN / "thresholds" / f"{track}.json") for track in tracks[:-1]
    }


def test_finished_rounds_stay_until_another_threshold_is_chosen(two: list[Job], tmp_path: Path) -> None:
    """Where scores are newer than the choice made by them, only the choice is planned: a net may follow from it."""
    for path in outputs(two):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".json" and file.parent.name == "thresholds":
            file.write_text(json.dumps({"threshold": 0.4}))
        elif file.suffix in ("", ".zarr"):
            file.mkdir()
        else:
            file.touch()
    for file in (tmp_path / RUN).rglob("*"):
        os.utime(file, (10**9, 10**9))
    assert of_rounds(2, tmp_path, "--rerun-triggers", "mtime") == []
    os.utime(tmp_path / RUN / "painted/bootstrapped/scores.csv")
    rules = {job.rule for job in of_rounds(2, tmp_path, "--rerun-triggers", "mtime")}
    assert "choose_threshold" in rules
    assert not {"train_3d_bootstrapped", "make_pseudo_truth", "predict_3d"} & rules
