"""What a run costs: jobs, files and bytes, against what stages write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse2dense.ops.unet import UNet
from sparse2dense.stages.annotating import annotate, mask_tissue
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.configuration import complete, load_schema
from sparse2dense.stages.costs import Cost, run_costs
from sparse2dense.stages.importing import import_volume
from sparse2dense.stages.net_kinds import describe_net
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.phantoms import write_phantom
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.segmenting import write_segmentation
from sparse2dense.stages.slicing import slice_sections
from sparse2dense.volumes.grid import chunk_shape, tiling
from sparse2dense.volumes.storage import Stored
from sparse2dense.volumes.tables import write_table
from sparse2dense.volumes.volume import create_volume
from tests.test_storage import on_disk

SCHEMA = load_schema(Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml")
SHAPE, SIZE = (21, 70, 90), (40, 8, 8)
NETS: dict[str, Any] = {
    "2d": {"features": 2, "growth": 1, "pooling": [[2, 2]], "kernels": [[3, 3], [3, 3]], "input_shape": [32, 32]},
    "2d_to_3d": {},
    "3d": {},
}
for settings in (NETS["2d_to_3d"], NETS["3d"]):
    settings |= {"features": 2, "growth": 1, "pooling": [[1, 2, 2]], "kernels": [[1, 3, 3], [1, 3, 3]]}
    settings |= {"input_shape": [8, 32, 32], "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
NETS["2d"]["offsets"] = [[-1, 0], [0, -1], [-3, 0]]


def config(raw: Path | None = None, painted: Path | None = None, **changes: Any) -> dict[str, Any]:
    """An annotated volume of files, or a generated one, a test volume whose blocks five jobs share, and a bare one."""
    annotation = {"zero": "unlabelled", "sections": [2, 11]}
    lab: dict[str, Any] = {"role": "annotated", "phantom": {"shape": list(SHAPE), "voxel_size": list(SIZE)}}
    if raw is not None and painted is not None:
        sources = {"raw": raw, "painted": painted}
        lab = {
            "role": "annotated",
            **{kind: {"path": str(path), "voxel_size": list(SIZE)} for kind, path in sources.items()},
        }
    else:
        annotation["draw"] = "sections"
    volumes = {
        "lab": {**lab, "annotation": annotation},
        "held_out": {"role": "test", "phantom": {"shape": [40, 130, 140], "seed": 2}, "jobs": 5},
        "bare": {"role": "unlabelled", "phantom": {"shape": [20, 30, 40], "seed": 3}},
    }
    settings = {"nets": NETS, "segment": {"block": [16, 32, 64], "context": [4, 8, 8]}, "predict": {"block": [8] * 3}}
    return complete({"volumes": volumes, **settings, **changes}, SCHEMA)


def costs(full: dict[str, Any], subject: str) -> dict[str, Cost]:
    """What is reckoned of a volume or net, by stage."""
    return {cost.stage: cost for cost in run_costs(input_problems(full)[1], full) if cost.subject == subject}


def jobs(full: dict[str, Any], subject: str) -> dict[str, int]:
    return {stage: cost.jobs for stage, cost in costs(full, subject).items()}


def test_jobs_follow_from_roles_and_tracks() -> None:
    """An annotated volume is segmented by every track, and for pseudo ground truth; five jobs need one more."""
    full = config(evaluate={"tracks": ["pseudo", "bootstrapped"]}, nets=NETS | {"2d": NETS["2d"] | {"members": 3}})
    assert jobs(full, "lab") == {
        "make_phantom": 1, "import_raw": 1, "import_labels": 1, "mask_tissue": 1, "annotate": 1, "slice_sections": 1,
        "predict_2d": 1, "predict_2d_to_3d": 1, "predict_3d": 1, "make_fragments": 2, "make_graph": 2,
        "make_merge_tree": 2, "count_links": 2, "count_overlaps": 2, "write_segmentation": 3, "make_pseudo_truth": 1,
        "measure_regions": 1,
    }  # fmt: skip
    assert jobs(full, "held_out") == {
        "make_phantom": 1, "import_raw": 6, "import_labels": 1, "mask_tissue": 1, "predict_2d": 6,
        "predict_2d_to_3d": 6, "predict_3d": 6, "make_fragments": 12, "make_graph": 12, "make_merge_tree": 2,
        "count_links": 12, "count_overlaps": 12, "write_segmentation": 12, "rank_errors": 12,
    }  # fmt: skip
    assert jobs(full, "2d") == {"train_2d": 3}
    assert jobs(full, "3d") == {"train_3d_bootstrapped": 1}
    assert costs(full, "3d")["train_3d_bootstrapped"].work == full["nets"]["3d"]["iterations"]


def test_pseudo_truth_needs_its_track_even_where_it_is_not_scored() -> None:
    """A second round learns from the first one's segmentation of the bare volume; without rounds there is none."""
    full = config(evaluate={"tracks": ["bootstrapped"]}, rounds=2)
    bare = jobs(full, "bare")
    assert (bare["predict_2d"], bare["predict_3d"], bare["make_fragments"]) == (1, 1, 2)
    assert (bare["write_segmentation"], bare["make_pseudo_truth"]) == (4, 2)
    assert "predict_2d" not in jobs(full, "held_out")
    assert jobs(full, "lab")["count_overlaps"] == 3, "the threshold of the pseudo track is chosen by the annotation"
    given = config(evaluate={"tracks": ["bootstrapped"]}, rounds=2, pseudo_truth={"threshold": 0.5})
    assert jobs(given, "lab")["count_overlaps"] == 3, "it is chosen to show the bare volume"
    del given["volumes"]["bare"]
    assert jobs(given, "lab")["count_overlaps"] == 2
    alone = config(evaluate={"tracks": ["pseudo"]}, segment={"method": "mutex"})
    assert not {"predict_3d", "make_pseudo_truth", "make_merge_tree"} & set(jobs(alone, "bare"))
    assert jobs(alone, "3d") == {}


def test_reused_nets_and_limits_of_time() -> None:
    full = config()
    full["nets"]["2d"]["checkpoint"]["path"] = "other.pt"
    full["nets"]["2d_to_3d"] |= {"minutes": 2.5, "members": 2}
    assert jobs(full, "2d") == {}
    assert costs(full, "2d_to_3d")["train_2d_to_3d"].most_seconds == 300


def test_auto_context_predicts_descriptors_to_learn_from() -> None:
    """The bare volume teaches the second net, so the first one predicts it, though no track segments it."""
    nets = NETS | {"3d": NETS["3d"] | {"kind": "3d_aclsd"}}
    full = config(nets=nets, evaluate={"tracks": ["pseudo", "bootstrapped"]})
    assert jobs(full, "bare")["predict_3d_lsd"] == 1
    assert "predict_3d" not in jobs(full, "bare")
    assert jobs(full, "3d_lsd") == jobs(full, "3d") == {"train_3d_bootstrapped": 1}


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An image or labels that can't be compressed."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(0).bytes(size), np.uint8).view(dtype).reshape(shape)


def fits(reckoned: Stored | None, *stores: Path) -> bool:
    """Whether stores have the files that are reckoned, but for time stamps, and no more bytes."""
    found = sum(map(on_disk, stores), Stored())
    return reckoned is not None and found.files == reckoned.files - len(stores) and found.bytes <= reckoned.bytes


@pytest.mark.parametrize("few", [1000, 3])
def test_stages_write_what_is_reckoned(tmp_path: Path, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of volumes that can't be compressed: as many files, in shards and without, and no more bytes."""
    monkeypatch.setattr("sparse2dense.volumes.grid.MOST_FILES", few)
    ids = noise(SHAPE, "uint32")
    np.save(tmp_path / "raw.npy", noise(SHAPE, "uint16"))
    np.save(tmp_path / "painted.npy", ids)
    full = config(tmp_path / "raw.npy", tmp_path / "painted.npy")
    stored = {stage: cost.stored for stage, cost in costs(full, "lab").items()}
    names = ("raw", "painted", "tissue", "labels", "mask", "scope", "segmentation")
    place = {name: tmp_path / f"{name}.zarr" for name in names}
    import_volume(tmp_path / "raw.npy", place["raw"], voxel_size=SIZE)
    import_volume(tmp_path / "painted.npy", place["painted"], voxel_size=SIZE, labels=True, reference=place["raw"])
    assert fits(stored["import_raw"], place["raw"])
    assert fits(stored["import_labels"], place["painted"])
    mask_tissue(place["raw"], place["tissue"], radius=1, iterations=1)
    assert fits(stored["mask_tissue"], place["tissue"])
    files = [tmp_path / "annotation.csv", tmp_path / "annotation.json"]
    annotate(
        place["painted"], place["labels"], place["mask"], place["scope"], *files, draw="painted", zero="background"
    )
    assert fits(stored["annotate"], place["labels"], place["mask"], place["scope"])
    chosen: dict[str, Any] = {"draw": "painted", "zero": "background", "sections": [2, 11]}
    annotate(place["painted"], place["labels"], place["mask"], place["scope"], *files, **chosen)
    slice_sections(place["raw"], place["labels"], place["mask"], place["scope"], tmp_path / "sections")
    sections, reckoned = on_disk(tmp_path / "sections"), stored["slice_sections"]
    assert reckoned is not None
    assert 2 * 70 * 90 * (3 * 2 + 4) < sections.bytes < reckoned.bytes
    assert sections.files <= reckoned.files

    chunks = tiling(SHAPE, (16, 32, 64), chunk_shape(SHAPE, SIZE))[1]
    fragments = create_volume(tmp_path / "f.zarr", SHAPE, "uint64", voxel_size=SIZE, chunks=chunks)
    fragments[...] = ids
    known = np.unique(ids[ids > 0]).astype(np.uint64)
    write_table(tmp_path / "lut.parquet", {"fragment": known, "segment": known * np.uint64(2**32 - 5)}, {})
    write_segmentation(tmp_path / "f.zarr", tmp_path / "lut.parquet", place["segmentation"], block_shape=(16, 32, 64))
    reckoned = stored["write_segmentation"]
    assert reckoned is not None
    times = jobs(full, "lab")["write_segmentation"]
    one = Stored(reckoned.files // times, reckoned.bytes // times)
    assert one * times == reckoned
    assert fits(one, place["segmentation"])


def test_predictions_take_what_is_reckoned(tmp_path: Path) -> None:
    """Every head of a net has a volume of its own."""
    np.save(tmp_path / "raw.npy", noise(SHAPE, "uint8"))
    np.save(tmp_path / "painted.npy", noise(SHAPE, "uint32"))
    full = config(tmp_path / "raw.npy", tmp_path / "painted.npy")
    import_volume(tmp_path / "raw.npy", tmp_path / "raw.zarr", voxel_size=SIZE)
    net = describe_net(full["nets"]["2d"], voxel_size=SIZE)
    save_net(tmp_path / "net.pt", UNet(net.architecture), net, {})
    outputs = {head: tmp_path / f"{head}.zarr" for head in net.architecture.heads}
    predict({"raw": tmp_path / "raw.zarr"}, tmp_path / "net.pt", outputs, block_shape=full["predict"]["block"])
    assert fits(costs(full, "lab")["predict_2d"].stored, *outputs.values())


def test_generated_volumes_take_no_more_than_reckoned(tmp_path: Path) -> None:
    full = config()
    settings = full["volumes"]["bare"]["phantom"]
    (tmp_path / "phantom").mkdir()
    write_phantom(tmp_path / "phantom/raw.tif", tmp_path / "phantom/truth.tif", settings=settings)
    found, reckoned = on_disk(tmp_path / "phantom"), costs(full, "bare")["make_phantom"].stored
    assert reckoned is not None
    assert found.files == reckoned.files == 2
    assert found.bytes <= reckoned.bytes
