"""Trained nets in the configuration: none is trained, and what follows them goes on as ever."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sparse2dense.ops.unet import UNet
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.nets import save_net
from sparse2dense.volumes.volume import open_volume
from tests.workflow.invocation import ROOT, TINY, planned, snakemake, started, written

NETS: dict[str, Any] = complete(
    yaml.safe_load(TINY.read_text()), load_schema(ROOT / "workflow/schemas/config.schema.yaml")
)["nets"]


@pytest.fixture
def nets(tmp_path: Path) -> dict[str, Path]:
    """Checkpoints of untrained nets; the 2D net's offsets are others than the configuration's."""
    torch.manual_seed(0)
    section = {**NETS["2d"], "offsets": [[-1, 0], [0, -1], [-2, 0]]}
    described = {
        "2d": describe_net(section, voxel_size=(8, 8, 8)),
        "2d_to_3d": describe_net(NETS["2d_to_3d"], section_settings=section),
        "3d": describe_net(NETS["3d"], voxel_size=(8, 8, 8)),
    }
    for name, description in described.items():
        save_net(tmp_path / f"{name}.pt", UNet(description.architecture), description, {})
    return {name: tmp_path / f"{name}.pt" for name in described}


def test_reused_nets_are_not_trained(tmp_path: Path, nets: dict[str, Path]) -> None:
    """With all nets given, everything to the report is planned without any training or pseudo ground truth."""
    given: dict[str, Any] = {name: {"checkpoint": {"path": str(path)}} for name, path in nets.items()}
    given["2d"]["offsets"] = [[-1, 0], [0, -1], [-2, 0]]  # tiny.yaml states others
    change = written(tmp_path, {"nets": given, "evaluate": {"tracks": ["pseudo", "bootstrapped"]}})
    jobs = planned(snakemake(tmp_path, "--dry-run", configfiles=(TINY, change)))
    rules = {job.rule for job in jobs}
    assert not any(rule.startswith("train") for rule in rules)
    assert not {"make_pseudo_truth", "figure_pseudo_truth", "slice_sections"} & rules
    copied = {path for job in jobs if job.rule == "reuse_net" for path in job.outputs}
    names = ("2d", "2d_to_3d", "3d_bootstrapped")
    assert copied == {f"results/tiny/nets/{net}/{file}" for net in names for file in ("checkpoint.pt", "reused.json")}
    (report,) = (job for job in jobs if job.rule == "write_report")
    assert {f"results/tiny/nets/{net}/reused.json" for net in names} <= report.inputs
    assert not any(path.endswith("losses.csv") for path in report.inputs)
    target = "results/tiny/nets/2d/losses.csv"
    outcome = snakemake(tmp_path, target, "--dry-run", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "`nets.2d.checkpoint` is given, so nothing trains this net" in outcome.text


def test_volumes_are_predicted_with_reused_nets(tmp_path: Path, nets: dict[str, Path]) -> None:
    """A net from a file and one by address predict; another volume makes neither anew, nor do blocks of other size."""
    sha256 = hashlib.sha256(nets["2d_to_3d"].read_bytes()).hexdigest()
    given: dict[str, Any] = {
        "2d": {"checkpoint": {"path": str(nets["2d"])}, "offsets": [[-1, 0], [0, -1], [-2, 0]]},
        "2d_to_3d": {"checkpoint": {"url": nets["2d_to_3d"].as_uri(), "sha256": sha256}},
    }
    change = written(tmp_path, {"nets": given})
    target = "results/tiny/held_out/pseudo/affinities.zarr"
    outcome = snakemake(tmp_path, target, configfiles=(TINY, change))
    assert started(outcome) == [
        "download_net", "import_raw", "make_phantom", "predict_2d", "predict_2d_to_3d", "reuse_net", "reuse_net",
    ]  # fmt: skip
    assert open_volume(tmp_path / target).shape == (6, 17, 50, 44)
    stacked = open_volume(tmp_path / "results/tiny/held_out/pseudo/stacked_affinities.zarr")
    assert stacked.attributes["offsets"] == [[0, -1, 0], [0, 0, -1], [0, -2, 0]]
    record = json.loads((tmp_path / "results/tiny/nets/2d_to_3d/reused.json").read_text())
    assert record == {"origin": nets["2d_to_3d"].as_uri(), "sha256": sha256, "kind": "3d_affs_from_2d_mtlsd"}
    smaller = written(tmp_path, {"nets": given, "predict": {"block": [8, 24, 64]}}, "smaller.yaml")
    assert planned(snakemake(tmp_path, target, "--dry-run", configfiles=(TINY, smaller))) == []
    turned = written(tmp_path, {"nets": given, "predict": {"flips": ["x"]}}, "turned.yaml")
    again = planned(snakemake(tmp_path, target, "--dry-run", configfiles=(TINY, turned)))
    assert {job.rule for job in again} == {"predict_2d", "predict_2d_to_3d"}
    more = {"role": "unlabelled", "phantom": {"shape": [18, 52, 50], "seed": 9}}
    change = written(tmp_path, {"nets": given, "volumes": {"more": more}})
    assert planned(snakemake(tmp_path, target, "--dry-run", configfiles=(TINY, change))) == []


def test_a_net_that_does_not_fit_is_refused_before_anything_runs(tmp_path: Path, nets: dict[str, Path]) -> None:
    change = written(tmp_path, {"nets": {"2d": {"checkpoint": {"path": str(nets["2d"])}}}})
    outcome = snakemake(tmp_path, "check", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "`nets.2d.offsets` is [[-1, 0], [0, -1], [-3, 0], [0, -3]], but the net in its `checkpoint`" in outcome.text
    assert "what to do: write `offsets: [[-1, 0], [0, -1], [-2, 0]]`" in outcome.text
    assert "Traceback" not in outcome.text
    own = tmp_path / "results/tiny/nets/2d/checkpoint.pt"
    own.parent.mkdir(parents=True)
    nets["2d"].rename(own)
    change = written(
        tmp_path, {"nets": {"2d": {"checkpoint": {"path": str(own)}, "offsets": [[-1, 0], [0, -1], [-2, 0]]}}}
    )
    outcome = snakemake(tmp_path, "check", configfiles=(TINY, change), check=False)
    assert outcome.status != 0
    assert "checkpoint.pt, a result of this run" in outcome.text
    assert own.exists()
    assert started(outcome) == []
