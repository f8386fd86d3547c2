"""The configuration: what its schema accepts, how it refuses, and that it agrees with the code that reads it."""

import copy
import dataclasses
import inspect
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparse2dense.errors import InputError
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.ops.mutex_fragments import mutex_fragments
from sparse2dense.ops.mutex_sweep import MutexSweep
from sparse2dense.ops.phantom import PhantomSettings
from sparse2dense.ops.schedules import SCHEDULES
from sparse2dense.ops.synthetic import synthetic_labels
from sparse2dense.stages.configuration import complete, key_table, load_schema, problems
from sparse2dense.stages.consistency import (
    LIFT_INPUTS,
    PREDICTED,
    threshold_names,
    used_nets,
    voxel_size_problems,
)
from sparse2dense.stages.evaluating import choose_threshold, count_overlaps
from sparse2dense.stages.net_kinds import KINDS
from sparse2dense.stages.pseudo_truth import make_pseudo_truth
from sparse2dense.stages.segmenting import make_fragments, write_segmentation
from sparse2dense.stages.training_plan import TrainingPlan
from sparse2dense.stages.volume_consistency import RUN_FOLDERS, addresses
from tests.stand_ins import configuration, merged

ROOT = Path(__file__).parents[1]
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = load_schema(SCHEMA_FILE)
CONFIGS = [
    ("config/config.yaml",),
    ("config/config.yaml", "config/gpu.yaml"),
    ("config/fib25.yaml",),
    ("config/fib25.yaml", "config/fib25_local.yaml"),
    ("config/fib25.yaml", "config/gpu.yaml"),
    ("config/cremi.yaml",),
    ("config/cremi.yaml", "config/cremi_local.yaml"),
    ("config/snemi3d.yaml",),
    ("config/zebrafinch.yaml",),
    ("config/hemibrain.yaml",),
    ("config/snemi3d.yaml", "config/gpu.yaml", "config/presets/anisotropic.yaml"),
    ("config/fib25.yaml", "config/presets/isotropic.yaml"),
    ("config/cremi.yaml", "config/presets/anisotropic_cpu.yaml"),
    ("config/hemibrain.yaml", "config/presets/isotropic_cpu.yaml"),
    ("config/config.yaml", "config/presets/time.yaml"),
    ("tests/workflow/tiny.yaml",),
]


TEST = {"role": "test", "phantom": {"shape": [9, 9, 9]}}


def painted() -> dict[str, Any]:
    """The least that a user writes."""
    return {
        "volumes": {
            "fib": {
                "role": "annotated",
                "raw": {"path": "raw.tif", "voxel_size": [40, 4.5, 4]},
                "painted": {"path": "painted.tif"},
                "annotation": {"zero": "unlabelled"},
            }
        }
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """`painted` with the key at `path` set, blocks made on the way."""
    config = painted()
    *blocks, key = path.split(".")
    here = config
    for block in blocks:
        here = here.setdefault(block, {})
    here[key] = value
    return config


def schema_keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every key of the schema with its entry, definitions resolved, and whether it is required."""
    if "$ref" in schema:
        schema = {**SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], **schema}
        del schema["$ref"]
    for key, below in schema.get("properties", {}).items():
        entry = {**SCHEMA["$defs"][below["$ref"].removeprefix("#/$defs/")], **below} if "$ref" in below else below
        yield f"{path}.{key}".lstrip("."), entry, key in schema.get("required", [])
        yield from schema_keys(below, f"{path}.{key}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from schema_keys(schema["additionalProperties"], f"{path}.<name>")


def test_every_key_has_description_and_default() -> None:
    """The schema is the manual: nothing in it goes unexplained."""
    blocks = {
        "phantom",
        "raw",
        "truth",
        "painted",
        "painted_mask",
        "skeletons",
        "annotation",
    }  # absent unless the user gives them
    inner = {"results", "logs", "benchmarks"}
    for path, entry, required in schema_keys(SCHEMA):
        assert entry.get("description"), path
        assert "default" in entry or required or path.split(".")[-1] in blocks | inner, path


def test_readme_is_written_from_the_schema() -> None:
    """config/README.md is what the schema says; `python -m sparse2dense.stages.configuration` writes it."""
    assert (ROOT / "config/README.md").read_text() == key_table(SCHEMA)


@pytest.mark.parametrize("files", CONFIGS, ids="+".join)
def test_shipped_configurations_are_accepted(files: tuple[str, ...]) -> None:
    """Every configuration of the project fits the schema, with the one it is added to."""
    assert problems(configuration(*files), SCHEMA) == []


def test_no_configuration_is_forgotten() -> None:
    """The test above knows all of them."""
    assert {file for files in CONFIGS for file in files if file.startswith("config/")} == {
        str(file.relative_to(ROOT)) for file in (ROOT / "config").rglob("*.yaml")
    }


@pytest.mark.parametrize("name", ["001", "2024_11_21", "2024-11-21", "no", "null", "1.5"])
def test_names_that_yaml_changes_are_refused(name: str) -> None:
    """The name of a volume is that of its folder, so it must be what was written; in quotes it is."""
    text = f"volumes: {{ {name}: {{ role: test, phantom: {{ shape: [9, 9, 9] }} }} }}"
    (told,) = problems(merged(painted(), yaml.safe_load(text)), SCHEMA)
    assert "YAML reads this name as a" in told.problem
    assert "quotes" in told.remedy
    quoted = problems(merged(painted(), yaml.safe_load(text.replace(name, f'"{name}"'))), SCHEMA)
    assert [problem.problem for problem in quoted] == (
        [f"`volumes.{name}`: {name!r} is not a name"] if {"-", "."} & set(name) else []
    )


def test_no_volume_can_take_a_folder_of_the_run() -> None:
    """Whatever folder a rule writes to beside those of the volumes is known to be taken."""
    rules = "".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    folders = set(re.findall(r"<results>/(\w+)/", rules)) | {"logs", "benchmarks"}
    assert folders == set(RUN_FOLDERS)


def test_defaults_are_filled_in_at_every_depth_and_leave_the_rest() -> None:
    """A key left out takes its default, also within named volumes and blocks left out; the argument stays as it is."""
    config = changed("nets.3d.features", 7)
    before = copy.deepcopy(config)
    full = complete(config, SCHEMA)
    assert config == before
    assert full["nets"]["3d"]["features"] == 7
    assert full["nets"]["3d"]["growth"] == 5
    assert full["nets"]["2d"]["augmentation"]["flip"] == 0.5
    assert full["volumes"]["fib"]["annotation"]["draw"] == "painted"
    assert full["volumes"]["fib"]["raw"]["voxel_size"] == [40, 4.5, 4]
    assert full["volumes"]["fib"]["raw"]["crop"] is None
    assert "truth" not in full["volumes"]["fib"]
    assert complete(full, SCHEMA) == full


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("volumes.fib.anotation", {}, ["`volumes.fib.anotation`", "did you mean `annotation`"]),
        ("nets.2d.feature", 3, ["`nets.2d.feature`", "did you mean `features`"]),
        ("qwertz", 3, ["`qwertz`", "nets, paint_next, pathvars", "remove it"]),
        ("volumes.fib.role", "anotated", ["`volumes.fib.role`", "anotated", "`unlabelled`"]),
        ("volumes.fib.annotation.zero", 0, ["`volumes.fib.annotation.zero` is 0", "`background`"]),
        ("volumes.fib.annotation", {}, ["`volumes.fib.annotation.zero` is missing", "`unlabelled`"]),
        ("volumes.fib-25", {"role": "test"}, ["'fib-25' is not a name", "letters"]),
        ("volumes.fib.raw.voxel_size", [40, 4], ["`volumes.fib.raw.voxel_size` is [40, 4]", "list of 3"]),
        ("volumes.fib.raw.voxel_size", [40, 4, 0], ["`volumes.fib.raw.voxel_size` is [40, 4, 0]", "> 0"]),
        ("seed", -1, ["`seed` is -1", ">= 0"]),
        ("segment.thresholds", {"start": 0, "stop": 1, "stepp": 0.1}, ["thresholds.stepp`", "did you mean `step`"]),
        ("segment.thresholds", "best", ["`segment.thresholds`", "start, stop, step"]),
        ("segment.merge_function", "median", ["median", "hist_quant"]),
        ("rounds", 0, ["`rounds` is 0", "whole number", ">= 1"]),
        ("rounds", 1.5, ["`rounds` is 1.5", "whole number"]),
        ("rounds", 11, ["`rounds` is 11", "<= 10"]),
        ("pseudo_truth.threshold", "best", ["`pseudo_truth.threshold`", "`chosen`"]),
        ("nets.2d.kind", "2d_mtlds", ["`nets.2d.kind`", "`2d_lsd`"]),
        ("volumes.fib.skeletons", {"path": "nodes.json"}, ['skeletons.path` is "nodes.json"', "graphml|swc|csv"]),
        ("volumes", None, ["`volumes` is null", "names"]),
    ],
)
def test_what_the_schema_refuses_is_explained(path: str, value: Any, names: list[str]) -> None:
    """A message names the whole path of the key, its value, what is allowed and what to do."""
    found = problems(changed(path, value), SCHEMA)
    text = "\n".join(map(str, found))
    assert all(name in text for name in names), text
    assert "allowed:" in text
    assert "what to do:" in text


def test_all_problems_are_reported_at_once() -> None:
    """Three mistakes give three messages."""
    config = changed("seed", "x")
    config["volumes"]["fib"]["rawww"] = {}
    config["nets"] = {"3d": {"batch": 0}}
    assert len(problems(config, SCHEMA)) == 3
    with pytest.raises(InputError):
        complete(config, SCHEMA)


def add(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of a configuration."""

    def change(config: dict[str, Any]) -> None:
        *blocks, key = path.split(".")
        for block in blocks:
            config = config.setdefault(block, {})
        config[key] = value

    return change


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"volumes.fib.role": "unlabelled"}, ["no volume with the role annotated", "`volumes.fib.painted` is given"]),
        ({"volumes.nets": TEST}, ["`volumes.nets`", "share a folder", "benchmarks, charts, logs, nets, thresholds"]),
        ({"volumes.fib.phantom": {"shape": [9, 9, 9]}}, ["both `phantom` and `raw`"]),
        ({"volumes.two": {"role": "unlabelled"}}, ["`volumes.two` has neither `raw` nor `phantom`"]),
        ({"volumes.two": {"role": "unlabelled", "raw": {}}}, ["neither `path` nor `url`"]),
        ({"volumes.two": {"role": "test", "raw": {"path": "x"}}}, ["`volumes.two.role` is test", "truth"]),
        ({"volumes.two": {**TEST, "skeletons": {"from_truth": True}}}, []),
        ({"volumes.two": {**TEST, "skeletons": {"path": "nodes.swc", "voxel_size": [40, 4.5, 4]}}}, []),
        (
            {"volumes.two": {**TEST, "skeletons": {"from_truth": True, "region": [[0, 9], [7.5, 7.5], [-4, 9.5]]}}},
            ["`volumes.two.skeletons.region` is [7.5, 7.5] nm along y"],
        ),
        ({"volumes.fib.weight": 2.5}, []),
        ({"volumes.two": {**TEST, "weight": 2}}, ["`volumes.two.weight` is 2, but `volumes.two.role` is test"]),
        ({"segment.fragments.mutex": {"biases": [-0.4] * 9, "strides": [[1, 2, 2]] * 9}}, []),
        (
            {"segment.fragments.mutex": {"biases": [-0.4] * 3}},
            ["`segment.fragments.mutex.biases` has 3 entries for 9 of `nets.2d_to_3d.offsets`"],
        ),
        ({"volumes.two": {**TEST, "skeletons": {}}}, ["`volumes.two.skeletons` has neither `path` nor `from_truth`"]),
        (
            {"volumes.two": {**TEST, "skeletons": {"path": "a.csv", "from_truth": True}}},
            ["both `path` and `from_truth`"],
        ),
        ({"volumes.fib.skeletons": {"from_truth": True}}, ["skeletons` is given, but `volumes.fib.role` is annotated"]),
        ({"volumes.two": {"role": "annotated", "raw": {"path": "x"}}}, ["`volumes.two.annotation` is missing"]),
        ({"volumes.fib.annotation.draw": "disks"}, ["is disks", "`volumes.fib.truth` is missing", "sections`"]),
        ({"volumes.fib.annotation": {"zero": "unlabelled", "parts": 3, "part": 3}}, ["part` is 3", "0 to 2"]),
        (
            {"volumes.fib.annotation": {"zero": "unlabelled", "sections": [3, 9], "validation": 4}},
            ["`volumes.fib.annotation.validation` is 4", "[3, 9]"],
        ),
        (
            {"volumes.fib.annotation": {"zero": "unlabelled", "sections": [3], "validation": 3}},
            ["no annotated section is left"],
        ),
        ({"volumes.fib.raw.crop": [[0, 5], [7, 7], [0, 9]]}, ["[7, 7] along y"]),
        ({"volumes.fib.raw.url": ["a/1.png", "a/2.png"], "volumes.fib.raw.path": None}, []),
        (
            {"volumes.fib.raw": {"url": "a/{1..3}.png", "url_sha256": ["0" * 64]}},
            ["1 checksums for 3 files"],
        ),
        ({"evaluate.tracks": ["baseline"]}, ["`evaluate.tracks` has baseline"]),
        ({"rounds": 3}, []),
        ({"rounds": 2, "evaluate.tracks": ["pseudo"]}, ["`rounds` is 2, but `evaluate.tracks` has no bootstrapped"]),
        (
            {"rounds": 2, "nets.3d.checkpoint": {"path": "3d.pt"}},
            ["`rounds` is 2, but `nets.3d.checkpoint` gives a net that no round trains", "remove `rounds`"],
        ),
        ({"segment.thresholds": [0.5, 0.4]}, ["`segment.thresholds` is [0.5, 0.4]", "ascending"]),
        ({"segment.thresholds": [0.5, 0.50]}, ["ascending"]),
        ({"segment.thresholds": {"start": 0.5, "stop": 0.4, "step": 0.1}}, ["ascending"]),
        ({"segment.block": [64, 32, 256]}, ["`segment.context` is [16, 32, 32]", "`segment.block` [64, 32, 256]"]),
        (
            {"evaluate.choose_by": "disagreement", "nets.2d_to_3d.offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]},
            ["`nets.2d_to_3d.offsets` are direct neighbours only", "add offsets"],
        ),
        (
            {
                "evaluate": {"choose_by": "disagreement", "tracks": ["pseudo"]},
                "nets.3d.offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
            },
            [],
        ),
        ({"segment.block": [8, 64, 64], "segment.fragments": {"per_section": True}}, []),
        ({"nets.2d.kernels": [[3, 3], [3, 3]]}, ["`nets.2d.kernels`", "pooling`", "one more"]),
        ({"nets.2d.offsets": [[0, -1], [-1, 0]]}, ["`nets.2d.offsets` begins with", "[[-1, 0], [0, -1]]"]),
        ({"nets.2d.offsets": [[-1, 0], [0, -1], [0, 9]]}, ["`nets.2d.offsets` holds [0, 9]", "0 or less"]),
        ({"nets.2d.offsets": [[-1, 0], [0, -1], [0, -196]]}, ["[0, -196]", "input_shape"]),
        ({"nets.2d.warmup": 20001}, ["`nets.2d.warmup` is 20001", "`nets.2d.iterations` is 20000"]),
        ({"nets.2d.warmup": 20000, "nets.3d.warmup": 0}, []),
        ({"nets.3d.patience": 59}, ["`nets.3d.patience` is 59", "60 validations", "at least 61"]),
        ({"nets.3d.patience": 58, "nets.2d_to_3d.average": 0.999, "nets.3d.clip": None}, []),
        ({"nets.2d.kind": "2d_affs"}, ["`nets.2d_to_3d.kind`", "3d_affs_from_2d_affs"]),
        ({"nets.3d.kind": "3d_aclsd"}, []),
        (
            {"nets.3d": {"kind": "3d_aclsd", "checkpoint": {"url": "https://example.org/a.pt", "sha256": "0" * 64}}},
            ["`nets.3d.checkpoint`", "`nets.3d.kind` 3d_aclsd", "3d_lsd"],
        ),
        (
            {
                "volumes.a": {"role": "unlabelled", "phantom": {"shape": [9, 9, 9]}},
                "volumes.b": {"role": "unlabelled", "phantom": {"shape": [9, 9, 9]}},
            },
            ["are the same volume", "seed"],
        ),
    ],
)
def test_contradictions_are_explained(changes: dict[str, Any], names: list[str]) -> None:
    """What each key allows but another rules out is refused, with both named."""
    config = painted()
    for path, value in changes.items():
        add(path, value)(config)
    text = "\n".join(map(str, problems(config, SCHEMA)))
    assert all(name in text for name in names), text
    assert bool(text) == bool(names)


def test_volumes_of_other_voxels_are_named_before_a_net_learns_from_them() -> None:
    """Against the first annotated volume, wherever it stands; not where every net that sees images has learnt."""
    config = complete(changed("volumes.unseen", TEST), SCHEMA)
    sizes: dict[str, list[float]] = {"unseen": [40, 6, 4], "fib": [40.0, 4.5, 4.0]}
    (found,) = voxel_size_problems(config, sizes)
    assert "volume unseen has voxels of (40, 6, 4) nm, but volume fib of (40.0, 4.5, 4.0)" in found.problem
    assert not voxel_size_problems(config, sizes | {"unseen": [40, 5, 4.9]})
    assert not voxel_size_problems(config, {"unseen": [40, 6, 4]})
    config["evaluate"]["tracks"] = ["pseudo"]
    config["nets"]["2d"]["checkpoint"]["path"] = "trained.pt"
    assert not voxel_size_problems(config, sizes)


def test_series_of_addresses_is_spelled_out_and_a_path_wins() -> None:
    """A range in a URL stands for a file each; with a path on this machine nothing is downloaded."""
    full = complete(changed("volumes.fib.raw.url", "http://a/{08..11}.png"), SCHEMA)
    source = full["volumes"]["fib"]["raw"]
    assert addresses(source) == []
    assert addresses({**source, "path": None}) == [f"http://a/{number:02}.png" for number in (8, 9, 10, 11)]


def test_thresholds_are_exact_decimals() -> None:
    """Names of thresholds are what the user wrote; a range includes both ends and carries no noise of floats."""
    assert threshold_names([0.580, 1, 0.05]) == ["0.58", "1", "0.05"]
    names = threshold_names({"start": 0.02, "stop": 0.98, "step": 0.02})
    assert len(names) == 49
    assert names[0], names[-1] == ("0.02", "0.98")
    assert all(len(name) <= 4 for name in names)


def test_every_kind_of_net_can_be_chosen() -> None:
    """The configuration allows each kind in one place; only the first net of two is not chosen, but follows."""
    nets = SCHEMA["$defs"]
    kinds = {name: nets[f"net_{name}"]["properties"]["kind"]["enum"] for name in ("2d", "2d_to_3d", "3d")}
    assert sorted([*(kind for choice in kinds.values() for kind in choice), "3d_lsd"]) == sorted(KINDS)
    assert set(kinds["2d_to_3d"]) == set(LIFT_INPUTS)
    assert all("affinities" in PREDICTED[kind] for kind in (*kinds["2d_to_3d"], *kinds["3d"]))


def test_auto_context_makes_two_nets_of_one_block() -> None:
    """The first of them differs by its kind alone; with the pseudo track alone there is neither."""
    full = complete(changed("nets.3d", {"kind": "3d_acrlsd", "features": 7}), SCHEMA)
    nets = used_nets(full)
    assert list(nets) == ["2d", "2d_to_3d", "3d_lsd", "3d"]
    assert nets["3d_lsd"] == {**full["nets"]["3d"], "kind": "3d_lsd"}
    assert list(used_nets({**full, "evaluate": {"tracks": ["pseudo"]}})) == ["2d", "2d_to_3d"]
    assert list(used_nets(complete(painted(), SCHEMA))) == ["2d", "2d_to_3d", "3d"]


def test_defaults_agree_with_the_library() -> None:
    """A block left out does what the library does without it."""
    full = complete(changed("volumes.two", {"role": "test", "phantom": {"shape": [9, 9, 9]}}), SCHEMA)
    phantom = full["volumes"]["two"]["phantom"]
    for name, value in dataclasses.asdict(PhantomSettings()).items():
        assert phantom[name] == value, name
    for net in ("2d", "3d"):
        augmentation = dataclasses.asdict(Augmentation())
        assert {n: list(v) if isinstance(v, tuple) else v for n, v in augmentation.items()} == full["nets"][net][
            "augmentation"
        ]
    for settings in full["nets"].values():
        for option in dataclasses.fields(TrainingPlan):
            if option.default is not dataclasses.MISSING and option.name != "loaders":
                assert settings[option.name] == option.default, option.name
    assert SCHEMA["$defs"]["schedule"]["enum"] == list(SCHEDULES)
    synthetic = dict(full["nets"]["2d_to_3d"]["synthetic"])
    assert synthetic.pop("errors") == "usual"
    defaults = inspect.signature(synthetic_labels).parameters
    assert {name: list(v) if isinstance(v := defaults[name].default, tuple) else v for name in synthetic} == synthetic
    blocks = inspect.signature(make_fragments).parameters
    assert full["segment"]["block"] == list(blocks["block_shape"].default)
    assert full["segment"]["context"] == list(blocks["context"].default)
    for stage in (count_overlaps, make_pseudo_truth, write_segmentation):
        assert full["segment"]["block"] == list(inspect.signature(stage).parameters["block_shape"].default)
    overlaps = inspect.signature(count_overlaps).parameters
    assert full["evaluate"]["border"] == list(overlaps["border"].default)
    assert full["evaluate"]["reach"] == overlaps["reach"].default
    choice = inspect.signature(choose_threshold).parameters
    for key in ("choose_by", "merge_weight"):
        assert full["evaluate"][key] == choice[key].default


def test_settings_are_parameters_of_the_library() -> None:
    """Blocks that are handed on key by key hold no key the function does not know."""
    full = complete(painted(), SCHEMA)
    fragments = set(full["segment"]["fragments"]) - {"only_tissue", "method"}
    assert fragments <= set(inspect.signature(make_fragments).parameters)
    mutex = full["segment"]["fragments"]["mutex"]
    defaults = inspect.signature(mutex_fragments).parameters
    assert {name: list(v) if isinstance(v := defaults[name].default, tuple) else v for name in mutex} == mutex
    assert full["segment"]["repulsion"] == MutexSweep.repulsion
    filters = set(full["pseudo_truth"]) - {"threshold"}
    assert filters <= set(inspect.signature(make_pseudo_truth).parameters)


def test_misspelt_keys_find_the_nearest() -> None:
    """Any key of the schema with two letters exchanged is refused, and the right one is suggested."""
    rng = random.Random(1)
    for path, _, _ in schema_keys(SCHEMA):
        *blocks, key = path.split(".")
        if "<name>" in blocks or len(key) < 6:
            continue
        place = rng.randrange(len(key) - 1)
        wrong = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
        if wrong == key:
            continue
        text = "\n".join(map(str, problems(changed(".".join([*blocks, wrong]), 1), SCHEMA)))
        assert f"did you mean `{key}`?" in text, (path, wrong, text)
