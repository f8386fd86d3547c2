"""Auto-context: a first net predicts descriptors, a second one turns them into affinities."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.augmentation import Augmentation
from sparse2dense.ops.descriptors import local_shape_descriptors
from sparse2dense.stages.nets import load_net
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.samples import Targets, VolumeSamples
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_volume
from sparse2dense.volumes.volume import Volume, create_volume, open_volume
from tests.voronoi import voronoi

SHAPE = (20, 40, 44)
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [0, -7, 0]]
SETTINGS: dict[str, Any] = {
    "features": 3,
    "growth": 2,
    "pooling": [[1, 2, 2]],
    "kernels": [[1, 3, 3], [3, 3, 3]],
    "normalization": "batch",
    "offsets": OFFSETS,
    "sigma": [2, 3, 3],
    "downsample": 1,
    "grow_boundary": 1,
    "rim": "boundary",
    "augmentation": {},
    "input_shape": [4, 16, 16],
    "batch": 1,
    "iterations": 4,
    "minutes": None,
    "learning_rate": 1e-3,
    "validate_every": 2,
    "checkpoint_every": 2,
}
Triple = tuple[Path, Path, Path]


def stored(
    path: Path, values: NDArray, voxel_size: tuple[float, float, float] = (40, 8.5, 8.5), **attributes: Any
) -> Volume:
    """`values` as a volume, of anisotropic voxels if not said otherwise."""
    axes = "czyx" if values.ndim == 4 else "zyx"
    volume = create_volume(path, values.shape, values.dtype, voxel_size=voxel_size, axes=axes, attributes=attributes)
    volume[...] = values
    return volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Triple:
    """Raw, labels near 2^63 and a mask of a volume of odd objects."""
    folder = tmp_path_factory.mktemp("volume")
    labels = voronoi(SHAPE, 30, 0).astype(np.uint64) + np.uint64(2**63)
    raw = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    parts = {"raw": raw, "labels": labels, "mask": np.ones(SHAPE, np.uint8)}
    paths = [stored(folder / f"{name}.zarr", values).path for name, values in parts.items()]
    return paths[0], paths[1], paths[2]


def trained(folder: Path, volume: Triple, kind: str, **inputs: Any) -> Path:
    """The checkpoint of a net of `kind` after a few steps."""
    outputs = TrainingOutputs(
        folder / kind / "checkpoint.pt", folder / kind / "losses.csv", folder / kind / "s.png", folder / kind / "board"
    )
    train_volume({"v": volume}, outputs, settings={**SETTINGS, "kind": kind}, seed=0, threads=1, **inputs)
    return outputs.checkpoint


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory, volume: Triple) -> Path:
    """What a first net predicts of the volume."""
    folder = tmp_path_factory.mktemp("first")
    checkpoint = trained(folder, volume, "3d_lsd")
    predict({"raw": volume[0]}, checkpoint, {"descriptors": folder / "descriptors.zarr"}, block_shape=(8, 24, 24))
    return folder / "descriptors.zarr"


@pytest.mark.parametrize(("kind", "channels"), [("3d_aclsd", 10), ("3d_acrlsd", 11)])
def test_two_nets_lead_from_raw_to_affinities(
    tmp_path: Path, volume: Triple, descriptors: Path, kind: str, channels: int
) -> None:
    """The second net reads what the first predicted, and has a channel for each offset; blocks don't show."""
    assert open_volume(descriptors).shape == (10, *SHAPE)
    assert open_volume(descriptors).attributes["sigma"] == [2, 3, 3]
    checkpoint = trained(tmp_path, volume, kind, descriptors={"v": descriptors})
    net, description = load_net(checkpoint)
    assert (net.architecture.in_channels, net.architecture.heads) == (channels, {"affinities": 4})
    assert (description.sigma, description.voxel_size) == ((2, 3, 3), (40, 8.5, 8.5))
    sources = {"raw": volume[0], "descriptors": descriptors}
    read = {name: sources[name] for name in description.input_channels}
    for name, block in (("a", (4, 16, 16)), ("b", SHAPE)):
        predict(read, checkpoint, {"affinities": tmp_path / f"{name}.zarr"}, block_shape=block)
    a, b = (open_volume(tmp_path / f"{name}.zarr") for name in "ab")
    assert a.shape == (4, *SHAPE)
    assert a.attributes["offsets"] == OFFSETS
    assert abs(a[...].astype(int) - b[...]).max() <= 1


def test_what_the_second_net_reads_must_fit_it(tmp_path: Path, volume: Triple, descriptors: Path) -> None:
    """Descriptors that are missing, of sections, of another sigma or of another volume are refused, in training too."""
    checkpoint = trained(tmp_path, volume, "3d_acrlsd", descriptors={"v": descriptors})
    values = open_volume(descriptors)[...]
    flat = stored(tmp_path / "flat.zarr", values[:6], sigma=[3, 3]).path
    wide = stored(tmp_path / "wide.zarr", values, sigma=[2, 3, 4]).path
    short = stored(tmp_path / "short.zarr", values[:, 1:], sigma=[2, 3, 3]).path
    for path, named in (
        (flat, r"flat\.zarr holds 6 channels of descriptors\n.*10, which .* of kind 3d_acrlsd reads"),
        (wide, r"descriptors of sigma \[2, 3, 4\]\n.*\[2, 3, 3\]"),
        (short, r"shape.*\(20, 40, 44\).*\(19, 40, 44\)|shapes \[\(19, 40, 44\), \(20, 40, 44\)\]"),
    ):
        with pytest.raises(InputError, match=named):
            trained(tmp_path / "x", volume, "3d_acrlsd", descriptors={"v": path})
        with pytest.raises(InputError, match=named):
            inputs = {"raw": volume[0], "descriptors": path}
            predict(inputs, checkpoint, {"affinities": tmp_path / "a.zarr"}, block_shape=SHAPE)
    with pytest.raises(InputError, match="kind 3d_acrlsd reads descriptors; none are given of v"):
        trained(tmp_path / "x", volume, "3d_acrlsd")
    with pytest.raises(InputError, match="reads descriptors, raw; given: raw"):
        predict({"raw": volume[0]}, checkpoint, {"affinities": tmp_path / "a.zarr"}, block_shape=SHAPE)


def test_descriptors_are_turned_with_the_image(tmp_path: Path) -> None:
    """A crop shows what its labels, flipped, transposed and rotated, are described by; not the values as stored."""
    shape, sigma = (40, 40, 40), (4.0, 4.0, 4.0)
    labels = np.where(np.indices(shape).sum(axis=0) % 40 < 3, 0, voronoi(shape, 12, 1)).astype(np.uint64)
    exact = np.rint(local_shape_descriptors(labels, sigma) * 255).astype(np.uint8)
    parts: tuple[NDArray, ...] = (np.zeros(shape, np.uint8), labels, np.ones(shape, np.uint8), exact)
    raw, truth, mask, read = (
        stored(tmp_path / f"{name}.zarr", values, (8, 8, 8))
        for name, values in zip(("raw", "truth", "mask", "read"), parts, strict=True)
    )
    turns = Augmentation(flip=0.5, transpose=1, rotation=1, rotation_degrees=30, scale=0, elastic=0, shift=0)

    def source(kind: str) -> VolumeSamples:
        targets = Targets(kind, ((-1, 0, 0), (0, -1, 0), (0, 0, -1)), sigma, 1, 0, "boundary")
        return VolumeSamples([(raw, truth, mask)], targets, (12, 12, 12), turns, [slice(10, 30)], [read])

    shown, described = source("3d_aclsd"), source("3d_lsd")
    errors = []
    for seed in range(6):
        sample, wanted = (samples.draw(np.random.default_rng(seed)) for samples in (shown, described))
        known = wanted.weights["descriptors"] > 0
        errors.append(np.abs(sample.input - wanted.targets["descriptors"])[known].mean())
    assert np.mean(errors) < 0.03
