"""Prediction of volumes: without seams, resumable, and refused where net and data don't fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse2dense.errors import InputError
from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.unet import UNet
from sparse2dense.stages.answering import answer
from sparse2dense.stages.net_kinds import NetDescription
from sparse2dense.stages.nets import load_net, save_net
from sparse2dense.stages.predicting import predict
from sparse2dense.volumes.grid import blocks
from sparse2dense.volumes.volume import create_volume, open_volume

SHAPE = (7, 37, 45)
FLAT = (((2, 2), (2, 2)), ((3, 3),) * 3)
DEEP = (((1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3)))


def description(kind: str) -> NetDescription:
    """A small net of `kind`."""
    pooling, kernels = FLAT if kind.startswith("2d") else DEEP
    offsets = ((-1, 0), (0, -1)) if kind.startswith("2d") else ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    channels = {"2d_mtlsd": 3, "3d_affs": 1, "3d_affs_from_2d_mtlsd": 8}[kind]
    heads = {"affinities": len(offsets)} | ({"descriptors": 6} if kind == "2d_mtlsd" else {})
    architecture = Architecture(channels, heads, 4, 2, pooling, kernels)
    read = ((-1, 0), (0, -1)) if "from" in kind else ()
    size = None if "from" in kind else (8.0, 8.0, 8.0)
    return NetDescription(kind, architecture, 1 if kind == "2d_mtlsd" else 0, offsets, read, (5.0, 5.0), size)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A volume of odd sides away from the origin."""
    volume = create_volume(tmp_path / "raw.zarr", SHAPE, "uint8", voxel_size=(8, 8, 8), offset=(80, 16, 4.5))
    volume[...] = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    return volume.path


def checkpoint(tmp_path: Path, kind: str) -> Path:
    """An untrained net that answers something, saved."""
    torch.manual_seed(0)
    path = tmp_path / kind / "checkpoint.pt"
    path.parent.mkdir(parents=True)
    save_net(path, UNet(description(kind).architecture), description(kind), {})
    return path


@pytest.mark.parametrize("kind", ["2d_mtlsd", "3d_affs"])
@pytest.mark.parametrize("tile", [(4, 16, 24), (2, 8, 8), (6, 40, 4)])
def test_blockwise_equals_whole(tmp_path: Path, raw: Path, kind: str, tile: tuple[int, int, int]) -> None:
    """Before it is quantised, a prediction in blocks differs from one of the whole volume by less than 1e-5."""
    net, found = load_net(checkpoint(tmp_path, kind))
    sources = {"raw": open_volume(raw)}
    whole = answer(net, found, sources, blocks(SHAPE, SHAPE)[0])
    for block in blocks(SHAPE, tile):
        part = answer(net, found, sources, block)
        for head, value in part.items():
            np.testing.assert_allclose(value, whole[head][(slice(None), *block.write)], atol=1e-5)


def test_a_stack_of_sections_becomes_affinities(tmp_path: Path, raw: Path) -> None:
    """2D predictions are stacked in place; the 2D-to-3D net reads them; both keep place and offsets."""
    stacked = {head: tmp_path / f"stacked_{head}.zarr" for head in ("descriptors", "affinities")}
    predict({"raw": raw}, checkpoint(tmp_path, "2d_mtlsd"), stacked, block_shape=(4, 16, 16))
    result = tmp_path / "affinities.zarr"
    predict(stacked, checkpoint(tmp_path, "3d_affs_from_2d_mtlsd"), {"affinities": result}, block_shape=(4, 16, 16))
    for path, channels in ((stacked["descriptors"], 6), (stacked["affinities"], 2), (result, 3)):
        volume = open_volume(path)
        assert volume.shape == (channels, *SHAPE)
        assert volume.dtype == np.uint8
        assert (volume.voxel_size, volume.offset) == ((8, 8, 8), (80, 16, 4.5))
        assert not list(tmp_path.glob(path.name + ".*"))
    assert open_volume(stacked["affinities"]).attributes["offsets"] == [[0, -1, 0], [0, 0, -1]]
    assert open_volume(result).attributes["offsets"] == [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


def test_block_shape_does_not_show_in_the_result(tmp_path: Path, raw: Path) -> None:
    """Two block shapes give volumes that differ by rounding at most."""
    path = checkpoint(tmp_path, "3d_affs")
    for name, tile in (("a", (1, 1, 1)), ("b", (64, 64, 64))):
        predict({"raw": raw}, path, {"affinities": tmp_path / f"{name}.zarr"}, block_shape=tile)
    a, b = (open_volume(tmp_path / f"{name}.zarr")[...].astype(int) for name in "ab")
    assert abs(a - b).max() <= 1


def test_a_net_for_other_voxels_is_refused(tmp_path: Path) -> None:
    """A volume of another voxel size is refused, naming both."""
    volume = create_volume(tmp_path / "coarse.zarr", SHAPE, "uint8", voxel_size=(40, 8, 8))
    with pytest.raises(InputError, match=r"40.*\n.*allowed.*8"):
        outputs = {"affinities": tmp_path / "affinities.zarr"}
        predict({"raw": volume.path}, checkpoint(tmp_path, "3d_affs"), outputs, block_shape=(8, 8, 8))


def test_descriptors_of_another_sigma_are_refused(tmp_path: Path, raw: Path) -> None:
    """The 2D-to-3D net knows shapes by the sigma of the 2D net it was trained for."""
    stacked = {head: tmp_path / f"stacked_{head}.zarr" for head in ("descriptors", "affinities")}
    predict({"raw": raw}, checkpoint(tmp_path, "2d_mtlsd"), stacked, block_shape=(8, 64, 64))
    told = replace(description("3d_affs_from_2d_mtlsd"), sigma=(5.0, 6.0))
    save_net(tmp_path / "other.pt", UNet(told.architecture), told, {})
    with pytest.raises(InputError, match=r"descriptors of sigma \[5\.0, 5\.0\]\n.*\[5\.0, 6\.0\]"):
        predict(stacked, tmp_path / "other.pt", {"affinities": tmp_path / "a.zarr"}, block_shape=(8, 64, 64))


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    """A file that is no checkpoint is named."""
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"checkpoint\.pt"):
        load_net(path)
