"""Fragments by mutex watershed: connected, filtered and cut into blocks as those by seeded watershed are."""

from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pytest
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.mutex_fragments import mutex_fragments
from sparse2dense.ops.scores import overlaps, score
from sparse2dense.stages.segmenting import make_fragments
from sparse2dense.volumes.volume import create_volume, open_volume
from tests.voronoi import noisy_affinities, voronoi

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -5, 0], [0, 0, -5]]
SHAPE = (9, 31, 37)
MUTEX: dict[str, Any] = {
    "near_bias": -0.4, "far_bias": -0.7, "far_stride": [1, 2, 2], "randomized_strides": True, "noise": 0.01, "seed": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def affinities() -> NDArray[np.uint8]:
    return np.round(noisy_affinities(voronoi(SHAPE, 8), OFFSETS, noise=0.3) * 255).astype(np.uint8)


def connected(fragments: NDArray[np.uint64]) -> bool:
    parts = cc3d.connected_components(fragments, connectivity=6)
    return len(np.unique(parts)) == len(np.unique(fragments))


def test_fragments_are_connected_numbered_and_do_not_cross_objects(affinities: NDArray[np.uint8]) -> None:
    found = mutex_fragments(affinities, offsets=OFFSETS, debris=5)
    ids, first, counts = np.unique(found[found > 0], return_index=True, return_counts=True)
    assert ids.tolist() == list(range(1, len(ids) + 1))
    assert (np.diff(first) > 0).all()
    assert counts.min() >= 5
    assert connected(found)
    assert score(overlaps(voronoi(SHAPE, 8), found))["voi_merge"] < 0.3


def test_sections_alone_share_no_fragment(affinities: NDArray[np.uint8]) -> None:
    found = mutex_fragments(affinities, offsets=OFFSETS, per_section=True)
    owners = [set(np.unique(section)) - {0} for section in found]
    assert sum(map(len, owners)) == len(set.union(*owners)) > len(found)
    with pytest.raises(InputError, match="all leave the section"):
        mutex_fragments(affinities[:1], offsets=OFFSETS[:1], per_section=True)


def test_biases_and_strides_of_offsets(affinities: NDArray[np.uint8], tmp_path: Path) -> None:
    """Near and far are a short form of them; sections alone take those of the offsets that count."""
    short: dict[str, Any] = {"near_bias": -0.35, "far_bias": -0.6, "far_stride": (1, 2, 3)}
    whole: dict[str, Any] = {"biases": [-0.35] * 3 + [-0.6] * 3, "strides": [(1, 1, 1)] * 3 + [(1, 2, 3)] * 3}
    other = {**whole, "biases": [-0.35, -0.95, -0.35, -0.6, -0.9, -0.6]}
    for sections in (False, True):
        found = mutex_fragments(affinities, offsets=OFFSETS, per_section=sections, **short)
        assert np.array_equal(mutex_fragments(affinities, offsets=OFFSETS, per_section=sections, **whole), found)
        assert not np.array_equal(mutex_fragments(affinities, offsets=OFFSETS, per_section=sections, **other), found)
        source, output = tmp_path / "affinities.zarr", tmp_path / "fragments.zarr"
        facts: dict[str, Any] = {"voxel_size": (8, 8, 8), "axes": "czyx", "attributes": {"offsets": OFFSETS}}
        create_volume(source, affinities.shape, "uint8", **facts)[...] = affinities
        make_fragments(source, output, mutex={**whole, "seed": 0}, per_section=sections, context=(0, 0, 0))
        assert np.array_equal(open_volume(output)[...], found)


def test_nothing_grows_outside_the_mask_nor_fills_it(affinities: NDArray[np.uint8]) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 10:14, 10:14] = 0
    found = mutex_fragments(affinities, offsets=OFFSETS, mask=mask, fill_holes=True)
    assert not found[mask == 0].any()
    assert not mutex_fragments(affinities, offsets=OFFSETS, mask=np.zeros(SHAPE)).any()


def test_pieces_at_the_end_of_a_block_are_no_debris(affinities: NDArray[np.uint8]) -> None:
    alone = np.zeros((6, 1, 4, 30), np.uint8)
    alone[:, :, :, :2] = 255
    assert not mutex_fragments(alone, offsets=OFFSETS, debris=50).any()
    assert mutex_fragments(alone, offsets=OFFSETS, debris=50, cut=[(False, False), (False, False), (True, False)]).any()


def test_blocks_do_not_depend_on_workers(tmp_path: Path) -> None:
    """Random strides and noise are drawn per block, the same in every process."""
    source = tmp_path / "affinities.zarr"
    affinities = np.round(noisy_affinities(voronoi(SHAPE, 8), OFFSETS, noise=0.8) * 255).astype(np.uint8)
    create_volume(
        source, affinities.shape, "uint8", voxel_size=(40.5, 8, 8), axes="czyx", attributes={"offsets": OFFSETS}
    )[...] = affinities  # fmt: skip
    found = []
    for workers in (1, 2):
        make_fragments(
            source, tmp_path / "fragments.zarr", mutex=MUTEX, block_shape=(8, 16, 16), context=(2, 4, 4),
            workers=workers,
        )  # fmt: skip
        found.append(open_volume(tmp_path / "fragments.zarr")[...])
    np.testing.assert_array_equal(found[0], found[1])
    assert connected(found[0])
    make_fragments(
        source, tmp_path / "fragments.zarr", mutex={**MUTEX, "seed": 4}, block_shape=(8, 16, 16), context=(2, 4, 4)
    )
    assert (open_volume(tmp_path / "fragments.zarr")[...] != found[0]).any()
