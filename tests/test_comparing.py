"""Fragments and truth side by side: the same in any cut, and every chunk read once."""

from pathlib import Path

import numpy as np
import pytest

from sparse2dense.stages.comparing import Comparison
from sparse2dense.volumes.volume import Volume
from tests.test_evaluating import save
from tests.voronoi import voronoi


def test_blocks_that_look_around_themselves_share_chunks(tmp_path: Path) -> None:
    labels = np.zeros((12, 32, 64), np.uint64)
    for name in ("fragments", "truth"):
        save(tmp_path / f"{name}.zarr", labels, chunks=(4, 8, 16))
    compared = Comparison(tmp_path / "fragments.zarr", tmp_path / "truth.zarr", (1, 1, 1), 2)
    tiles = compared.tiles((4, 9, 32))
    ends = [{tile.write[axis].stop for tile in tiles} for axis in range(3)]
    assert ends == [{12}, {9, 18, 27, 32}, {40, 64}]
    assert [box[0].stop for box, _ in compared.walk(tiles[0].write, (4, 9, 32))] == [6, 10, 12]


@pytest.mark.parametrize(("reach", "border"), [(3, (1, 1, 1)), (12, (2, 0, 1)), (0, (0, 1, 1))])
def test_a_walk_finds_what_the_whole_holds_and_reads_every_chunk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reach: float, border: tuple[int, int, int]
) -> None:
    rng, offset = np.random.default_rng(2), (-41, 8, 16)
    fragments, truth = voronoi((23, 20, 27), 30, ids=[0] * 5 + [*range(2**63, 2**63 + 25)]), voronoi((26, 18, 18), 5)
    save(tmp_path / "fragments.zarr", fragments, chunks=(4, 8, 16))
    save(tmp_path / "truth.zarr", truth, offset, chunks=(5, 8, 16))
    save(tmp_path / "mask.zarr", (rng.random(truth.shape) < 0.999).astype(np.uint8), offset, chunks=(5, 8, 16))
    names = [tmp_path / f"{name}.zarr" for name in ("fragments", "truth", "mask")]
    compared = Comparison(names[0], names[1], border, reach, names[2])
    monkeypatch.setattr("sparse2dense.stages.comparing.COLUMN", 3)
    whole = compared.read(tuple(slice(0, side) for side in compared.shape))
    assert len(whole.outside) > 100
    read: dict[str, list[int]] = {}

    def noted(volume: Volume, place: tuple[slice, ...]) -> np.ndarray:
        depth = volume.array.chunks[0]
        read.setdefault(volume.path.name, []).extend(range(place[0].start // depth, -(-place[0].stop // depth)))
        return np.asarray(volume.array[place])

    monkeypatch.setattr(Volume, "__getitem__", noted)
    for block_shape in ((4, 8, 16), (2, 5, 7), (3, 100, 100)):
        seen = np.zeros(compared.shape, np.int64)
        for tile in compared.tiles(block_shape):
            read.clear()
            for box, found in compared.walk(tile.write, block_shape):
                seen[box] += 1
                for name in ("truth", "fragments", "interior", "filled"):
                    assert np.array_equal(getattr(found, name), getattr(whole, name)[box])
            assert len(read) == 3
            assert all(len(set(chunks)) == len(chunks) for chunks in read.values())
        assert np.all(seen == 1)
