"""What the workflow plans to do, without doing it."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.costs import STAGES, run_costs
from tests.stand_ins import merged
from tests.workflow.invocation import ROOT, TINY, Job, planned, snakemake, started, written

SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
# Which rules read what which rules made, beside pictures and report. Segmentation at the chosen threshold hides behind
# the checkpoint `choose_threshold` until that has run.
CHAIN = {
    "import_raw": {"make_phantom"},
    "import_labels": {"make_phantom", "import_raw"},
    "mask_tissue": {"import_raw"},
    "annotate": {"import_raw", "import_labels"},
    "slice_sections": {"import_raw", "annotate"},
    "train_2d": {"slice_sections"},
    "predict_2d": {"import_raw", "train_2d"},
    "predict_2d_to_3d": {"predict_2d", "train_2d_to_3d"},
    "make_fragments": {"mask_tissue", "predict_2d_to_3d", "predict_3d"},
    "make_graph": {"make_fragments", "predict_2d_to_3d", "predict_3d"},
    "make_merge_tree": {"make_graph"},
    "count_overlaps": {"make_fragments", "annotate", "import_labels"},
    "score": {"count_overlaps", "make_merge_tree"},
    "make_skeletons": {"import_raw", "import_labels"},
    "score_skeletons": {"make_skeletons", "make_fragments", "make_merge_tree"},
    "count_links": {"make_fragments", "predict_2d_to_3d", "predict_3d"},
    "sweep_disagreement": {"count_links", "make_merge_tree"},
    "choose_threshold": {"score", "sweep_disagreement"},
    "find_best": {"score", "choose_threshold", "sweep_disagreement"},
    "make_lut": {"make_merge_tree", "find_best", "choose_threshold"},
    "write_segmentation": {"make_fragments", "make_lut"},
    "measure_regions": {"import_raw", "mask_tissue", "annotate", "predict_2d", "make_fragments", "make_lut"},
    "suggest_painting": {"measure_regions"},
    "rank_errors": {"count_overlaps", "make_lut", "make_fragments", "import_labels"},
    "make_pseudo_truth": {"choose_threshold"},
    "train_3d_bootstrapped": {"import_raw", "make_pseudo_truth"},
    "train_3d_baseline": {"import_raw", "import_labels"},
    "predict_3d": {"import_raw", "train_3d_bootstrapped", "train_3d_baseline"},
}
SHOWN = ("figure_", "write_report", "all")


def test_rules_feed_each_other(tmp_path: Path) -> None:
    """The stages are connected as documented, and nothing else is."""
    printed = snakemake(tmp_path, "--d3dag").text
    graph = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    rule = {node["id"]: node["value"]["rule"] for node in graph["nodes"]}
    found: dict[str, set[str]] = {}
    for edge in graph["edges"]:
        maker, reader = rule[edge["u"]], rule[edge["v"]]
        if not reader.startswith(SHOWN):
            found.setdefault(reader, set()).add(maker)
    assert found == CHAIN


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Everything that the tiny configuration leads to."""
    return planned(snakemake(tmp_path_factory.mktemp("plan"), "--dry-run"))


def test_the_2d_to_3d_net_waits_for_measured_errors(tmp_path: Path) -> None:
    """It is trained beside the 2D net, unless it shall learn from that net's errors."""
    target = "results/tiny/nets/2d_to_3d/checkpoint.pt"
    (alone,) = planned(snakemake(tmp_path, target, "--dry-run"))
    assert alone.rule == "train_2d_to_3d" and not alone.inputs
    change = written(tmp_path, {"nets": {"2d_to_3d": {"synthetic": {"errors": "measured"}}}})
    found = {job.rule: job for job in planned(snakemake(tmp_path, target, "--dry-run", configfiles=(TINY, change)))}
    assert "results/tiny/nets/2d/checkpoint.pt" in found["measure_errors"].inputs
    assert found["train_2d_to_3d"].inputs == found["measure_errors"].outputs


def test_test_volume_trains_nothing(jobs: list[Job]) -> None:
    """No net and no threshold depends on a test volume; its truth is only scored against and shown."""
    learning = {"train_2d", "train_2d_to_3d", "train_3d_bootstrapped", "train_3d_baseline", "choose_threshold"}
    assert learning <= {job.rule for job in jobs}
    readers = set()
    for job in jobs:
        if job.rule in {*learning, "make_pseudo_truth", "annotate"}:
            assert not any("/held_out/" in path for path in job.inputs), job
        if "results/tiny/held_out/truth.zarr" in job.inputs:
            readers.add(job.rule)
    pictures = {"figure_segmentation", "figure_errors", "figure_shapes", "figure_side_by_side"}
    assert readers == {"count_overlaps", "make_skeletons", "rank_errors", *pictures}


def test_roles_decide_what_is_made_of_a_volume(jobs: list[Job]) -> None:
    """Every track is followed on annotated and test volumes; unlabelled ones only give pseudo ground truth."""
    made = {path for job in jobs for path in job.outputs}
    for volume in ("painted", "held_out"):
        for track in ("pseudo", "bootstrapped", "baseline"):
            assert f"results/tiny/{volume}/{track}/best.json" in made
    assert "results/tiny/bare/pseudo/affinities.zarr" in made
    assert "results/tiny/bare/pseudo/pseudo_truth.zarr" in made
    assert "results/tiny/held_out/pseudo/pseudo_truth.zarr" not in made
    assert not any(path.startswith("results/tiny/bare/b") or path.endswith("bare/pseudo/best.json") for path in made)
    assert sum(job.rule == "train_2d_to_3d" for job in jobs) == 1


def test_thresholds_can_be_chosen_without_truth(tmp_path: Path, jobs: list[Job]) -> None:
    """Disagreement is always known of all volumes that train; any volume has a choice and tables of its own."""
    choices = {job.outputs: job.inputs for job in jobs if job.rule == "choose_threshold"}
    judged = {f"results/tiny/{volume}/pseudo/disagreement.csv" for volume in ("painted", "bare")}
    assert judged <= choices[frozenset({"results/tiny/thresholds/pseudo.json"})]
    alone = {"results/tiny/painted/baseline/disagreement.csv"}
    assert {path for path in choices[frozenset({"results/tiny/thresholds/baseline.json"})] if "dis" in path} == alone
    target = "results/tiny/bare/pseudo/disagreement/agreeing/objects.parquet"
    own = planned(snakemake(tmp_path, target, "--dry-run"))
    assert "choose_threshold" not in {job.rule for job in own}
    (lut,) = (job for job in own if job.rule == "make_lut")
    assert "results/tiny/bare/pseudo/disagreement.csv" in lut.inputs
    (measured,) = (job for job in own if job.rule == "measure_disagreement")
    predicted = {
        f"results/tiny/bare/pseudo/{name}.zarr" for name in ("stacked_affinities", "stacked_descriptors", "affinities")
    }
    assert predicted < measured.inputs


@pytest.mark.parametrize(("kind", "image"), [("3d_aclsd", False), ("3d_acrlsd", True)])
def test_auto_context_trains_two_nets_in_turn(tmp_path: Path, kind: str, image: bool) -> None:
    """In each track a first net predicts every volume, and the second learns from and predicts with what it said."""
    change = written(tmp_path, {"nets": {"3d": {"kind": kind}}, "volumes": {"held_out": {"jobs": 3}}})
    jobs = planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, change)))
    assert sum(job.rule == "predict_3d_lsd_part" for job in jobs) == 6
    made = {path: job for job in jobs for path in job.outputs}
    for track, labelled in (("bootstrapped", ("painted", "bare")), ("baseline", ("painted",))):
        first, second = (made[f"results/tiny/nets/{net}_{track}/checkpoint.pt"] for net in ("3d_lsd", "3d"))
        assert (first.rule, second.rule) == (f"train_3d_{track}", f"train_3d_{track}")
        assert second.inputs == first.inputs | {f"results/tiny/{name}/{track}/descriptors.zarr" for name in labelled}
        for name in {*labelled, "held_out"}:
            descriptors = made[f"results/tiny/{name}/{track}/descriptors.zarr"]
            assert descriptors.rule == "predict_3d_lsd"
            read = {f"results/tiny/nets/3d_lsd_{track}/checkpoint.pt", f"results/tiny/{name}/raw.zarr"}
            assert read <= descriptors.inputs
        predicted = made[f"results/tiny/held_out/{track}/affinities.zarr"]
        assert f"results/tiny/held_out/{track}/descriptors.zarr" in predicted.inputs
        assert ("results/tiny/held_out/raw.zarr" in predicted.inputs) == image
        assert f"results/tiny/held_out/{track}/descriptors.zarr" not in predicted.outputs
    (report,) = (job for job in jobs if job.rule == "write_report")
    assert "results/tiny/nets/3d_lsd_bootstrapped/losses.csv" in report.inputs


def test_a_training_asks_for_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets that share out their samples for as many as they say; where there is no GPU it runs without."""
    change = written(tmp_path, {"nets": {"2d": {"devices": 2, "batch": 4}}})
    for listed, expected in (("0,1", ["1", "2"]), ("", ["1", "1"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
        text = snakemake(tmp_path, "train", "--dry-run", configfiles=(TINY, change)).text
        assert sorted(re.findall(r"resources: .*\bgpu=(\d+)", text)) == expected


def test_tracks_left_out_train_no_nets(tmp_path: Path) -> None:
    """With the pseudo track alone neither 3D net on raw is trained, and no pseudo ground truth is made."""
    only = written(tmp_path, {"evaluate": {"tracks": ["pseudo"]}})
    rules = {job.rule for job in planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, only)))}
    assert "train_2d" in rules
    assert not {"train_3d_bootstrapped", "train_3d_baseline", "predict_3d", "make_pseudo_truth"} & rules


def test_skeletons_from_a_file_need_no_truth(tmp_path: Path) -> None:
    """Every track is scored by skeletons; those of a file are read, and edits read the region graph besides."""
    nodes = tmp_path / "nodes.csv"
    nodes.write_text("id,skeleton,z,y,x,parent\n1,1,3,4,5,\n")
    source = {"path": str(nodes), "voxel_size": [8, 8, 8], "from_truth": False}
    change = written(tmp_path, {"volumes": {"held_out": {"skeletons": source}}, "evaluate": {"edits": True}})
    jobs = planned(snakemake(tmp_path, "evaluate", "--dry-run", configfiles=(TINY, change)))
    makers = [job for job in jobs if job.rule == "make_skeletons"]
    assert [job.inputs for job in makers] == [{str(nodes), "results/tiny/held_out/raw.zarr"}]
    scored = {job.outputs: job.inputs for job in jobs if job.rule == "score_skeletons"}
    assert len(scored) == 3
    for track in ("pseudo", "bootstrapped", "baseline"):
        folder = f"results/tiny/held_out/{track}"
        assert f"{folder}/graph" in scored[frozenset({f"{folder}/skeleton_scores.csv"})]


def test_the_report_shows_scores_by_skeletons(jobs: list[Job]) -> None:
    """The page waits for the scores of every track of the volume that has skeletons, and of no other."""
    (report,) = [job for job in jobs if job.rule == "write_report"]
    scored = {path for path in report.inputs if path.endswith("skeleton_scores.csv")}
    assert {path.split("/")[2] for path in scored} == {"held_out"}
    assert {path.split("/")[3] for path in scored} == {"pseudo", "bootstrapped", "baseline"}


def test_painting_is_suggested_where_it_may_be_learnt_from(jobs: list[Job], tmp_path: Path) -> None:
    """Sections of a test volume are never suggested; one table for all others, unless none is wanted."""
    (suggesting,) = [job for job in jobs if job.rule == "suggest_painting"]
    assert suggesting.inputs == {f"results/tiny/{volume}/pseudo/regions.parquet" for volume in ("painted", "bare")}
    masks = {path for job in jobs if job.rule == "measure_regions" for path in job.inputs if path.endswith("mask.zarr")}
    assert masks == {"results/tiny/painted/mask.zarr"}
    (report,) = [job for job in jobs if job.rule == "write_report"]
    assert {path for path in report.inputs if "paint_next" in path} == {
        "results/tiny/paint_next.csv",
        *(f"results/tiny/{volume}/pseudo/figures/paint_next.png" for volume in ("painted", "bare")),
    }
    none = written(tmp_path, {"paint_next": {"count": 0}})
    rules = {job.rule for job in planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, none)))}
    assert not {"measure_regions", "suggest_painting", "figure_paint_next"} & rules
    flat = {"nets": {"2d": {"kind": "2d_lsd"}, "2d_to_3d": {"kind": "3d_affs_from_2d_lsd"}}}
    shared = written(tmp_path, {**flat, "volumes": {"bare": {"jobs": 3}}})
    asked = planned(snakemake(tmp_path, "paint_next", "--dry-run", configfiles=(TINY, shared)))
    assert sum(job.rule == "measure_regions_part" for job in asked) == 3
    (alone,) = [job for job in asked if job.outputs == {"results/tiny/painted/pseudo/regions.parquet"}]
    assert "results/tiny/painted/pseudo/affinities.zarr" in alone.inputs, "without 2D affinities those in 3D"


def test_any_threshold_is_segmented_by_naming_its_file(tmp_path: Path) -> None:
    """The segmentation of a threshold outside the configured sweep is one target away."""
    folder = "results/tiny/held_out/bootstrapped/segmentation"
    targets = [f"{folder}/{threshold}.zarr" for threshold in ("0.58", "1", "0.0125", "best", "chosen")]
    made = [
        job.outputs for job in planned(snakemake(tmp_path, *targets, "--dry-run")) if job.rule == "write_segmentation"
    ]
    assert all({target} in made for target in targets)


def test_errors_are_listed_for_test_volumes_and_marked_by_naming_a_file(jobs: list[Job], tmp_path: Path) -> None:
    """The report has the worst errors of every track; a volume of all of them is made at any threshold, if asked."""
    made = {path for job in jobs for path in job.outputs}
    listed = {path for path in made if path.endswith("errors.csv")}
    assert listed == {f"results/tiny/held_out/{track}/errors.csv" for track in ("pseudo", "bootstrapped", "baseline")}
    assert listed <= next(set(job.inputs) for job in jobs if job.rule == "write_report")
    assert "write_errors" not in {job.rule for job in jobs}
    targets = [f"results/tiny/held_out/pseudo/errors/{threshold}.zarr" for threshold in ("0.58", "best", "chosen")]
    shared = written(tmp_path, {"volumes": {"held_out": {"jobs": 3}}})
    asked = planned(snakemake(tmp_path, *targets, "--dry-run", configfiles=(TINY, shared)))
    assert [sum(job.rule == rule for job in asked) for rule in ("write_errors", "write_errors_part")] == [3, 9]
    assert {path for job in asked if job.rule == "write_errors" for path in job.outputs} == set(targets)


@pytest.mark.parametrize("threshold", ["0.580", "58e-2"])
def test_a_threshold_has_one_name(tmp_path: Path, threshold: str) -> None:
    """Two names of one number would be computed and stored twice, so only the shortest exists."""
    target = f"results/tiny/held_out/pseudo/segmentation/{threshold}.zarr"
    outcome = snakemake(tmp_path, target, "--dry-run", check=False)
    assert outcome.status != 0
    assert "MissingRuleException" in outcome.text


def test_addresses_are_downloaded_once(tmp_path: Path) -> None:
    """Two crops of one address share the download; a file on this machine is not downloaded at all."""
    source = {"url": "https://example.org/{0..3}.png", "voxel_size": [8, 8, 8]}
    truth = tmp_path / "truth.tif"
    tifffile.imwrite(truth, np.ones((2, 9, 9), np.uint16))
    volumes = {
        name: {"role": "unlabelled", "raw": {**source, "crop": [[z, z + 2], [0, 9], [0, 9]]}}
        for name, z in (("first", 0), ("second", 2))
    }
    volumes["second"] |= {"role": "test", "truth": {**source, "path": str(truth)}}
    jobs = planned(
        snakemake(tmp_path, "prepare", "--dry-run", configfiles=(TINY, written(tmp_path, {"volumes": volumes})))
    )
    downloads = [job for job in jobs if job.rule == "download"]
    assert [job.outputs for job in downloads] == [{"results/tiny/first/download/raw"}]
    readers = [job for job in jobs if "results/tiny/first/download/raw" in job.inputs]
    assert len(readers) == 2


@pytest.mark.parametrize("files", [("config.yaml",), ("fib25.yaml",), ("fib25.yaml", "gpu.yaml")], ids="+".join)
def test_demo_and_public_data_are_planned(tmp_path: Path, files: tuple[str, ...]) -> None:
    """Every configuration of the project leads to a whole plan."""
    plan = snakemake(tmp_path, "--dry-run", configfiles=tuple(ROOT / "config" / file for file in files))
    assert {"train_2d", "train_3d_bootstrapped", "train_3d_baseline", "write_report"} <= {
        job.rule for job in planned(plan)
    }


def test_public_data_is_read_from_files_where_they_are(tmp_path: Path) -> None:
    """With a second configuration that names files, nothing is downloaded."""
    folder = tmp_path / "data/fib25"
    folder.mkdir(parents=True)
    for name, depth, dtype in (("cube1_raw", 250, "u1"), ("cube2_raw", 160, "u1"), ("cube2_labels", 160, "u4")):
        tifffile.imwrite(folder / f"{name}.tif", np.zeros((depth, 250, 250), dtype), compression="zlib")
    files = (ROOT / "config/fib25.yaml", ROOT / "config/fib25_local.yaml")
    jobs = planned(snakemake(tmp_path, "prepare", "--dry-run", configfiles=files))
    assert "download" not in {job.rule for job in jobs}
    assert any("data/fib25/cube2_labels.tif" in job.inputs for job in jobs)


def test_the_plan_is_shown_whenever_it_is_asked_for(tmp_path: Path) -> None:
    """Nets, volumes and memory stand on the terminal and in a file, and nothing is computed."""
    for rules in (["plan", "write_plan"], ["plan"]):
        outcome = snakemake(tmp_path, "plan")
        assert started(outcome) == rules
        text = (tmp_path / "results/tiny/plan.txt").read_text()
        assert text in outcome.text
        assert "held_out: 17 x 50 x 44 voxels of 8 x 8 x 8 nm" in text
        assert "COSTS of painted, bare, held_out" in text
        assert max(map(len, text.splitlines())) <= 120
    change = written(tmp_path, {"volumes": {"bare": {"phantom": {"shape": [18, 52, 60]}}}})
    assert "bare: 18 x 52 x 60 voxels" in snakemake(tmp_path, "plan", configfiles=(TINY, change)).text


def test_every_stack_of_sections_is_predicted_and_lifted(tmp_path: Path) -> None:
    """Jobs of its own predict each, shared where asked; the 2D-to-3D net reads all, and nothing else changes."""
    change = written(tmp_path, {"predict": {"orientations": ["z", "y", "x"]}, "volumes": {"held_out": {"jobs": 2}}})
    jobs = planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, change)))
    folder = "results/tiny/held_out/pseudo"
    stacks = {axis: {f"{folder}/stacked_{name}{axis}.zarr" for name in ("affinities", "descriptors")}
              for axis in ("", ".y", ".x")}  # fmt: skip
    made = {job.outputs: job for job in jobs}
    for axis, files in stacks.items():
        records = {f"{folder}/stacked_affinities{axis}.zarr.parts/{part}-of-2.json" for part in range(2)}
        assert made[frozenset(files)].rule == "predict_2d"
        assert records <= made[frozenset(files)].inputs
        assert {made[frozenset({record})].rule for record in records} == {"predict_2d_part"}
    lifted = made[frozenset({f"{folder}/affinities.zarr"})].inputs
    assert {path for path in lifted if "stacked" in path} == set.union(*stacks.values())
    readers = {job.rule for job in jobs if (stacks[".y"] | stacks[".x"]) & job.inputs}
    assert readers == {"predict_2d_to_3d", "predict_2d_to_3d_part"}
    assert sum(job.rule == "train_2d" for job in jobs) == 1
    outcome = snakemake(tmp_path, "plan", configfiles=(TINY, change))
    assert "predict_2d across y" in outcome.text
    assert "across z, y and x: 3 stacks of every volume" in outcome.text


def test_sections_across_flat_voxels_are_refused_before_anything_runs(tmp_path: Path) -> None:
    flat = {"phantom": {"shape": [18, 52, 50], "voxel_size": [30, 8, 8]}}
    change = written(tmp_path, {"predict": {"orientations": ["z", "x"]}, "volumes": {"bare": flat}})
    outcome = snakemake(tmp_path, "--dry-run", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "`predict.orientations` is ['z', 'x'], and volume bare has voxels of [30, 8, 8] nm" in outcome.text


@pytest.mark.parametrize(
    "change",
    [
        {"volumes": {"held_out": {"jobs": 3}}},
        {"nets": {"3d": {"kind": "3d_aclsd", "members": 2}}, "evaluate": {"tracks": ["bootstrapped"]}},
        {"evaluate": {"tracks": ["baseline"]}, "segment": {"method": "mutex", "fragments": {"only_tissue": False}}},
    ],
    ids=["shared", "auto_context", "baseline"],
)
def test_the_plan_counts_the_jobs_that_run(tmp_path: Path, change: dict[str, Any]) -> None:
    """With a threshold that is given nothing hides behind its choice, and of every stage as many jobs are planned."""
    change = {**change, "pseudo_truth": {"threshold": 0.5}}
    jobs = planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, written(tmp_path, change))))
    full = complete(merged(yaml.safe_load(TINY.read_text()), change), SCHEMA)
    counted: Counter[str] = Counter()
    for cost in run_costs(input_problems(full)[1], full):
        counted[cost.stage] += cost.jobs
    found = Counter(job.rule.removesuffix("_part") for job in jobs)
    assert counted == {stage: found[stage] for stage in STAGES if found[stage]}


def test_every_member_of_an_ensemble_is_trained(tmp_path: Path) -> None:
    """`members` nets are trained, the first under the name of a single one, and all are read by the prediction."""
    nets = {"2d": {"members": 3}, "3d": {"members": 2}}
    change = written(tmp_path, {"nets": nets, "evaluate": {"tracks": ["pseudo", "baseline"]}})
    jobs = planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, change)))
    made = {
        job.rule: sorted(path for other in jobs if other.rule == job.rule for path in other.outputs) for job in jobs
    }
    trained = {rule: {path.split("/")[3] for path in paths} for rule, paths in made.items() if rule.startswith("train")}
    assert trained == {
        "train_2d": {"2d", "2d_member_2", "2d_member_3"},
        "train_2d_to_3d": {"2d_to_3d"},
        "train_3d_baseline": {"3d_baseline", "3d_baseline_member_2"},
    }
    read = {
        rule: {path for job in jobs if job.rule == rule for path in job.inputs if path.endswith("checkpoint.pt")}
        for rule in ("predict_2d", "predict_2d_to_3d", "predict_3d")
    }
    assert read == {
        "predict_2d": {f"results/tiny/nets/{net}/checkpoint.pt" for net in trained["train_2d"]},
        "predict_2d_to_3d": {"results/tiny/nets/2d_to_3d/checkpoint.pt"},
        "predict_3d": {f"results/tiny/nets/{net}/checkpoint.pt" for net in trained["train_3d_baseline"]},
    }
    (report,) = (job for job in jobs if job.rule == "write_report")
    every = {net for nets in trained.values() for net in nets}
    assert {f"results/tiny/nets/{net}/losses.csv" for net in every} <= report.inputs
