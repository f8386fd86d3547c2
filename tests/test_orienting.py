"""Sections across every axis: what nets say of them comes back to its place, whichever way the volume lies."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.affinities import affinities
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.unet import UNet
from sparse2dense.ops.views import ORIENTATIONS
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.net_kinds import KINDS, NetDescription
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.orienting import block_unit, orientation_problems, oriented_answer, stack_name
from sparse2dense.stages.predicting import answer, predict
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.test_viewing import ExactNet

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
SHAPE = (9, 14, 19)
FLAT_OFFSETS = ((-1, 0), (0, -1), (-3, 0), (0, -3))
NEAR: tuple[tuple[int, ...], ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
DEEP_OFFSETS = (*NEAR, (-2, 0, 0), (0, -2, 0), (0, 0, -2))  # the same along every axis
LIFT = "3d_affs_from_2d_mtlsd"


def description(kind: str, offsets: Sequence[tuple[int, ...]] = ()) -> NetDescription:
    """A small net of `kind`, pooled by 2 along y and x."""
    flat = kind == "2d_mtlsd"
    offsets = FLAT_OFFSETS if flat else tuple(offsets) or DEEP_OFFSETS
    read = FLAT_OFFSETS if kind == LIFT else ()
    heads = {"affinities": len(offsets)} | ({"descriptors": 6} if flat else {})
    pooling, kernels = (((2, 2),), ((3, 3), (3, 3))) if flat else (((1, 2, 2),), ((3, 3, 3), (1, 3, 3)))
    channels = {"2d_mtlsd": 3, LIFT: 10}.get(kind, 1)
    architecture = Architecture(channels, {head: heads[head] for head in KINDS[kind].heads}, 4, 2, pooling, kernels)
    size = None if kind == LIFT else (8.0, 8.0, 8.0)
    return NetDescription(kind, architecture, int(flat), tuple(offsets), read, (2.0, 2.0), size)


def image(shape: Sequence[int] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def stored(path: Path, values: NDArray[np.uint8], voxel_size: Sequence[float] = (8, 8, 8)) -> Path:
    create_volume(path, values.shape, "uint8", voxel_size=voxel_size)[...] = values
    return path


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, Path]:
    """Untrained nets of random weights, by kind."""
    paths = {}
    for kind in ("2d_mtlsd", LIFT, "3d_affs"):
        torch.manual_seed(len(kind))
        paths[kind] = tmp_path / f"{kind}.pt"
        net = UNet(description(kind).architecture)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.3)  # answers further from one half than those of a new net
        save_net(paths[kind], net, description(kind), {})
    return paths


def chain(folder: Path, raw: Path, checkpoints: dict[str, Path], axes: str = "zyx", **how: Any) -> NDArray[np.int64]:
    """The affinities that the two nets make of an image by sections across some axes."""
    folder.mkdir()
    how = {"block_shape": (4, 8, 6), **how}
    stacks: dict[str, Path] = {}
    for axis in axes:
        made = {head: folder / f"{stack_name(head, axis)}.zarr" for head in ("affinities", "descriptors")}
        predict({"raw": raw}, checkpoints["2d_mtlsd"], made, across=axis, **how)
        stacks |= {stack_name(head, axis): path for head, path in made.items()}
    predict(stacks, checkpoints[LIFT], {"affinities": folder / "affinities_3d.zarr"}, **how)
    return open_volume(folder / "affinities_3d.zarr")[...].astype(np.int64)


def test_a_volume_that_lies_otherwise_has_the_same_affinities(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    """Axes moved on by one move the result, channels and all; with sections across z alone they change it."""
    values = image()
    found, moved = {}, {}
    for name, axes, how in (
        ("z", "z", {}),
        ("zyx", "zyx", {}),
        ("turned", "zyx", {"flips": ["y", "x"], "transpose": True}),
    ):
        found[name] = chain(tmp_path / name, stored(tmp_path / f"{name}.zarr", values), checkpoints, axes, **how)
        order = (1, 0, 2) if name == "turned" else (1, 2, 0)  # with `transpose` any exchange of axes
        other = stored(tmp_path / f"other_{name}.zarr", np.ascontiguousarray(values.transpose(order)))
        there = chain(tmp_path / f"other_{name}", other, checkpoints, axes, **how)
        back = there.transpose(0, *(1 + order.index(axis) for axis in range(3)))
        channels = [DEEP_OFFSETS.index(tuple(offset[axis] for axis in order)) for offset in DEEP_OFFSETS]
        moved[name] = back[channels]
    assert found["zyx"].std() > 10
    assert abs(found["zyx"] - moved["zyx"]).max() <= 2
    assert abs(found["turned"] - moved["turned"]).max() <= 2
    assert abs(found["z"] - moved["z"]).max() > 20


@pytest.mark.parametrize("axis", "zyx")
def test_affinities_of_sections_are_those_of_their_offsets(
    tmp_path: Path, checkpoints: dict[str, Path], axis: str
) -> None:
    """What is stored of sections across an axis lies at its voxels, and its offsets say along which axes it is."""
    labels = np.kron(np.random.default_rng(3).integers(1, 6, (3, 4, 5)), np.ones((3, 4, 4))).astype(np.uint8)[
        : SHAPE[0], : SHAPE[1], : SHAPE[2]
    ]
    raw = stored(tmp_path / "raw.zarr", labels)
    outputs = {head: tmp_path / f"{stack_name(head, axis)}.zarr" for head in ("affinities", "descriptors")}
    predict({"raw": raw}, checkpoints["2d_mtlsd"], outputs, across=axis, block_shape=(4, 8, 6))
    offsets = [tuple(offset) for offset in open_volume(outputs["affinities"]).attributes["offsets"]]
    assert all(offset["zyx".index(axis)] == 0 for offset in offsets)
    assert len(set(offsets)) == len(FLAT_OFFSETS)
    net = description("2d_mtlsd")
    asked = partial(answer, cast(UNet, ExactNet(net)), net)
    block = blocks(SHAPE, (9, 8, 12))[-1]
    stacks = {axis: {"raw": open_volume(raw)}}
    said = oriented_answer([asked], net, stacks, block, SHAPE)["affinities"]
    known = affinities(np.ones(SHAPE, np.uint8), offsets)[(slice(None), *block.write)] > 0
    wanted = affinities(labels, offsets)[(slice(None), *block.write)]
    assert 0.1 < wanted[known].mean() < 0.95
    np.testing.assert_allclose(said[known], wanted[known], atol=1e-4)


def test_a_stack_without_an_affinity_does_not_count(tmp_path: Path) -> None:
    """The mean is over the stacks that hold an offset's channel along their own axes: three, two or z alone."""
    net = description("3d_affs_from_2d_mtlsd", [*NEAR, (0, -5, 0), (0, 0, -5), (-2, 0, 0)])
    level = {"z": 0.2, "y": 0.4, "x": 0.9}

    class Constant:
        """A stack that is the same everywhere."""

        def __init__(self, axis: str) -> None:
            self.level = level[axis]

        def read(self, box: Any) -> NDArray[np.float32]:
            return np.full((10, *(side.stop - side.start for side in box)), self.level, np.float32)

    def asked(sources: Any, block: Any) -> dict[str, NDArray[np.float32]]:
        values = sources["affinities"].read(block.write)[:1]
        return {"affinities": np.repeat(values, 6, axis=0)}

    stacks = {axis: {"affinities": Constant(axis)} for axis in "zyx"}
    said = oriented_answer([asked], net, stacks, blocks(SHAPE, SHAPE)[0], SHAPE)["affinities"]
    assert (said.shape, said.dtype) == ((6, *SHAPE), np.float32)
    # A step of 5 along y lies along the section's y across z, along its x across x, and along its z across y; one along
    # x along its x across z, its y across y, its z across x. No net knows one of 5 along the z of its sections.
    wanted = [0.5, 0.5, 0.5, (0.2 + 0.9) / 2, (0.2 + 0.4) / 2, 0.2]
    np.testing.assert_allclose(said[:, 4, 5, 6], wanted, atol=1e-6)
    assert (said == said[:, :1, :1, :1]).all()


def test_blocks_and_jobs_do_not_show(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    """Two cuts differ by rounding at most, and jobs that share the blocks of a stack make what one job makes."""
    raw = stored(tmp_path / "raw.zarr", image((35, 9, 70)))
    large = chain(tmp_path / "large", raw, checkpoints, "zx", block_shape=(64, 64, 128))
    small = chain(tmp_path / "small", raw, checkpoints, "zx", block_shape=(16, 16, 64))
    assert large.std() > 10
    assert abs(large - small).max() <= 2
    inputs = {
        stack_name(head, axis): tmp_path / "small" / f"{stack_name(head, axis)}.zarr"
        for axis in "zx" for head in ("affinities", "descriptors")
    }  # fmt: skip
    output = tmp_path / "shared" / "affinities_3d.zarr"
    for part in ((1, 2), (0, 2), None):
        assert not output.exists()
        predict(inputs, checkpoints[LIFT], {"affinities": output}, block_shape=(16, 16, 64), part=part)
    np.testing.assert_array_equal(open_volume(output)[...], small)


def test_blocks_begin_where_every_orientation_pools() -> None:
    every = list(ORIENTATIONS.values())
    assert block_unit((4, 6), every[:1]) == (1, 4, 6)
    assert block_unit((4, 6), every[1:2]) == (6, 1, 4)
    assert block_unit((1, 4, 6), every) == (12, 12, 12)


def test_flat_voxels_are_refused(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    """Where sections across other axes would look stretched; said before a run, and by the prediction itself."""
    full = configured([40, 4.5, 4], ["z", "y"])
    (told,) = [str(problem) for problem in input_problems(full)[0]]
    assert "`predict.orientations` is ['z', 'y'], and volume lab has voxels of [40, 4.5, 4] nm" in told
    assert "set `predict.orientations` to [z]" in told
    assert input_problems(configured([40, 4.5, 4], ["z"]))[0] == []
    assert input_problems(configured([10, 8, 8], ["z", "y", "x"]))[0] == []
    assert len(list(orientation_problems("lab", ["z", "x"], (8, 10.1, 8)))) == 1
    raw = stored(tmp_path / "raw.zarr", image(), (10, 10, 7))
    outputs = {head: tmp_path / f"{head}.zarr" for head in ("affinities", "descriptors")}
    predict({"raw": raw}, checkpoints["2d_mtlsd"], outputs, block_shape=SHAPE)
    flat = stored(tmp_path / "flat.zarr", image(), (8, 8, 4))
    with pytest.raises(InputError, match=r"voxels of \(8\.0, 4\.0, 8\.0\) nm\n[^\0]*`predict\.orientations` to \[z\]"):
        predict({"raw": flat}, checkpoints["2d_mtlsd"], outputs, block_shape=SHAPE, across="y")


def test_a_download_of_flat_voxels_is_refused_before_it_arrives() -> None:
    """Its size is known where the configuration states it."""
    full = configured([8, 8, 8], ["z", "x"])
    far = {"role": "unlabelled", "raw": {"url": "https://example.org/far.tif", "voxel_size": [30, 8, 8]}}
    full["volumes"] |= complete({"volumes": {**full["volumes"], "far": far}}, SCHEMA)["volumes"]
    (told,) = [str(problem) for problem in input_problems(full)[0]]
    assert "volume far has voxels of [30, 8, 8] nm" in told


def configured(voxel_size: Sequence[float], orientations: Sequence[str]) -> dict[str, Any]:
    """A generated volume of such voxels."""
    return complete(given(voxel_size, orientations), SCHEMA)


def given(voxel_size: Sequence[float], orientations: Sequence[str]) -> dict[str, Any]:
    annotation = {"draw": "sections", "sections": [3], "zero": "unlabelled"}
    phantom = {"shape": [40, 40, 40], "voxel_size": list(voxel_size)}
    return {
        "volumes": {"lab": {"role": "annotated", "phantom": phantom, "annotation": annotation}},
        "predict": {"orientations": list(orientations)},
    }


@pytest.mark.parametrize("orientations", [["y", "x"], [], ["z", "z"], ["z", "c"]])
def test_sections_across_z_are_always_predicted(orientations: list[str]) -> None:
    """Everything else is compared with them; an axis stands in the list once."""
    (told,) = [str(problem) for problem in problems(given([8, 8, 8], orientations), SCHEMA)]
    assert "`predict.orientations" in told
    assert "`z` among them" in told or "c" in orientations


def test_what_a_net_cannot_do_is_refused(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    """A 3D net has no sections, and a stack has all that the 2D-to-3D net reads."""
    raw = stored(tmp_path / "raw.zarr", image())
    output = {"affinities": tmp_path / "a.zarr"}
    with pytest.raises(InputError, match=r"sections across y for .*3d_affs\.pt of kind 3d_affs\n.*z"):
        predict({"raw": raw}, checkpoints["3d_affs"], output, block_shape=SHAPE, across="y")
    inputs = {"affinities": raw, "descriptors": raw, "descriptors.x": raw}
    with pytest.raises(InputError, match=r"given: affinities, descriptors, descriptors\.x"):
        predict(inputs, checkpoints[LIFT], output, block_shape=SHAPE)
