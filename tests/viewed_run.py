"""A small made-up run as its stages would leave it, for the tests of viewers: odd sizes, an offset, flat voxels."""

from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from sparse2dense.stages.locating import ERROR_COLUMNS
from sparse2dense.volumes.volume import create_volume

SHAPE, VOXEL_SIZE, OFFSET = (5, 19, 26), (40.0, 8.0, 8.0), (80.0, 16.0, 8.0)
OFFSETS = [[0, 0, -1], [0, -3, 0], [0, -1, 0], [-1, 0, 0]]
LARGE = 2**63 - 5
LABELS = (
    "labels",
    "mask",
    "truth",
    "bootstrapped/errors/0.58",
    "bootstrapped/fragments",
    "bootstrapped/segmentation/0.58",
    "bootstrapped/segmentation/best",
    "bootstrapped/segmentation/chosen",
    "pseudo/fragments",
    "pseudo/segmentation/best",
)
CHANNELS = {"bootstrapped/affinities": OFFSETS, "pseudo/stacked_affinities": OFFSETS[:2]}
COLOURED = "bootstrapped affinities"
NAMES = {name.replace("/", " ") for name in ("raw", *LABELS, *CHANNELS)}

STATE_NAMES = (NAMES - {COLOURED}) | {f"{COLOURED} {colour}" for colour in ("red", "green", "blue")}
"""Names of Neuroglancer's layers, of volumes."""


def viewed_run(folder: Path) -> Path:
    """Write the volumes `crop`, with all that is shown of one, and `rest`, an image; return the folder of the run."""
    run = folder / "run"
    values = np.random.default_rng(1).integers(1, 255, SHAPE).astype(np.uint8)
    write(run / "crop/raw.zarr", values)
    ids = np.zeros(SHAPE, np.uint64)
    ids[:, :9], ids[:, 9:] = 3, LARGE
    for name in LABELS:
        write(run / f"crop/{name}.zarr", ids if name != "mask" else (ids == 3).astype(np.uint8), sharded=True)
    for name, offsets in CHANNELS.items():
        levels = 50 * np.arange(1, len(offsets) + 1).astype(np.uint8)[:, None, None, None]
        write(run / f"crop/{name}.zarr", np.broadcast_to(levels, (len(offsets), *SHAPE)), offsets=offsets, sharded=True)
    write(run / "rest/raw.zarr", values.astype(np.uint16) * 16)
    zarr.create_group(run / "crop/sections/3.zarr")  # a painted section: no volume
    (run / "crop/pseudo/affinities.partial.zarr.parts").mkdir()
    row = dict.fromkeys(ERROR_COLUMNS, 0) | {
        "convention": "interior",
        "kind": "merge",
        "threshold": "0.58",
        "label": LARGE,
        "bits": 0.25,
    }
    places = {"begin_z_nm": 120, "begin_y_nm": 24, "begin_x_nm": 16, "end_z_nm": 200, "end_y_nm": 40, "end_x_nm": 48}
    pd.DataFrame([row | places | {"convention": "all"}, *[row | places] * 12], columns=list(ERROR_COLUMNS)).to_csv(
        run / "crop/pseudo/errors.csv", index=False
    )
    return run


def write(path: Path, values: np.ndarray, offsets: list[list[int]] | None = None, sharded: bool = False) -> None:
    """Write a volume in the place of all others."""
    volume = create_volume(
        path,
        values.shape,
        values.dtype,
        voxel_size=VOXEL_SIZE,
        offset=OFFSET,
        axes="czyx" if offsets else "zyx",
        chunks=(4, 8, 16),
        shards=(8, 16, 32) if sharded else None,
        labels=values.dtype == np.uint64,
        attributes={"offsets": offsets} if offsets else None,
    )
    volume[...] = values
