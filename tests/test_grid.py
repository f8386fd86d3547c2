"""Blocks tile a volume exactly, and shards never have two writers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse2dense.errors import InputError
from sparse2dense.volumes.grid import Block, blocks, check_shards, chunk_shape, clip, dividing_chunks, snap_up

sides = st.integers(1, 40)
shapes = st.tuples(sides, sides, sides)
block_shapes = st.tuples(*[st.integers(5, 50)] * 3)
halos = st.tuples(*[st.integers(0, 9)] * 3)


@given(shapes, block_shapes, halos)
def test_every_voxel_belongs_to_exactly_one_block(
    shape: tuple[int, int, int], block_shape: tuple[int, int, int], halo: tuple[int, int, int]
) -> None:
    for shift in (None, halo):
        owners = np.zeros(shape, int)
        for block in blocks(shape, block_shape, halo, shift=shift):
            owners[block.write] += 1
        assert (owners == 1).all()


@given(shapes, block_shapes, halos)
def test_blocks_are_numbered_row_major_and_read_their_halo(
    shape: tuple[int, int, int], block_shape: tuple[int, int, int], halo: tuple[int, int, int]
) -> None:
    tiles = blocks(shape, block_shape, halo)
    assert [tile.index for tile in tiles] == list(range(len(tiles)))
    assert [tile.position for tile in tiles] == sorted(tile.position for tile in tiles)
    for tile in tiles:
        for write, read, inner, more in zip(tile.write, tile.read, tile.inner, halo, strict=True):
            assert (read.start, read.stop) == (write.start - more, write.stop + more)
            assert (read.start + inner.start, read.start + inner.stop) == (write.start, write.stop)


def test_the_last_block_is_cut_and_its_halo_leaves_the_volume() -> None:
    assert blocks((5,), (4,), (3,))[-1] == Block(1, (1,), (slice(4, 5),), (slice(1, 8),))


def test_blocks_may_end_between_the_multiples_of_their_shape() -> None:
    ends = {sides: [block.write[0].stop for block in blocks((sides,), (8,), shift=(3,))] for sides in (11, 12, 27, 30)}
    assert ends == {11: [11], 12: [11, 12], 27: [11, 19, 27], 30: [11, 19, 27, 30]}


def test_a_box_is_clipped_to_the_volume() -> None:
    assert clip((slice(-3, 4), slice(2, 9), slice(5, 8)), (6, 6, 20)) == (slice(0, 4), slice(2, 6), slice(5, 8))


@given(block_shapes, st.tuples(*[st.sampled_from([1, 16, 64, 128])] * 3))
def test_blocks_of_any_shape_consist_of_whole_chunks(block: tuple[int, int, int], wanted: tuple[int, int, int]) -> None:
    check_shards(block, dividing_chunks(block, wanted))
    doubled = tuple(2 * side for side in wanted)
    assert dividing_chunks(doubled, wanted) == wanted


def test_a_side_without_a_fitting_divisor_is_one_chunk() -> None:
    assert dividing_chunks((101, 130, 7), (64, 64, 64)) == (101, 65, 7)


@given(shapes, st.tuples(*[st.floats(1, 200)] * 3))
def test_chunks_hold_about_a_cube_of_64_and_nest_in_powers_of_two(
    shape: tuple[int, int, int], voxel_size: tuple[float, float, float]
) -> None:
    large = chunk_shape((100_000,) * 3, voxel_size)
    assert 64**3 / 4 <= np.prod(large, dtype=float) <= 64**3 * 4
    small = chunk_shape(shape, voxel_size)
    assert all(side & (side - 1) == 0 and side <= most for side, most in zip(small, large, strict=True))
    assert all(side < 2 * length for side, length in zip(small, shape, strict=True))


def test_chunks_are_thin_in_z_for_thick_sections() -> None:
    assert chunk_shape((1000, 1000, 1000), (8, 8, 8)) == (64, 64, 64)
    assert chunk_shape((1000, 1000, 1000), (40, 4, 4)) == (16, 128, 128)
    assert chunk_shape((1000, 1000), (4, 4)) == (64, 64)


def test_blocks_that_split_a_shard_are_refused_with_blocks_that_would_do() -> None:
    check_shards((128, 64, 64), (64, 64, 32))
    with pytest.raises(InputError, match=r"use blocks of \(64, 128, 64\)"):
        check_shards((64, 100, 64), (64, 64, 64))


def test_blocks_without_voxels_are_refused() -> None:
    with pytest.raises(InputError, match="block shape"):
        blocks((4, 4, 4), (4, 0, 4))


@given(shapes, block_shapes)
def test_snapping_up_is_the_next_multiple(shape: tuple[int, int, int], unit: tuple[int, int, int]) -> None:
    for side, step, snapped in zip(shape, unit, snap_up(shape, unit), strict=True):
        assert snapped % step == 0 and 0 <= snapped - side < step
