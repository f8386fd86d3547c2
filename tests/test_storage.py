"""Files and bytes that a volume takes at most, against volumes that nothing compresses."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sparse2dense.volumes.storage import METADATA_FILES, Stored, stored_size
from sparse2dense.volumes.volume import create_volume

STAMP = 1  # which Snakemake leaves in a folder


def on_disk(folder: Path) -> Stored:
    """What lies in a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return Stored(len(files), sum(file.stat().st_size for file in files))


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks", "shards"),
    [
        ((32, 64, 64), "uint8", (16, 32, 32), None),
        ((3, 17, 50, 44), "uint8", (16, 32, 32), None),
        ((3, 17, 50, 44), "uint8", (16, 32, 32), (16, 64, 64)),
        ((33, 70, 131), "uint64", (8, 16, 64), (16, 32, 128)),
        ((1, 1, 1), "uint64", (1, 1, 1), None),
        ((5, 40, 40), "float32", (8, 64, 64), None),
    ],
)
def test_noise_takes_what_is_reckoned(
    tmp_path: Path, shape: Sequence[int], dtype: str, chunks: Sequence[int], shards: Sequence[int] | None
) -> None:
    """As many files, and no more bytes; hardly fewer where chunks end with the volume."""
    axes = "czyx" if len(shape) == 4 else "zyx"
    volume = create_volume(
        tmp_path / "noise.zarr", shape, dtype, voxel_size=(8, 8, 8), axes=axes, chunks=chunks, shards=shards
    )
    noise = np.random.default_rng(0).bytes(int(np.prod(shape)) * volume.dtype.itemsize)
    volume[...] = np.frombuffer(noise, np.uint8).view(dtype).reshape(shape)
    found, reckoned = on_disk(tmp_path), stored_size(shape, volume.dtype.itemsize, chunks, shards)
    assert found.files == reckoned.files - STAMP
    assert found.bytes <= reckoned.bytes
    if all(side % step == 0 for side, step in zip(shape[-3:], chunks, strict=True)):
        assert found.bytes > 0.98 * (reckoned.bytes - 2**14)


def test_an_empty_volume_takes_next_to_nothing(tmp_path: Path) -> None:
    create_volume(tmp_path / "empty.zarr", (64, 640, 640), "uint64", voxel_size=(8, 8, 8), chunks=(64, 64, 64))
    found, reckoned = on_disk(tmp_path), stored_size((64, 640, 640), 8, (64, 64, 64))
    assert found.files == METADATA_FILES - STAMP
    assert found.bytes < 2**14
    assert reckoned.files == 100 + METADATA_FILES
    assert reckoned.bytes > 8 * 64 * 640 * 640


def test_costs_add_up() -> None:
    assert Stored(2, 30) * 3 + Stored(1, 4) == Stored(7, 94)
