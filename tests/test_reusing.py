"""Trained nets used again: what is taken from their checkpoints, and which of them are refused."""

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse2dense.errors import InputError
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.memory import block_plans
from sparse2dense.stages.net_kinds import NetDescription, describe_net, settings_of
from sparse2dense.stages.nets import load_net, save_net
from sparse2dense.stages.reusing import reuse_net, with_checkpoints

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
FLAT = {"features": 2, "growth": 2, "normalization": "batch", "pooling": [[2, 2]], "kernels": [[3, 3], [3, 3]]}
DEEP = {**FLAT, "pooling": [[1, 2, 2]], "kernels": [[1, 3, 3], [3, 3, 3]]}
NEAR_2D, NEAR_3D = [[-1, 0], [0, -1], [-4, 0]], [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -5, 0]]
SECTION = {**FLAT, "kind": "2d_mtlsd", "adjacent": 0, "offsets": NEAR_2D, "sigma": [5, 5]}
LIFT = {**DEEP, "kind": "3d_affs_from_2d_mtlsd", "offsets": NEAR_3D}
RAW = {**DEEP, "kind": "3d_affs", "offsets": NEAR_3D, "sigma": [4, 4, 4]}


def description(net: str) -> NetDescription:
    """Of a small net that goes by the name `net` in a configuration."""
    if net == "2d_to_3d":
        return describe_net(LIFT, section_settings=SECTION)
    return describe_net(SECTION if net == "2d" else RAW, voxel_size=(40, 8, 8))


def saved(folder: Path, net: str, **changes: Any) -> Path:
    """The checkpoint of such a net, untrained; `changes` are lies in its description."""
    told = description(net)
    save_net(folder / f"{net}.pt", UNet(told.architecture), replace(told, **changes), {"stage": "train"})
    return folder / f"{net}.pt"


def config(**nets: dict[str, Any]) -> dict[str, Any]:
    """A configuration without defaults, of anisotropic volumes."""
    phantom = {"shape": [20, 41, 43], "voxel_size": [40, 8, 8]}
    annotation = {"draw": "sections", "sections": [3, 5], "zero": "unlabelled"}
    volume = {"role": "annotated", "phantom": phantom, "annotation": annotation}
    short = {"offsets": NEAR_3D, "input_shape": [8, 16, 16], "pooling": [[1, 2, 2]], "kernels": [[3, 3, 3], [3, 3, 3]]}
    return {"volumes": {"lab": volume}, "nets": {"2d": {"offsets": NEAR_2D}, "2d_to_3d": short, "3d": short, **nets}}


def refusals(given: dict[str, Any]) -> list[str]:
    """Everything that a start says against a configuration."""
    full, found = with_checkpoints(given)
    found += problems(full, SCHEMA)
    return [str(problem) for problem in found or input_problems(complete(full, SCHEMA))[0]]


@pytest.mark.parametrize("net", ["2d", "2d_to_3d", "3d"])
def test_a_checkpoint_says_what_its_net_is(tmp_path: Path, net: str) -> None:
    """Kind, offsets, sigma and size come from the checkpoint, and memory is planned with them."""
    path = saved(tmp_path, net)
    given = config(**{net: {"checkpoint": {"path": str(path)}, "iterations": 5}})
    if net == "2d_to_3d":
        given["nets"]["2d"]["sigma"] = [5, 5]
    assert refusals(given) == []
    full = complete(with_checkpoints(given)[0], SCHEMA)
    assert settings_of(description(net)).items() <= full["nets"][net].items()
    assert given["nets"][net] == {"checkpoint": {"path": str(path)}, "iterations": 5}
    facts = {"lab": {"shape": [20, 41, 43], "voxel_size": [40, 8, 8]}}
    (plan,) = (plan for plan in block_plans(facts, full) if plan.rule == f"predict_{net}")
    architecture = description(net).architecture
    assert plan.halo[-architecture.ndim :] == architecture.context


@pytest.mark.parametrize(
    ("net", "other", "named"),
    [
        ("2d", {"kind": "2d_lsd"}, ["`nets.2d.kind` is 2d_lsd", "`kind: 2d_mtlsd`"]),
        ("2d", {"adjacent": 1}, ["`nets.2d.adjacent` is 1", "has 0"]),
        ("2d", {"offsets": NEAR_2D[:2]}, ["`nets.2d.offsets` is [[-1, 0], [0, -1]]", "[-4, 0]"]),
        ("2d", {"sigma": [5, 6]}, ["`nets.2d.sigma` is [5, 6]"]),
        ("3d", {"offsets": NEAR_3D[:3]}, ["`nets.3d.offsets`"]),
    ],
)
def test_a_key_that_contradicts_the_checkpoint_is_refused(
    tmp_path: Path, net: str, other: dict[str, Any], named: list[str]
) -> None:
    told, *_ = refusals(config(**{net: {"checkpoint": {"path": str(saved(tmp_path, net))}, **other}}))
    assert all(part in told for part in named), told


def test_a_net_of_another_place_is_refused(tmp_path: Path) -> None:
    (told,) = refusals(config(**{"2d": {"checkpoint": {"path": str(saved(tmp_path, "3d"))}}}))
    assert "`nets.2d.checkpoint` holds a net of kind 3d_affs" in told
    assert "2d_affs or 2d_lsd or 2d_mtlsd" in told


@pytest.mark.parametrize("kind", ["3d_lsd", "3d_aclsd", "3d_acrlsd"])
def test_one_of_a_pair_of_nets_is_refused(tmp_path: Path, kind: str) -> None:
    """By auto-context two nets belong together; those that are used alone are named."""
    told = describe_net({**RAW, "kind": kind}, voxel_size=(40, 8, 8))
    save_net(tmp_path / "pair.pt", UNet(told.architecture), told, {"stage": "train"})
    (refused,) = refusals(config(**{"3d": {"checkpoint": {"path": str(tmp_path / "pair.pt")}}}))
    assert f"`nets.3d.checkpoint` holds a net of kind {kind}" in refused
    assert "3d_affs or 3d_mtlsd" in refused


def test_the_lifting_net_must_fit_what_it_reads(tmp_path: Path) -> None:
    """Offsets and sigma of the 2D net, in voxels, must be those it was trained on; the voxel size may be any."""
    given = config(**{"2d_to_3d": {"checkpoint": {"path": str(saved(tmp_path, "2d_to_3d"))}}})
    given["nets"]["2d"] = {"offsets": NEAR_2D[:2], "sigma": [5, 5]}
    given["volumes"]["lab"]["phantom"]["voxel_size"] = [123, 4, 4]
    (offsets,) = refusals(given)
    assert "reads affinities of the offsets [[-1, 0], [0, -1], [-4, 0]], but `nets.2d.offsets` is" in offsets
    given["nets"]["2d"] = {"offsets": NEAR_2D, "sigma": [10, 10]}
    (sigma,) = refusals(given)
    assert "reads descriptors of the sigma [5, 5], but `nets.2d.sigma` is [10, 10]" in sigma
    given["nets"]["2d"] = {"checkpoint": {"path": str(saved(tmp_path, "2d"))}}
    (voxels,) = refusals(given)
    assert "volume lab has voxels of [123, 4, 4] nm, but the net in `nets.2d.checkpoint`" in voxels
    assert "[40.0, 8.0, 8.0]" in voxels
    given["volumes"]["lab"]["phantom"]["voxel_size"] = [45, 7, 9.9]
    assert refusals(given) == []


class Hostile:
    """Runs what it likes when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("run", "w"))


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, cut off, hostile, contradicting itself, or not the file of the checksum: refused, and nothing runs."""
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, "3d")
    whole = path.read_bytes()

    def told(content: bytes | None = None) -> str:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError) as raised:
            load_net(path)
        assert raised.value.problem in refusals(config(**{"3d": {"checkpoint": {"path": str(path)}}}))[0]
        return raised.value.problem

    assert "3d.pt can't be read as a checkpoint" in told(b"nothing")
    assert "can't be read" in told(whole[: len(whole) // 2])
    assert "can't be read" in told(pickle.dumps(Hostile()))
    torch.save({"description": Hostile(), "weights": {}}, path)
    assert "can't be read" in told()
    assert not Path("run").exists()
    saved(tmp_path, "3d", offsets=tuple(map(tuple, NEAR_3D[:3])))
    assert "a net of kind 3d_affs with 1 input channels and heads of {'affinities': 4}" in told()
    saved(tmp_path, "3d", architecture=replace(description("3d").architecture, features=2**20))
    assert "its weights are not those of the net it describes" in told()
    saved(tmp_path, "3d", kind="4d")
    assert "KeyError: '4d'" in told()
    content = torch.load(saved(tmp_path, "3d"), weights_only=True)
    next(iter(content["weights"].values()))[0] = float("nan")
    torch.save(content, path)
    assert "not finite" in told()


def test_checksum_and_place_are_checked(tmp_path: Path) -> None:
    path = saved(tmp_path, "3d")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert refusals(config(**{"3d": {"checkpoint": {"path": str(path), "sha256": right}}})) == []
    (wrong,) = refusals(config(**{"3d": {"checkpoint": {"path": str(path), "sha256": "0" * 64}}}))
    assert f"`nets.3d.checkpoint`: {path} has the sha256 {right}" in wrong
    (absent,) = refusals(config(**{"3d": {"checkpoint": {"path": str(tmp_path / "none.pt")}}}))
    assert "none.pt doesn't exist" in absent
    (unchecked,) = refusals(config(**{"3d": {"checkpoint": {"url": "https://example.org/a.pt"}}}))
    assert "`nets.3d.checkpoint.url` is given without `sha256`" in unchecked
    (alone,) = refusals(config(**{"3d": {"checkpoint": {"sha256": right}}}))
    assert "`nets.3d.checkpoint.sha256` is given without `path` or `url`" in alone
    both = config(**{"3d": {"checkpoint": {"path": str(path)}}}) | {
        "evaluate": {"tracks": ["bootstrapped", "baseline"]}
    }
    assert "gives one net for both" in refusals(both)[0]


def test_a_reused_net_is_copied_with_where_it_came_from(tmp_path: Path) -> None:
    """What was downloaded is compared with the configuration before it gets the name of a result."""
    path = saved(tmp_path, "2d")
    url = {"path": None, "url": "https://example.org/2d.pt", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    checkpoint, record = tmp_path / "checkpoint.pt", tmp_path / "reused.json"
    settings = {**SECTION, "checkpoint": url}

    def reuse(settings: dict[str, Any], size: float) -> None:
        sizes = {"lab": [size, 8, 8]}
        reuse_net(path, checkpoint, record, name="2d", settings=settings, section_settings=settings, voxel_sizes=sizes)

    with pytest.raises(InputError, match=r"`nets\.2d\.sigma` is \[9, 9\]"):
        reuse({**settings, "sigma": [9, 9]}, 40)
    with pytest.raises(InputError, match="volume lab has voxels"):
        reuse(settings, 8)
    with pytest.raises(InputError, match="has the sha256"):
        reuse({**settings, "checkpoint": {**url, "sha256": "0" * 64}}, 40)
    assert not checkpoint.exists()
    reuse({**settings, "features": 99}, 40)
    assert checkpoint.read_bytes() == path.read_bytes()
    assert json.loads(record.read_text()) == {"origin": url["url"], "sha256": url["sha256"], "kind": "2d_mtlsd"}
