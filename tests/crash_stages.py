"""Every stage that works in blocks, as it is called on a small volume with many blocks, and that volume."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from sparse2dense.stages.comparing import Comparison
from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.stages.segmenting import make_fragments
from sparse2dense.volumes.tables import write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.test_predicting import checkpoint
from tests.voronoi import noisy_affinities, voronoi

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-3, 0, 0], [0, -4, 0], [0, 0, -4]]
SHAPE, VOXEL_SIZE, OFFSET = (22, 37, 45), (10.5, 8.0, 8.0), (-21.0, 16.0, 1000.0)
IMAGED = (8.0, 8.0, 8.0)
"""Voxels of the image, as the net saw them in training."""
BLOCKS: dict[str, Any] = {"block_shape": (8, 12, 12), "workers": 2}
FIRST = 2**63 - 20
"""Ids on both sides of the largest that a signed integer holds."""

GRID, IMPORTING, ANNOTATING = (
    f"sparse2dense.{name}" for name in ("volumes.grid", "stages.importing", "stages.annotating")
)
SMALL_CHUNKS: dict[tuple[str, str], Any] = {(GRID, "CHUNK_SIDE"): 8}
SHORT_COLUMNS: dict[tuple[str, str], Any] = {("sparse2dense.stages.comparing", "COLUMN"): 1}

Arguments = Callable[[Path, Path], dict[str, Any]]
"""Of the folder of inputs and that of outputs."""


@dataclass(frozen=True)
class Stage:
    """A stage as it is called, and what it writes.

    Parameters
    ----------
    module, function
        Where it is.
    outputs
        Names of all that it declares, by the name of the parameter; or in a form of its own, from `arguments`.
    arguments
        Other arguments.
    constants
        Of modules, by module and name, that make blocks small, or have them computed in workers.
    """

    module: str
    function: str
    outputs: dict[str, str]
    arguments: Arguments
    constants: dict[tuple[str, str], Any] = field(default_factory=dict)

    def description(self, inputs: Path, folder: Path) -> bytes:
        """What `blockwise_job.py` reads."""
        arguments = {name: folder / file for name, file in self.outputs.items()} | self.arguments(inputs, folder)
        return pickle.dumps((f"sparse2dense.stages.{self.module}", self.function, arguments, self.constants))


def compared(inputs: Path) -> dict[str, Any]:
    """Fragments beside truth."""
    return {"fragments": inputs / "fragments.zarr", "truth": inputs / "truth.zarr", "border": (0, 1, 1), "reach": 3}


def located(inputs: Path, _: Path) -> dict[str, Any]:
    """The same with what was counted and chosen."""
    tables = {"table": inputs / "overlaps.parquet", "lut": inputs / "lut.parquet"}
    return {"compared": Comparison(**compared(inputs)), **tables, **BLOCKS}


STAGES = {
    "download": Stage(
        "downloading", "download", {"destination": "files"},
        lambda inputs, _: {"urls": [file.as_uri() for file in sorted((inputs / "files").iterdir())]},
    ),
    "import image": Stage(
        "importing", "import_volume", {"output": "raw.zarr"},
        lambda inputs, _: {
            "source": inputs / "raw.tif", "voxel_size": VOXEL_SIZE, "offset": OFFSET, "workers": 2,
            "crop": [[1, 21], [0, 37], [4, 45]],
        },
        {**SMALL_CHUNKS, (IMPORTING, "SLAB_BYTES"): 1},
    ),
    "import labels": Stage(
        "importing", "import_volume", {"output": "truth.zarr"},
        lambda inputs, _: {
            "source": inputs / "truth.h5", "dataset": "ids", "mapping": "objects", "labels": True,
            "voxel_size": IMAGED, "offset": OFFSET, "reference": inputs / "raw.zarr", "workers": 2,
        },
        {**SMALL_CHUNKS, (IMPORTING, "SLAB_BYTES"): 1},
    ),
    "tissue mask": Stage(
        "annotating", "mask_tissue", {"output": "tissue.zarr"},
        lambda inputs, _: {"raw": inputs / "raw.zarr", "radius": 2, "iterations": 1, "workers": 2},
        {**SMALL_CHUNKS, (ANNOTATING, "VOXELS_PER_BLOCK"): 1},
    ),
    "annotation": Stage(
        "annotating", "annotate",
        {
            "labels": "labels.zarr", "mask": "mask.zarr", "scope": "scope.zarr",
            "statistics_csv": "objects.csv", "totals_json": "totals.json",
        },
        lambda inputs, _: {
            "source": inputs / "truth.zarr", "draw": "fraction", "parts": 2, "part": 1, "zero": "unlabelled",
            "minimum_size": 20, "workers": 2,
        },
        {**SMALL_CHUNKS, (ANNOTATING, "VOXELS_PER_BLOCK"): 1},
    ),
    "prediction": Stage(
        "predicting", "predict", {},
        lambda inputs, folder: {
            "inputs": {"raw": inputs / "raw.zarr"}, "checkpoint": inputs / "2d_mtlsd/checkpoint.pt",
            "outputs": {head: folder / f"stacked_{head}.zarr" for head in ("affinities", "descriptors")},
            "block_shape": (8, 8, 8), "threads": 2,
        },
        SMALL_CHUNKS,
    ),
    "fragments by watershed": Stage(
        "segmenting", "make_fragments", {"output": "fragments.zarr"},
        lambda inputs, _: {
            "affinities": inputs / "affinities.zarr", "mask": inputs / "mask.zarr", "seed_distance": 4,
            "minimum_affinity": 0.2, "debris": 4, "fill_holes": True, "context": (2, 4, 4), **BLOCKS,
        },
    ),
    "fragments by mutex watershed": Stage(
        "segmenting", "make_fragments", {"output": "fragments.zarr"},
        lambda inputs, _: {
            "affinities": inputs / "affinities.zarr", "debris": 4, "fill_holes": True, "context": (2, 4, 4), **BLOCKS,
            "mutex": {
                "near_bias": -0.4, "far_bias": -0.7, "far_stride": [1, 2, 2], "randomized_strides": True,
                "noise": 0.01, "seed": 3,
            },
        },
    ),
    "region graph": Stage(
        "agglomerating", "make_graph", {"output": "graph"},
        lambda inputs, _: {
            "affinities": inputs / "affinities.zarr", "fragments": inputs / "fragments.zarr", **BLOCKS,
            "histogram": True,
        },
        {("sparse2dense.volumes.blockwise", "PATIENCE"): 1e-9},
    ),
    "segmentation": Stage(
        "segmenting", "write_segmentation", {"output": "0.5.zarr"},
        lambda inputs, _: {"fragments": inputs / "fragments.zarr", "lut": inputs / "lut.parquet", **BLOCKS},
    ),
    "overlaps": Stage(
        "evaluating", "count_overlaps", {"output": "overlaps.parquet"}, lambda inputs, _: compared(inputs) | BLOCKS,
        SHORT_COLUMNS,
    ),
    "worst errors": Stage("locating", "rank_errors", {"output": "errors.csv"}, located, SHORT_COLUMNS),
    "error volume": Stage("locating", "write_error_volume", {"output": "errors.zarr"}, located),
    "far links": Stage(
        "disagreeing", "count_links", {"output": "links.parquet"},
        lambda inputs, _: {
            "affinities": inputs / "affinities.zarr", "fragments": inputs / "fragments.zarr", **BLOCKS,
        },
    ),
    "disagreement": Stage(
        "disagreeing", "measure_disagreement", {},
        lambda inputs, folder: {
            "fragments": inputs / "fragments.zarr", "lut": inputs / "lut.parquet",
            "predictions": {"affinities": inputs / "affinities.zarr"},
            "outputs": (folder / "objects.parquet", folder / "sections.csv"), **BLOCKS,
        },
    ),
    "regions to paint": Stage(
        "suggesting", "measure_regions", {"output": "regions.parquet"},
        lambda inputs, _: {
            "raw": inputs / "photo.zarr", "affinities": inputs / "affinities.zarr",
            "fragments": inputs / "fragments.zarr", "lut": inputs / "lut.parquet", "mask": inputs / "mask.zarr",
            "tissue": inputs / "mask.zarr", "region": (9, 10), **BLOCKS,
        },
    ),
    "pseudo ground truth": Stage(
        "pseudo_truth", "make_pseudo_truth",
        {"output": "pseudo_truth.zarr", "output_mask": "pseudo_truth_mask.zarr", "output_counts": "pseudo_truth.csv"},
        lambda inputs, _: {
            "segmentation": inputs / "segmentation.zarr", "dust": 10, "outlier_deviations": 2, "minimum_sections": 2,
            "fill_holes": True, **BLOCKS,
        },
    ),
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    """What stages read, from a tessellation with holes and gaps."""
    rng = np.random.default_rng(0)
    place: dict[str, Any] = {"voxel_size": VOXEL_SIZE, "offset": OFFSET}
    (folder / "files").mkdir()
    for number in range(600):  # so many that a kill comes before the last of these quick blocks
        (folder / f"files/{number:03}.bin").write_bytes(rng.bytes(2**15))

    labels = voronoi(SHAPE, 40, ids=range(FIRST, FIRST + 40))
    labels[rng.random(SHAPE) < 0.05] = 0
    image = (128 * rng.random(SHAPE)).astype(np.uint8)
    image[:, :7, :9] = 0
    tifffile.imwrite(folder / "raw.tif", image, photometric="minisblack")
    create_volume(folder / "raw.zarr", SHAPE, "uint8", **place | {"voxel_size": IMAGED})[...] = image
    create_volume(folder / "photo.zarr", SHAPE, "uint8", **place)[...] = image
    create_volume(folder / "mask.zarr", SHAPE, "uint8", **place)[...] = image < 100
    chunks = (8, 12, 12)
    segments = labels.copy()
    segments[3:8, 20, 30], segments[12, 9:13, 5:9] = 1, 2  # dust, and an object in one section
    for name, values in (("truth", labels), ("segmentation", segments)):
        create_volume(folder / f"{name}.zarr", SHAPE, "uint64", labels=True, chunks=chunks, **place)[...] = values
    with h5py.File(folder / "truth.h5", "w") as file:
        names = np.unique(labels)
        file["ids"], file["objects"] = labels, np.stack([names, names // np.uint64(2)], axis=1)

    values = np.round(noisy_affinities(labels, OFFSETS, noise=0.3) * 255).astype(np.uint8)
    volume = create_volume(
        folder / "affinities.zarr", values.shape, "uint8", axes="czyx", attributes={"offsets": OFFSETS}, **place
    )
    volume[...] = values
    make_fragments(volume.path, folder / "fragments.zarr", seed_distance=4, block_shape=(8, 12, 12), context=(2, 4, 4))
    fragments = np.unique(open_volume(folder / "fragments.zarr")[...])[1:]
    # parts of many objects to a segment, and many segments to an object
    columns = {"fragment": fragments, "segment": fragments % np.uint64(12) + np.uint64(1)}
    write_table(folder / "lut.parquet", columns, {"threshold": "0.5"})
    count_overlaps(output=folder / "overlaps.parquet", **compared(folder), block_shape=BLOCKS["block_shape"])
    checkpoint(folder, "2d_mtlsd")
