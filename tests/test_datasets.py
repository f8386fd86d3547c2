"""Configurations of public data sets and presets of nets: they fit the data that they name, and each other."""

import re
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.memory import Allowance, block_plans, memory_problems
from sparse2dense.stages.net_kinds import describe_net
from tests.stand_ins import CREMI_SHAPE, LOCAL, SNEMI3D_SHAPE, configuration, write_stand_ins

ROOT = Path(__file__).parents[1]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
PAGE = ROOT / "docs/howto/datasets.md"
PRESETS = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "config/presets").glob("*.yaml"))
DATASETS = [f"config/{name}.yaml" for name in ("cremi", "fib25", "hemibrain", "snemi3d", "zebrafinch")]
BASES = [*DATASETS, "config/config.yaml", "tests/workflow/tiny.yaml"]
# Shape of every volume, as found in the files.
SHAPES = {
    "cremi": {
        "sample_a": (100, 1250, 1250),
        "sample_b": CREMI_SHAPE,
        "sample_a_test": (25, 1250, 1250),
        "sample_c_test": (125, 750, 750),
    },
    "snemi3d": {"ac4": (100, 1024, 704), "ac3": SNEMI3D_SHAPE, "ac4_test": (100, 1024, 320)},
    "zebrafinch": {
        "first": (128, 256, 256),
        "second": (328, 656, 656),
        "third_test": (128, 256, 256),
    },
    "hemibrain": {
        "ellipsoid_body": (256, 256, 256),
        "ellipsoid_body_outer": (256, 256, 256),
        "fan_shaped_body_test": (256, 256, 256),
    },
}


@pytest.mark.parametrize("name", LOCAL)
def test_volumes_fit_their_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops, datasets, places of labels, sections and offsets agree with files of the published shapes."""
    monkeypatch.chdir(tmp_path)
    config = configuration(*LOCAL[name])
    write_stand_ins(config, tmp_path)
    wrong, found = input_problems(complete(config, SCHEMA))
    assert wrong == []
    assert {volume: tuple(facts["shape"]) for volume, facts in found.items()} == SHAPES[name]
    for volume, facts in found.items():
        assert facts["voxel_size"] == config["volumes"][volume]["raw"]["voxel_size"]


def test_truth_beside_its_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops of the zebra finch hold for images with their published context, and for no others."""
    monkeypatch.chdir(tmp_path)
    config = configuration("config/zebrafinch.yaml")
    write_stand_ins(config, tmp_path)
    moved = complete(config, SCHEMA)
    moved["volumes"]["first"]["raw"]["offset"] = [0, 0, 0]
    (wrong,) = input_problems(moved)[0]
    assert "`volumes.first.truth`" in str(wrong)
    assert "labels that overlap the raw volume" in str(wrong)


@pytest.mark.parametrize("file", DATASETS)
def test_test_volumes_share_no_voxel_with_others(file: str) -> None:
    """What is scored is never trained on, also where both are crops of one file."""
    crops: dict[str, list[tuple[str, Any]]] = {}
    for volume in configuration(file)["volumes"].values():
        raw = volume["raw"]
        crops.setdefault(raw.get("path") or raw["url"], []).append((volume["role"], raw.get("crop")))
    assert any(len(parts) > 1 for parts in crops.values()) or file in (
        "config/hemibrain.yaml",
        "config/zebrafinch.yaml",
    )
    for parts in crops.values():
        for (role, first), (other, second) in pairwise(parts):
            if "test" in (role, other):
                assert any(one[1] <= two[0] or two[1] <= one[0] for one, two in zip(first, second, strict=True))


@pytest.mark.parametrize("file", DATASETS)
def test_nets_follow_the_voxel_size(file: str) -> None:
    """Descriptors see about as far in nm along every axis, and synthetic sections are as far apart as real ones."""
    config = complete(configuration(file), SCHEMA)
    sizes = {tuple(volume["raw"]["voxel_size"]) for volume in config["volumes"].values()}
    assert len(sizes) == 1
    ((z, y, x),) = sizes
    lengths = [sigma * size for sigma, size in zip(config["nets"]["3d"]["sigma"], (z, y, x), strict=True)]
    assert max(lengths) <= 1.05 * min(lengths)
    in_section = [sigma * size for sigma, size in zip(config["nets"]["2d"]["sigma"], (y, x), strict=True)]
    assert in_section == pytest.approx(lengths[1:], rel=0.3)
    assert config["nets"]["2d_to_3d"]["synthetic"]["anisotropy"] == [1, pytest.approx(max(2, z / y), rel=0.02)]
    assert config["segment"]["fragments"]["per_section"] == (z >= 4 * y)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_hold_no_data(preset: str) -> None:
    """A preset changes nets, prediction and segmentation, and nothing else."""
    assert set(configuration(preset)) == {"nets", "predict", "segment"}


@pytest.mark.parametrize(("base", "preset"), list(product(BASES, PRESETS)))
def test_presets_can_be_added_to_anything(base: str, preset: str) -> None:
    """Whatever nets a configuration has, with a preset they still fit together; it wins.

    Sizes and training stay as they are, but for presets for CPUs, which bring their own.
    """
    before, after = configuration(base), configuration(base, preset)
    assert problems(after, SCHEMA) == []
    chosen = configuration(preset)["nets"]
    for name, net in after["nets"].items():
        assert all(net[key] == value for key, value in chosen[name].items() if not isinstance(value, dict))
        for key in ("features", "iterations", "batch") if not preset.endswith("_cpu.yaml") else ():
            assert net.get(key) == before["nets"][name].get(key)


@pytest.mark.parametrize(
    ("file", "preset"),
    [
        ("config/cremi.yaml", "anisotropic"),
        ("config/hemibrain.yaml", "isotropic"),
        ("config/fib25.yaml", "isotropic_cpu"),
    ],
)
def test_data_of_the_voxel_size_of_a_preset_is_treated_by_it(file: str, preset: str) -> None:
    """A preset says the same as the configuration of the data set that it is made for."""
    added = configuration(file, f"config/presets/{preset}.yaml")
    assert complete(added, SCHEMA) == complete(configuration(file), SCHEMA)


@pytest.mark.parametrize(
    ("preset", "voxel_size"), [("anisotropic", [40, 4, 4]), ("isotropic", [8, 8, 8]), ("time", [10000, 500, 500])]
)
def test_blocks_of_presets_fit_what_rules_ask_for(preset: str, voxel_size: list[int]) -> None:
    """With nets of the method's own sizes and a GPU, no job on a large volume needs more memory than its rule asks."""
    volume = {"role": "annotated", "raw": {"path": "raw.tif"}, "painted": {"path": "painted.tif"}}
    volumes = {"lab": {**volume, "annotation": {"zero": "unlabelled"}}}
    config = complete({**configuration("config/gpu.yaml", f"config/presets/{preset}.yaml"), "volumes": volumes}, SCHEMA)
    found = {"lab": {"shape": [500, 3000, 3000], "voxel_size": voxel_size}}
    asked = {"count_overlaps": 4000, "write_segmentation": 3000, "make_pseudo_truth": 4000}

    def given(rule: str) -> Allowance:
        return Allowance(2, asked.get(rule, 8000), True, "", "")

    assert {plan.rule for plan in block_plans(found, config)} > set(asked)
    assert list(memory_problems(found, config, given)) == []


@pytest.mark.parametrize(("preset", "voxel_size"), [("anisotropic_cpu", [40, 4, 4]), ("isotropic_cpu", [8, 8, 8])])
def test_presets_for_a_cpu_fit_a_small_machine(preset: str, voxel_size: list[int]) -> None:
    """Two cores and 8 GB suffice for a large volume, and a net is smaller than that of the preset for a GPU."""
    volume = {"role": "annotated", "raw": {"path": "raw.tif"}, "painted": {"path": "painted.tif"}}
    volumes = {"lab": {**volume, "annotation": {"zero": "unlabelled"}}}
    config, larger = (
        complete({**configuration(f"config/presets/{name}.yaml"), "volumes": volumes}, SCHEMA)
        for name in (preset, preset.removesuffix("_cpu"))
    )
    found = {"lab": {"shape": [500, 3000, 3000], "voxel_size": voxel_size}}
    assert list(memory_problems(found, config, lambda rule: Allowance(2, 8000, False, "", ""))) == []
    for net in ("2d", "2d_to_3d", "3d"):
        small, large = (
            describe_net(of["nets"][net], section_settings=of["nets"]["2d"] if net == "2d_to_3d" else None)
            for of in (config, larger)
        )
        assert small.architecture.weights < large.architecture.weights
        assert config["nets"][net]["iterations"] < larger["nets"][net]["iterations"]


def test_time_is_neither_pooled_nor_damaged() -> None:
    """For movies, frames keep their number through the 3D nets, and no frame is shifted or left out."""
    full = complete(configuration("config/config.yaml", "config/presets/time.yaml"), SCHEMA)
    for net in ("2d_to_3d", "3d"):
        assert {factors[0] for factors in full["nets"][net]["pooling"]} == {1}
    for net in ("2d", "3d"):
        augmentation = full["nets"][net]["augmentation"]
        assert {augmentation[key] for key in ("shift", "missing", "low_contrast")} == {0}
        assert augmentation["flip"] > 0


def test_every_data_set_and_preset_is_documented() -> None:
    """The page has a row for each, with the voxel size of the configuration and a command, which is planned there."""
    text = PAGE.read_text()
    fenced = "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    for file in [*DATASETS, *PRESETS]:
        assert re.search(rf"^snakemake .*{re.escape(file)}\b", fenced, re.MULTILINE), file
        assert f"](../../{file})" in text, file
    for file in DATASETS:
        (size,) = {tuple(volume["raw"]["voxel_size"]) for volume in configuration(file)["volumes"].values()}
        (row,) = [line for line in text.splitlines() if line.startswith("|") and f"../../{file})" in line]
        assert " × ".join(map(str, size)) in row
