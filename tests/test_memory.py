"""Blocks and memory of every stage, from the configuration alone: what is estimated, and what is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.ops.architecture import Architecture
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.memory import Allowance, block_plans, fragment_bytes, memory_problems, prediction_bytes
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.volumes.grid import check_shards

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
LARGE: dict[str, Any] = {"shape": [1000, 5000, 4001], "voxel_size": [40, 4.5, 4]}
FOUND: dict[str, dict[str, Any]] = {"lab": LARGE, "held_out": {"shape": [9, 31, 1], "voxel_size": [8, 8, 8]}}
BLOCK = (64, 128, 128)
NET = Architecture(1, {"affinities": 9}, 8, 3, ((1, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3)


def config(**changes: dict[str, Any]) -> dict[str, Any]:
    """An annotated volume and a test volume; the files don't matter here."""
    annotation = {"draw": "sections", "sections": [3], "zero": "unlabelled"}
    volumes = {
        "lab": {"role": "annotated", "phantom": {"shape": [40, 40, 40]}, "annotation": annotation, "jobs": 9},
        "held_out": {"role": "test", "phantom": {"shape": [40, 40, 41]}},
    }
    return complete({"volumes": volumes, **changes}, SCHEMA)


def plenty(rule: str) -> Allowance:
    return Allowance(2, 8000, True, f"the `mem_mb` of the rule {rule}", "ask for more")


def test_every_stage_of_a_large_volume_writes_whole_shards() -> None:
    plans = {plan.rule: plan for plan in block_plans(FOUND, config()) if plan.volume == "lab"}
    assert set(plans) == {
        "predict_2d_part", "predict_2d_to_3d_part", "predict_3d_part", "make_fragments_part", "make_graph_part",
        "count_links_part", "count_overlaps_part", "measure_disagreement_part", "write_segmentation_part",
        "make_pseudo_truth", "measure_regions_part",
    }  # fmt: skip
    for rule, plan in plans.items():
        assert (plan.shard is None) == rule.startswith(("make_graph", "count_", "measure_"))
        if plan.shard is not None:
            check_shards(plan.block, plan.shard)
    assert plans["predict_2d_part"].halo == (1, 44, 44)
    assert plans["make_fragments_part"].halo == (16, 32, 32)
    assert plans["count_overlaps_part"].halo == (3, 28, 32)  # 32 voxels of 4 nm
    assert plans["measure_disagreement_part"].halo == (32, 32, 32)  # 3 sigma of every second voxel, and one of these


def test_a_small_volume_needs_no_shards_and_only_its_own_voxels() -> None:
    plans = {plan.rule: plan for plan in block_plans(FOUND, config()) if plan.volume == "held_out"}
    assert not {"make_pseudo_truth", "measure_regions"} & set(plans)
    assert {plan.shard for plan in plans.values()} == {None}
    assert plans["make_fragments"].block_bytes == 9 * 31 * 1 * fragment_bytes(config()["segment"], 9)
    assert plans["rank_errors"].block_bytes < 1e5


def test_disagreement_sees_as_far_as_what_a_volume_is_predicted_by() -> None:
    flat = {"kind": "2d_affs", "offsets": [[-1, 0], [0, -1], [0, -33]]}
    full = config(nets={"2d": flat, "2d_to_3d": {"kind": "3d_affs_from_2d_affs"}, "3d": {"kind": "3d_affs"}})
    halos = []
    for role, tracks in (("test", ["pseudo"]), ("test", ["bootstrapped"]), ("unlabelled", ["pseudo", "bootstrapped"])):
        full["volumes"]["lab"]["role"], full["evaluate"]["tracks"] = role, tracks
        plans = [plan for plan in block_plans(FOUND, full) if plan.volume == "lab"]
        halos += [plan.halo for plan in plans if plan.rule == "measure_disagreement_part"]
    assert halos == [(4, 28, 34), (4, 28, 28), (4, 28, 34)], "whole steps of the descriptors, which are every second"


def test_disagreement_of_too_large_blocks_is_refused() -> None:
    full = config(segment={"block": [300, 512, 512]})
    told = {str(problem) for problem in memory_problems(FOUND, full, plenty)}
    (text,) = [text for text in told if "measure_disagreement_part" in text]
    assert "2 processes with a halo of [32, 32, 32] voxels need about 20.4 GB" in text
    assert "use `segment.block: [" in text


def test_memory_grows_with_processes_but_a_net_has_only_one() -> None:
    plans = {plan.rule: plan for plan in block_plans(FOUND, config()) if plan.volume == "lab"}
    fragments, net = plans["make_fragments_part"], plans["predict_3d_part"]
    four, eight = (fragments.megabytes(threads, False) for threads in (4, 8))
    assert 1.7 < eight / four < 2
    assert net.megabytes(8, False) == net.megabytes(1, False) > net.megabytes(1, True)


def test_the_defaults_fit_what_rules_ask_for() -> None:
    """Half of what counting overlaps needs is asked for too, or a cluster would kill the jobs of every run."""
    isotropic = {"lab": {"shape": [1000] * 3, "voxel_size": [8, 8, 8]}}
    full = config()
    asked = {"count_overlaps_part": 4000, "write_segmentation_part": 3000, "make_pseudo_truth": 4000}

    def given(rule: str) -> Allowance:
        return Allowance(2, asked.get(rule, 8000), True, "", "")

    assert list(memory_problems(isotropic, full, given)) == []
    assert {plan.rule for plan in block_plans(isotropic, full)} > set(asked)


def test_flips_and_members_need_more_memory() -> None:
    """Flips let blocks grow by the longest offset and the pooling; further nets only bring their weights."""
    changes: dict[str, dict[str, Any]] = {
        "once": {},
        "flipped": {"predict": {"flips": ["y"]}},
        "several": {"nets": {"2d": {"members": 3}}},
    }
    plans = {
        name: next(plan for plan in block_plans(FOUND, config(**change)) if plan.rule == "predict_2d_part")
        for name, change in changes.items()
    }
    once, flipped, several = plans.values()
    assert flipped.halo == (1, 44 + 27 + 7, 44 + 7)
    assert flipped.block == several.block == once.block
    assert several.halo == once.halo
    growth = (256 + 34) * (256 + 7) / 256**2
    assert 1 < flipped.block_bytes / several.block_bytes < growth
    assert several.block_bytes > 2 * once.block_bytes, "means are taken in float32"
    assert 1 < flipped.net_bytes / once.net_bytes < growth
    net = describe_net(config()["nets"]["2d"]).architecture
    assert several.net_bytes - once.net_bytes == 2 * 4 * net.weights


def test_sections_across_an_axis_need_their_context_around_it() -> None:
    """A job predicts one stack; the halo turns with it, and the 2D-to-3D net needs the largest and a sum besides."""
    full = config(predict={"orientations": ["z", "y", "x"]})
    plans = [plan for plan in block_plans(FOUND, full) if plan.volume == "lab"]
    stacks = {plan.across: plan for plan in plans if plan.rule == "predict_2d_part"}
    assert {axis: plan.halo for axis, plan in stacks.items()} == {"z": (1, 44, 44), "y": (44, 1, 44), "x": (44, 44, 1)}
    assert stacks["y"].net_bytes < stacks["z"].net_bytes, "sections of 256 x 64 voxels instead of 256 x 256"
    (lifted,) = [plan for plan in plans if plan.rule == "predict_2d_to_3d_part"]
    (once,) = [plan for plan in block_plans(FOUND, config()) if (plan.volume, plan.rule) == ("lab", lifted.rule)]
    assert len(set(lifted.halo)) == 1
    assert max(once.halo) == lifted.halo[0] > once.halo[0]
    assert lifted.block_bytes >= once.block_bytes + 4 * 9 * 64 * 256 * 256
    assert not {plan.across for plan in plans if not plan.rule.startswith("predict_2d")} - {"z"}


@pytest.mark.parametrize("method", ["watershed", "mutex"])
def test_a_block_too_large_is_refused_with_one_that_fits(method: str) -> None:
    segment = {"block": [512, 1024, 1024], "fragments": {"method": method}}
    full = config(segment=segment)
    told = {str(problem) for problem in memory_problems(FOUND, full, plenty)}
    (fragments,) = [text for text in told if "make_fragments_part" in text]
    assert "`segment.block` is [512, 1024, 1024] for make_fragments_part of volume lab: 2 processes" in fragments
    assert "allowed: 8.0 GB, the `mem_mb` of the rule make_fragments_part" in fragments
    smaller = {"watershed": [256, 256, 512], "mutex": [128, 256, 256]}[method]
    assert f"use `segment.block: {smaller}`, or ask for more" in fragments
    full["segment"]["block"] = smaller
    assert not [text for text in map(str, memory_problems(FOUND, full, plenty)) if "make_fragments" in text]


RULE = "predict_2d_to_3d_part"


def test_a_net_too_large_for_any_block_is_said_so() -> None:
    def little(rule: str) -> Allowance | None:
        return Allowance(8, 700, False, "the memory of this machine", "a larger machine") if rule == RULE else None

    (problem,) = memory_problems(FOUND, config(), little)
    assert problem.problem.startswith("`predict.block` is [64, 256, 256] for predict_2d_to_3d_part of volume lab: one")
    assert problem.remedy == "use smaller nets, or less context and reach, or a larger machine"


MEASURE = """
import sys
from pathlib import Path
import numpy as np
import torch
from scipy.ndimage import uniform_filter
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.net_kinds import NetDescription
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.segmenting import make_fragments
from sparse2dense.volumes.volume import create_volume

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) * 1024

def compute(folder, shape):
    folder.mkdir()
    place = {"voxel_size": (8, 8, 8)}
    if sys.argv[1] == "predict":
        create_volume(folder / "raw.zarr", shape, "uint8", **place)[...] = 99
        return lambda: predict(
            {"raw": folder / "raw.zarr"}, checkpoint, {"affinities": folder / "a.zarr"}, block_shape=shape
        )
    noise = uniform_filter(np.random.default_rng(0).random((3, *shape), np.float32), (0, 5, 5, 5))
    values = ((noise > 0.5) * 255).astype(np.uint8)
    offsets = {"offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
    create_volume(folder / "a.zarr", values.shape, "uint8", axes="czyx", attributes=offsets, **place)[...] = values
    settings = {"context": (0, 0, 0), "fill_holes": True, "debris": 5, "minimum_affinity": 0.1}
    return lambda: make_fragments(folder / "a.zarr", folder / "f.zarr", block_shape=shape, **settings)

folder = Path(sys.argv[2])
checkpoint = folder / "checkpoint.pt"
net = Architecture(1, {"affinities": 9}, 8, 3, ((1, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3)
near = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
save_net(checkpoint, UNet(net), NetDescription("3d_affs", net, 0, near * 3, (), (), (8.0,) * 3), {})
compute(folder / "small", (4, 16, 16))()  # loads and compiles what there is
work = compute(folder / "large", tuple(map(int, sys.argv[3:])))
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
work()
print(memory("VmHWM") - before, before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are measured by Linux")
@pytest.mark.parametrize("stage", ["fragments", "predict"])
def test_a_block_needs_what_is_estimated(tmp_path: Path, stage: str) -> None:
    """Not more, or jobs would be killed, and not less than a third, or blocks would be refused that fit."""
    (tmp_path / "measure.py").write_text(MEASURE)
    call = [sys.executable, str(tmp_path / "measure.py"), stage, str(tmp_path), *map(str, BLOCK)]
    found = subprocess.run(call, capture_output=True, text=True, check=True)
    peak, before = map(int, found.stdout.split())
    if stage == "predict":
        estimate = sum(prediction_bytes(NET, BLOCK))
    else:
        estimate = fragment_bytes({"fragments": {"method": "watershed"}}, 3) * BLOCK[0] * BLOCK[1] * BLOCK[2]
    assert before < 700_000_000
    assert estimate / 3 < peak < 1.15 * estimate, (peak, estimate)
