"""The plan of a run: what it says of nets is what nets do, and what it says of volumes is what stages do."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse2dense.ops.unet import UNet
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.costs import STAGES, run_costs
from sparse2dense.stages.input_table import input_text
from sparse2dense.stages.inspecting import inspect_input
from sparse2dense.stages.memory import Allowance, block_plans
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.planning import plan_text
from sparse2dense.stages.rates import Rate
from tests.stand_ins import LOCAL, configuration, write_stand_ins

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
FOUND: dict[str, dict[str, Any]] = {
    "lab": {"shape": [30, 41, 43], "voxel_size": [40, 4.5, 4]},
    "large": {"shape": [1000, 3000, 3001], "voxel_size": [40, 4.5, 4]},
}
for facts in FOUND.values():
    facts |= {"dtype": "uint8", "whole_sections": False, "labels": {}}
FOUND["lab"]["labels"]["truth"] = {**FOUND["lab"], "dtype": "uint64"}
SHAPES = r"(\d+(?: x \d+)*)"


def config(**changes: Any) -> dict[str, Any]:
    """Small nets whose pooling and kernels differ between axes and levels, and a volume that isn't downloaded yet."""
    annotation = {"draw": "sections", "sections": [3, 5], "zero": "unlabelled"}
    flat = {"features": 2, "growth": 2, "pooling": [[2, 2], [3, 2]], "kernels": [[3, 3], [3, 5], [1, 3]]}
    deep = {"features": 2, "growth": 2, "pooling": [[1, 2, 2], [2, 2, 3]], "kernels": [[1, 3, 3], [3, 3, 1], [3, 3, 3]]}
    nets: dict[str, Any] = {
        "2d": {**flat, "input_shape": [96, 96]},
        "2d_to_3d": {**deep, "input_shape": [8, 32, 36]},
        "3d": {**deep, "input_shape": [8, 32, 36]},
    }
    volumes = {
        "lab": {"role": "annotated", "phantom": {"shape": [30, 41, 43]}, "annotation": annotation},
        "large": {"role": "unlabelled", "raw": {"path": "large.tif"}, "jobs": 7},
        "far": {"role": "unlabelled", "raw": {"url": "https://example.org/far.tif"}},
    }
    for net in nets.values():
        if net is not nets["2d"]:
            net["offsets"] = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]
    return complete({"volumes": volumes, "nets": nets, **changes}, SCHEMA)


def text(full: dict[str, Any]) -> str:
    """The plan where every job gets two CPUs and 8 GB, but nothing is known of one rule."""
    given = Allowance(2, 8000, False, "", "")
    plans = {plan.rule for plan in block_plans(FOUND, full)}
    return plan_text(full, FOUND, {rule: None if rule == "make_graph" else given for rule in plans})


def block_of(text: str, start: str) -> str:
    """The paragraph that begins with `start`."""
    (found,) = [part for part in text.split("\n\n") if part.startswith(start)]
    return found


def unwrapped(found: str) -> str:
    """A paragraph whose sentences have a line each."""
    return re.sub(r"\n {4}(?! )", " ", found)


def numbers(found: str) -> tuple[int, ...]:
    return tuple(map(int, found.split(" x ")))


@pytest.mark.parametrize("name", ["2d", "2d_to_3d", "3d"])
def test_nets_take_and_give_what_the_plan_says(name: str) -> None:
    """Channels, valid sizes, context and both shapes of a pass are those of the net itself."""
    full = config()
    said = block_of(text(full), f"{name}: ")
    section = full["nets"]["2d"] if name == "2d_to_3d" else None
    net = UNet(describe_net(full["nets"][name], section_settings=section).architecture).eval()

    def passed(shape: tuple[int, ...], padded: bool = False) -> tuple[int, ...]:
        with torch.inference_mode():
            heads = net(torch.zeros(1, *shape), padded).values()
        (sides,) = {head.shape[2:] for head in heads}
        return (sum(head.shape[1] for head in heads), *sides)

    convolutions = [
        layer.weight.numel() for layer in net.modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Conv3d))
    ]
    assert f"weights       {sum(convolutions):,}" in said
    least, step = map(numbers, re.findall(rf"valid inputs  {SHAPES} .* pooling {SHAPES}$", said, re.MULTILINE)[0])
    context = numbers(re.findall(rf"context       {SHAPES} voxels", said)[0])
    channels = net.architecture.in_channels
    for times in (0, 1, 3):
        sides = tuple(a + times * b for a, b in zip(least, step, strict=True))
        assert passed((channels, *sides))[1:] == tuple(a - 2 * b for a, b in zip(sides, context, strict=True))
    training = [numbers(shape) for shape in re.findall(rf"training      {SHAPES} -> {SHAPES},", said)[0]]
    assert passed(training[0], padded=True) == training[1]
    given, gives = map(numbers, re.findall(rf"{SHAPES} -> {SHAPES} in lab", said)[0])
    whole = passed(given)
    assert whole[0] == gives[0]
    assert all(a <= b < a + c for a, b, c in zip(gives[1:], whole[1:], step, strict=True))
    if whole != gives:
        assert f"it gives {' x '.join(map(str, whole[1:]))}, and what is beyond the block is cut off" in said
    assert f"{context[-1] * 4} nm in lab, large" in said
    assert "trained in this run" in said


@pytest.mark.parametrize(("kind", "read"), [("3d_aclsd", "10 channels: "), ("3d_acrlsd", "11 channels: ")])
def test_auto_context_shows_two_nets(kind: str, read: str) -> None:
    """The first net and its blocks stand before those of the second, with the settings of one block."""
    full = config()
    full["nets"]["3d"]["kind"] = kind
    plan = text(full)
    first, second = block_of(plan, "3d_lsd: 3d_lsd"), block_of(plan, f"3d: {kind}")
    assert plan.index(first) < plan.index(second)
    assert "10 channels: 10 descriptors" in first
    assert f"{read}descriptors of the net 3d_lsd{' and the image' if kind == '3d_acrlsd' else ''}\n" in second
    assert re.search(r"^  predict_3d_lsd +\d", block_of(plan, "lab: "), re.MULTILINE)
    large = unwrapped(block_of(plan, "large: "))
    assert re.search("^  predict_.*3d_lsd.*: .* total pooling 2 x 4 x 6$", large, re.MULTILINE)
    assert "3d_lsd" not in text(config())


def test_volumes_show_every_stage_with_its_memory() -> None:
    full = config()
    plan = text(full)
    assert "far: not known before it is downloaded" in plan
    lab, large = block_of(plan, "lab: 30 x 41 x 43 voxels of 40 x 4.5 x 4 nm"), block_of(plan, "large: ")
    assert "each stage shared by 7 jobs" in large
    assert "a file of its own" not in lab
    for found in block_plans(FOUND, full):
        rule = found.rule.removesuffix("_part")
        row = next(line for line in (lab if found.volume == "lab" else large).splitlines() if f"  {rule} " in line)
        assert " x ".join(map(str, found.block)) in row
        assert " x ".join(map(str, found.halo)) in row
        needs = "-" if found.rule == "make_graph" else f"{found.megabytes(2, False) / 1e3:.1f}"
        assert row.split()[-2] == needs
    assert "  shard: " in large
    assert "  shard: " not in lab


def test_rounded_blocks_are_explained_and_others_are_not() -> None:
    plan = text(config(predict={"block": [16, 96, 130]}, segment={"block": [60, 100, 100]}))
    large = unwrapped(block_of(plan, "large: "))
    (told,) = re.findall(r"predict_2d_to_3d.*: (.*) instead of 16 x 96 x 130 \(`predict.block`\): (.*)", large)
    assert told == ("16 x 128 x 384", "whole chunks of 16 x 128 x 128, and multiples of the total pooling 2 x 4 x 6")
    assert "segment.block" not in large
    assert "it covers the volume" in block_of(plan, "lab: ")
    even = text(config(predict={"block": [16, 384, 384]}, segment={"block": [64, 128, 128]}))
    assert "instead of" not in block_of(even, "large: ")


def test_a_reused_net_is_said_to_be_one() -> None:
    """Nothing is said of a training that doesn't take place, nor of a net that no track uses."""
    full = config(evaluate={"tracks": ["pseudo"]})
    full["nets"]["2d"]["checkpoint"]["path"] = "other/nets/2d/checkpoint.pt"
    plan = text(full)
    assert "2d: 2d_mtlsd, reused from other/nets/2d/checkpoint.pt" in plan
    assert "training" not in block_of(plan, "2d: ")
    assert "\n3d: " not in plan


def test_sections_across_several_axes_are_said() -> None:
    """Each stack has a row of its own; blocks are multiples of the pooling along the axes that it lies along."""
    full = config(predict={"orientations": ["x", "z"], "block": [16, 100, 130]})
    plan = text(full)
    assert "sections      across z and x: 2 stacks of every volume" in block_of(plan, "2d: ")
    assert "across z and x: the mean of what it makes of 2 stacks" in block_of(plan, "2d_to_3d: ")
    assert "sections      across" not in block_of(plan, "3d: ") + text(config())
    for name in ("lab: ", "large: "):
        rows = re.findall(r"^  (predict_2d\S*(?: across \w)?)  ", block_of(plan, name), re.MULTILINE)
        assert rows == ["predict_2d", "predict_2d across x", "predict_2d_to_3d"]
    large = block_of(plan, "large: ")
    unwrapped = re.sub(r"\n {3,}", " ", large)
    said = dict(re.findall(r"^  ([\w ]+): .*, and multiples of the total pooling (.*)$", unwrapped, re.MULTILINE))
    # sections are pooled by 6 along y and 4 along x, which across x are z and y; the 2D-to-3D net by 2, 4 and 6
    assert said["predict_2d"] == "1 x 6 x 4"
    assert said["predict_2d across x"] == "6 x 4 x 1"
    assert said["predict_2d_to_3d"] == "4 x 12 x 6"


def test_views_and_members_are_said() -> None:
    """How many predictions are averaged, and by how much blocks grow for them."""
    full = config(predict={"flips": ["z", "y"], "transpose": True})
    full["nets"]["3d"]["members"] = 4
    assert "views" not in block_of(text(config()), "2d: ")
    flat, deep = (block_of(text(full), start) for start in ("2d: ", "3d: "))
    # offsets reach 27 along y, the mirrored axis; the total pooling 6 x 4 is 4 x 6 where y and x are exchanged
    assert "the mean of 8, each of blocks up to 32 x 5 voxels longer" in flat
    assert "the mean of 8, each of blocks up to 2 x 6 x 5 voxels longer" in deep
    assert "4, each with a seed of its own" in deep
    assert "members" not in flat


def costs_of(plan: str) -> dict[str, list[str]]:
    """The cells of the table of costs, by stage."""
    lines = plan[plan.index("\nCOSTS") :].splitlines()[3:]
    rows = [re.split("  +", line.strip()) for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) >= 5}


def test_costs_are_those_of_all_volumes_together() -> None:
    """Jobs, files and bytes add up; times follow from what was measured, within the limits of training."""
    full = config()
    full["nets"]["2d"] |= {"iterations": 9000}
    full["nets"]["2d_to_3d"] |= {"iterations": 9000, "minutes": 10}
    rates = {"train_2d": Rate("old", 60.0, 200), "train_2d_to_3d": Rate("old", 60.0, 200)}
    rates["make_fragments"] = Rate("this", 40.0, 4 * 10**6)
    plan = plan_text(full, FOUND, {"train_2d": Allowance(8, 16000, True, "", "")}, rates)
    rows, costs = costs_of(plan), run_costs(FOUND, full)
    for stage in ("import_raw", "predict_2d", "make_graph", "write_segmentation"):
        own = [cost for cost in costs if cost.stage == stage]
        assert rows[stage][0] == f"{sum(cost.jobs for cost in own):,}"
        known = [cost.stored for cost in own if cost.stored is not None]
        files = f"{sum(stored.files for stored in known):,}" if known else "-"
        assert rows[stage][3] == files
    assert rows["all"][0] == f"{sum(cost.jobs for cost in costs):,}"
    assert rows["train_2d"] == ["1", "8", "1", "-", "-", "45 min", "old"]
    assert rows["train_2d_to_3d"] == ["1", "-", "-", "-", "-", "10 min", "old"]
    work = sum(cost.work for cost in costs if cost.stage == "make_fragments")
    assert rows["make_fragments"][-2:] == [f"{work * 1e-5 / 3600:.1f} h", "this"]
    assert rows["make_graph"][-2:] == ["-", "-"]
    assert rows["all"][-1].endswith("h+")
    assert "as measured in" in plan
    assert f"lab: {sum(cost.jobs for cost in costs if cost.subject == 'lab')} jobs, at most" in plan
    assert costs_of(plan_text(full, FOUND, {}))["all"][-1] == "-"


SHIPPED = [("config/config.yaml",), ("tests/workflow/tiny.yaml",), ("config/fib25.yaml", "config/gpu.yaml")]


@pytest.mark.parametrize("files", [*SHIPPED, *LOCAL.values()], ids=lambda files: Path(files[0]).stem)
def test_shipped_configurations_are_checked_and_planned(
    files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both texts name every volume and fit on 120 columns; what isn't there yet is said to be so."""
    read = configuration(*files)
    monkeypatch.chdir(tmp_path)
    write_stand_ins(read, tmp_path)
    full = complete(read, SCHEMA)
    problems, found = input_problems(full)
    assert problems == []
    seen = inspect_input(full, {name: facts for name, facts in found.items() if facts["path"] is None})[1]
    given = Allowance(8, 128000, True, "", "")
    plan = plan_text(full, found, {f"{stage}{part}": given for stage in STAGES for part in ("", "_part")})
    for text in (input_text(full, found, seen), plan):
        assert max(map(len, text.splitlines())) <= 120
        for name in full["volumes"]:
            unknown = f"{name}: not known" in text or f"{name}, {full['volumes'][name]['role']}: not known" in text
            assert name in text
            assert unknown == (name not in found)
