"""What stages took in runs that were made already, and which of it a plan may rely on."""

import json
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.ops.unet import UNet
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.rates import Rate, measured_rates
from tests.test_costs import config


def measured(results: Path, run: str, rule: str, job: str, seconds: float | str) -> None:
    """A benchmark as Snakemake writes it."""
    file = results / run / "benchmarks" / rule / f"{job}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t99.5\n")


def stored(results: Path, volume: str, shape: list[int], **settings: Any) -> None:
    """The metadata of a volume, with the settings of what made it."""
    file = results / volume / "0/zarr.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"shape": shape, "attributes": {"provenance": {"settings": settings}}}))


def test_parts_count_together_and_what_gathers_them_does_not(tmp_path: Path) -> None:
    """Shares of a volume, several tracks and volumes, names with thresholds, and benchmarks that hold no time."""
    stored(tmp_path, "old/one/raw.zarr", [10, 20, 30])
    stored(tmp_path, "old/two/raw.zarr", [1, 1, 500])
    for job, seconds in (("one.pseudo.0-of-3", 4), ("one.pseudo.2-of-3", 5), ("one.pseudo", 90), ("two.pseudo", 1.5)):
        measured(tmp_path, "old", "make_graph", job, seconds)
    measured(tmp_path, "old", "make_graph", "gone.pseudo", 50)
    measured(tmp_path, "old", "write_segmentation", "two.pseudo.0.58", 3)
    measured(tmp_path, "old", "count_links", "two.pseudo", "NA")
    assert measured_rates(tmp_path, "new", config()) == {
        "make_graph": Rate("old", 10.5, 2 * 2000 + 500),
        "write_segmentation": Rate("old", 3.0, 500),
    }


def test_imports_count_what_they_import(tmp_path: Path) -> None:
    stored(tmp_path, "old/one/raw.zarr", [10, 20, 30])
    stored(tmp_path, "old/one/truth.zarr", [2, 20, 30])
    measured(tmp_path, "old", "import_raw", "one.raw", 6)
    measured(tmp_path, "old", "import_labels", "one.truth", 6)
    rates = measured_rates(tmp_path, "new", config())
    assert rates == {"import_raw": Rate("old", 6.0, 6000), "import_labels": Rate("old", 6.0, 1200)}


def test_the_run_itself_counts_before_others_and_of_these_the_largest(tmp_path: Path) -> None:
    for run, side in (("small", 10), ("large", 40), ("own", 2)):
        stored(tmp_path, f"{run}/lab/raw.zarr", [side] * 3)
        measured(tmp_path, run, "make_merge_tree", "lab.pseudo", side)
    assert measured_rates(tmp_path, "own", config()) == {"make_merge_tree": Rate("own", 2.0, 8)}
    assert measured_rates(tmp_path, "new", config()) == {"make_merge_tree": Rate("large", 40.0, 64000)}
    assert measured_rates(tmp_path / "nowhere", "new", config()) == {}


def trained(results: Path, run: str, name: str, full: dict[str, Any], key: str) -> None:
    """A net that a run has trained in 12 steps and 60 seconds, as its checkpoint and table of losses say it."""
    folder = results / run / "nets" / name
    folder.mkdir(parents=True)
    (results / run / "benchmarks").mkdir(exist_ok=True)
    net = describe_net(full["nets"][key], voxel_size=(8, 8, 8))
    save_net(folder / "checkpoint.pt", UNet(net.architecture), net, {"settings": {"settings": full["nets"][key]}})
    (folder / "losses.csv").write_text("step,seconds,loss,validation_loss\n1,9,1.0,\n12,60,0.5,0.7\n")


@pytest.mark.parametrize(
    ("change", "train", "apply"),
    [
        ({}, True, True),
        ({"features": 3}, False, False),
        ({"batch": 5}, False, True),
        ({"iterations": 77, "learning_rate": 0.5}, True, True),
        ({"members": 2}, True, False),
    ],
)
def test_nets_count_where_they_are_the_same(tmp_path: Path, change: dict[str, Any], train: bool, apply: bool) -> None:
    """Training where a step is the same work, prediction where layers and number of passes are the same."""
    trained(tmp_path, "old", "2d", config(), "2d")
    stored(tmp_path, "old/lab/raw.zarr", [10, 10, 10])
    stored(tmp_path, "old/lab/pseudo/stacked_affinities.zarr", [3, 10, 10, 10], kind="2d_mtlsd")
    measured(tmp_path, "old", "predict_2d", "lab", 7)
    full = config()
    full["nets"]["2d"] |= change
    expected = {"train_2d": Rate("old", 60.0, 12)} if train else {}
    assert measured_rates(tmp_path, "new", full) == expected | ({"predict_2d": Rate("old", 7.0, 1000)} if apply else {})


def test_all_nets_of_a_block_count_and_broken_files_do_not(tmp_path: Path) -> None:
    trained(tmp_path, "old", "3d_bootstrapped", config(), "3d")
    trained(tmp_path, "old", "3d_baseline_member_2", config(), "3d")
    trained(tmp_path, "old", "2d", config(), "2d")
    (tmp_path / "old/nets/2d/checkpoint.pt").write_bytes(b"no checkpoint")
    assert measured_rates(tmp_path, "new", config()) == {"train_3d": Rate("old", 120.0, 24)}
