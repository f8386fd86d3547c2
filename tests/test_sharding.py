"""Large volumes are stored in shards: no two blocks share one, and neither results nor resuming know of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from sparse2dense.ops.architecture import Architecture
from sparse2dense.ops.unet import UNet
from sparse2dense.stages import annotating, importing, locating, predicting, pseudo_truth, segmenting
from sparse2dense.stages.annotating import annotate, mask_tissue
from sparse2dense.stages.comparing import Comparison
from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.stages.importing import import_volume
from sparse2dense.stages.locating import write_error_volume
from sparse2dense.stages.net_kinds import NetDescription
from sparse2dense.stages.nets import save_net
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.pseudo_truth import make_pseudo_truth
from sparse2dense.stages.segmenting import make_fragments, write_segmentation
from sparse2dense.volumes import grid
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, Box, blocks
from sparse2dense.volumes.tables import write_table
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import OFFSETS, noisy_affinities, voronoi

SHAPE, VOXEL_SIZE = (9, 70, 75), (40.5, 8.0, 8.0)
BLOCK = (4, 32, 48)
PLACE: dict[str, Any] = {"voxel_size": VOXEL_SIZE, "offset": (81.0, 0.0, 4.5), "chunks": (2, 16, 16)}
LARGE = 2**63
Written = list[tuple[Path, Sequence[Block]]]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 2 x 16 x 16 voxels, and work in several blocks everywhere."""
    monkeypatch.setattr(grid, "CHUNK_SIDE", 8)
    monkeypatch.setattr(annotating, "VOXELS_PER_BLOCK", 2 * 64 * 64)
    monkeypatch.setattr(importing, "SLAB_BYTES", 2 * 32 * 80)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """What `run_blockwise` was asked to write, and in which blocks."""
    calls: Written = []

    def spy(
        outputs: Path | Sequence[Path], key: Any, create: Any, work: Any, tiles: Sequence[Block], **more: Any
    ) -> int:
        calls.extend((path, tiles) for path in ([outputs] if isinstance(outputs, Path) else outputs))
        return run_blockwise(outputs, key, create, work, tiles, **more)

    for stage in (annotating, importing, locating, predicting, pseudo_truth, segmenting):
        monkeypatch.setattr(stage, "run_blockwise", spy)
    return calls


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whatever the stages read, small and of odd sides, and stored in plain chunks."""
    folder = tmp_path_factory.mktemp("given")
    labels = voronoi(SHAPE, 12, ids=[0, *range(LARGE, LARGE + 11)])
    affinities = np.round(noisy_affinities(labels, OFFSETS, noise=0.2) * 255).astype(np.uint8)
    raw = np.random.default_rng(0).integers(1, 256, SHAPE, np.uint8)
    tifffile.imwrite(folder / "raw.tif", raw)
    create_volume(folder / "raw.zarr", SHAPE, "uint8", **PLACE)[...] = raw
    create_volume(folder / "labels.zarr", SHAPE, "uint64", labels=True, **PLACE)[...] = labels
    create_volume(
        folder / "affinities.zarr", affinities.shape, "uint8", axes="czyx", attributes={"offsets": OFFSETS}, **PLACE
    )[...] = affinities
    ids = np.unique(labels)[1:]
    write_table(folder / "lut.parquet", {"fragment": ids, "segment": ids // 3}, {"threshold": "0.5"})
    count_overlaps(folder / "labels.zarr", folder / "labels.zarr", folder / "overlaps.parquet")
    torch.manual_seed(0)
    net = Architecture(1, {"affinities": 3}, 2, 2, ((1, 2, 2),), ((1, 3, 3),) * 2)
    description = NetDescription("3d_affs", net, 0, tuple(map(tuple, OFFSETS[:3])), (), (8.0,) * 3, VOXEL_SIZE)
    save_net(folder / "checkpoint.pt", UNet(net), description, {})
    return folder


def compute(stage: str, given: Path, made: Path) -> list[Path]:
    """Let a stage write its volumes, in several blocks."""
    blockwise: dict[str, Any] = {"block_shape": BLOCK}
    labels, lut = given / "labels.zarr", given / "lut.parquet"
    first, second = made / "first.zarr", made / "second.zarr"
    match stage:
        case "import":
            import_volume(given / "raw.tif", first, voxel_size=VOXEL_SIZE)
        case "annotate":
            scope = made / "scope.zarr"
            annotate(labels, first, second, scope, made / "a.csv", made / "a.json", draw="dense", zero="background")
        case "tissue":
            mask_tissue(given / "raw.zarr", first, radius=1, iterations=1)
        case "predict":
            predict({"raw": given / "raw.zarr"}, given / "checkpoint.pt", {"affinities": first}, **blockwise)
        case "fragments":
            workers = 2 if made.name == "sharded" else 1
            make_fragments(given / "affinities.zarr", first, context=(1, 4, 4), workers=workers, **blockwise)
        case "segmentation":
            write_segmentation(labels, lut, first, **blockwise)
        case "pseudo truth":
            make_pseudo_truth(labels, first, second, made / "counts.csv", fill_holes=True, **blockwise)
        case "errors":
            compared = Comparison(labels, labels, (2, 2, 2), 32)
            write_error_volume(compared, given / "overlaps.parquet", lut, first, **blockwise)
    return [path for path in (first, second) if path.exists()]


@pytest.mark.parametrize(
    "stage", ["import", "annotate", "tissue", "predict", "fragments", "segmentation", "pseudo truth", "errors"]
)
def test_every_shard_has_one_writer_and_voxels_stay(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Written, stage: str
) -> None:
    for name, most in (("plain", 10**6), ("sharded", 0)):
        (tmp_path / name).mkdir()
        written.clear()
        monkeypatch.setattr(grid, "MOST_FILES", most)
        made = compute(stage, given, tmp_path / name)
    for path in made:
        volume, plain = open_volume(path), open_volume(tmp_path / "plain" / path.name)
        assert volume.array.shards is not None
        assert plain.array.shards is None
        assert volume.array.chunks == plain.array.chunks
        assert np.array_equal(volume[...], plain[...]) and volume[...].any()
        assert len(files(path)) < len(files(plain.path))
        shards = volume.array.shards[-3:]
        tiles = next(tiles for output, tiles in written if output == path)
        held = [held_by(block.write, shards) for block in tiles]
        assert len(tiles) > 3
        assert sum(map(len, held)) == len(set().union(*held)) == len(tiles)


def held_by(box: Box, shards: Sequence[int]) -> set[tuple[int, ...]]:
    """The shards that hold voxels of a box."""
    sides = [range(side.start // shard, -(-side.stop // shard)) for side, shard in zip(box, shards, strict=True)]
    return {(z, y, x) for z in sides[0] for y in sides[1] for x in sides[2]}


def files(store: Path) -> dict[str, bytes]:
    """Content of every file of a store by its relative path."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def creator(shape: Sequence[int]) -> Callable[[Sequence[Path]], None]:
    """Make the empty store of a sharded volume of labels."""

    def create(paths: Sequence[Path]) -> None:
        sides: dict[str, Any] = {"chunks": (2, 16, 16), "shards": BLOCK}
        create_volume(paths[0], shape, "uint64", labels=True, voxel_size=VOXEL_SIZE, **sides)

    return create


@pytest.mark.parametrize("kind", ["half of a shard", "a shard that isn't marked"])
def test_a_block_killed_while_it_writes_its_shard_is_written_again_wholly(tmp_path: Path, kind: str) -> None:
    labels = np.random.default_rng(1).integers(0, LARGE + 5, SHAPE, np.uint64)
    labels[:4, :32, :48] = 0  # the first block leaves no shard
    tiles, create = blocks(SHAPE, BLOCK), creator(SHAPE)

    def work(paths: Sequence[Path], block: Block) -> None:
        open_volume(paths[0], "r+")[block.write] = labels[block.write]

    def killed(paths: Sequence[Path], block: Block) -> None:
        box = block.write
        if block.index != 4:
            return work(paths, block)
        if kind == "half of a shard":
            box = (slice(box[0].start, box[0].stop - 2), *box[1:])
        # other voxels than those to come, as if the kill had left them from somewhere else
        open_volume(paths[0], "r+")[box] = ~labels[box]
        raise KeyboardInterrupt

    whole, again = tmp_path / "whole/a.zarr", tmp_path / "again/a.zarr"
    run_blockwise(whole, {}, create, work, tiles, label="whole")
    with pytest.raises(KeyboardInterrupt):
        run_blockwise(again, {}, create, killed, tiles, label="again")
    assert run_blockwise(again, {}, create, work, tiles, label="again") == len(tiles) - 4
    assert np.array_equal(open_volume(again)[...], labels)
    assert files(again) == files(whole)
    assert len([name for name in files(whole) if "/c/" in name]) == len(tiles) - 1


def test_a_shard_can_be_read_by_any_reader_of_the_format(tmp_path: Path) -> None:
    """What stands in the metadata is the codec of the specification alone, chunks and their compression inside it."""
    creator(SHAPE)([tmp_path / "a.zarr"])
    group, array = (json.loads((tmp_path / "a.zarr" / file).read_text()) for file in ("zarr.json", "0/zarr.json"))
    assert group["attributes"]["ome"]["version"] == "0.5"
    assert array["chunk_grid"]["configuration"]["chunk_shape"] == list(BLOCK)
    (codec,) = array["codecs"]
    assert codec["name"] == "sharding_indexed"
    inside = codec["configuration"]
    assert inside["chunk_shape"] == [2, 16, 16]
    assert [inner["name"] for inner in inside["codecs"]] == ["bytes", "zstd"]
    assert [inner["name"] for inner in inside["index_codecs"]] == ["bytes", "crc32c"]
