"""Skeletons of a volume: from files in any unit, or from its dense truth, and only what lies in it."""

from pathlib import Path

import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.skeletonisation import skeletonise
from sparse2dense.stages.skeletonising import import_skeletons, skeletonise_truth
from sparse2dense.volumes.skeleton_files import read_skeletons
from sparse2dense.volumes.volume import create_volume
from tests.voronoi import voronoi

VOXEL_SIZE, OFFSET = (40.0, 4.5, 4.0), (1000.0, 90.0, -80.0)
LARGE = 2**63 + 5


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A volume of 6 x 20 x 30 voxels; only its place counts."""
    create_volume(tmp_path / "raw.zarr", (6, 20, 30), "uint8", voxel_size=VOXEL_SIZE, offset=OFFSET)
    return tmp_path / "raw.zarr"


def test_file_in_voxels_is_placed_and_cropped(raw: Path) -> None:
    """Positions become nm in the world of the volume; nodes beyond it go, and an edge goes with either end."""
    file, output = raw.with_name("nodes.swc"), raw.with_name("out.graphml")
    lines = ["1 0 0 0 0 1 -1", "2 0 29 19 5 1 1", "3 0 30 19 5 1 2", "7 0 5.5 6 2 1 -1", "8 0 -1 6 2 1 7"]
    file.write_text("\n".join(["# x, y, z in voxels", *lines]))
    import_skeletons(file, raw, output, voxel_size=VOXEL_SIZE, offset=OFFSET)
    found = read_skeletons(output)
    assert found.node.tolist() == [1, 2, 7]
    assert found.skeleton.tolist() == [1, 1, 2]
    expected = np.array([[0, 0, 0], [5, 19, 29], [2, 6, 5.5]]) * VOXEL_SIZE + OFFSET
    assert np.allclose(found.position, expected)
    assert found.edges.tolist() == [[0, 1]]


def test_file_in_nanometres_is_taken_as_it_is(raw: Path) -> None:
    """Ids of skeletons and positions survive, also near 2^64."""
    file, output = raw.with_name("nodes.csv"), raw.with_name("out.graphml")
    file.write_text(f"id,skeleton,z,y,x,parent\n{LARGE},{LARGE},1000.1,91.3,-79.7,\n4,{LARGE},1200,100,0,{LARGE}\n")
    import_skeletons(file, raw, output)
    found = read_skeletons(output)
    assert found.node.tolist() == [4, LARGE]
    assert set(found.skeleton.tolist()) == {LARGE}
    assert found.position.tolist() == [[1200, 100, 0], [1000.1, 91.3, -79.7]]
    assert found.edges.tolist() == [[0, 1]]


def test_file_elsewhere_is_refused(raw: Path) -> None:
    """The message names the file and both places, and nothing is written."""
    file, output = raw.with_name("nodes.csv"), raw.with_name("out.graphml")
    file.write_text("id,skeleton,z,y,x,parent\n1,1,0,0,0,\n")
    with pytest.raises(InputError, match=r"nodes\.csv has its 1 nodes from \[0\.0, 0\.0, 0\.0\] to .*raw\.zarr covers"):
        import_skeletons(file, raw, output)
    assert not output.exists()


def test_truth_is_thinned_in_its_place(raw: Path) -> None:
    """Truth may cover another region than the image: midlines lie in both, named by their labels."""
    labels = np.zeros((4, 9, 40), np.uint64)
    labels[1:3, 2:7, :] = LARGE
    corner = (1040.0, 90.0 + 4.5 * 3, -80.0)
    truth, output = raw.with_name("truth.zarr"), raw.with_name("out.graphml")
    create_volume(truth, labels.shape, "uint64", voxel_size=VOXEL_SIZE, offset=corner)[...] = labels
    skeletonise_truth(truth, raw, output, node_distance_nm=20)
    found = read_skeletons(output)
    whole = skeletonise(labels, VOXEL_SIZE, node_distance_nm=20, offset_nm=corner)
    inside = whole.position[:, 2] < -80 + 30 * 4
    assert 3 < inside.sum() < len(whole)
    assert np.array_equal(found.node, whole.node[inside])
    assert np.array_equal(found.position, whole.position[inside])
    assert set(found.skeleton.tolist()) == {LARGE}
    assert len(found.edges) == len(found) - 1


@pytest.mark.parametrize("block_shape", [(2, 8, 8), (64, 64, 64)])
def test_objects_are_thinned_one_by_one_as_in_the_whole(raw: Path, block_shape: tuple[int, ...]) -> None:
    """Objects that touch each other and the border, in several pieces and with ids on both sides of 2^63."""
    labels = voronoi((6, 20, 30), 7, ids=range(LARGE - 8, LARGE - 1))
    labels[2:4, 5:9] = 0
    truth, output = raw.with_name("truth.zarr"), raw.with_name("out.graphml")
    create_volume(truth, labels.shape, "uint64", voxel_size=VOXEL_SIZE, offset=OFFSET)[...] = labels
    skeletonise_truth(truth, raw, output, node_distance_nm=20, block_shape=block_shape)
    found = read_skeletons(output)
    whole = skeletonise(labels, VOXEL_SIZE, node_distance_nm=20, offset_nm=OFFSET)
    assert np.array_equal(found.skeleton, whole.skeleton)
    assert np.array_equal(found.position, whole.position)
    assert np.array_equal(found.edges, whole.edges)


def test_only_a_region_counts(raw: Path) -> None:
    """Its end is not included; what it shares with the volume counts."""
    file, output = raw.with_name("nodes.csv"), raw.with_name("out.graphml")
    nodes = "".join(f"{n},1,1100,100,{x},{n - 1 or ''}\n" for n, x in enumerate((-80, -60, -40, -20), start=1))
    file.write_text("id,skeleton,z,y,x,parent\n" + nodes)
    import_skeletons(file, raw, output, region=[[0, 5000], [90, 101], [-60, -20]])
    assert read_skeletons(output).position[:, 2].tolist() == [-60, -40]
    with pytest.raises(InputError, match=r"raw\.zarr and the region share"):
        import_skeletons(file, raw, output, region=[[0, 5000], [120, 130], [-60, -20]])
    with pytest.raises(InputError, match=r"nothing in common with .*raw\.zarr") as refused:
        import_skeletons(file, raw, output, region=[[0, 1000], [90, 101], [-60, -20]])
    assert "skeletons.region" in str(refused.value)


def test_empty_truth_is_refused(raw: Path) -> None:
    """Without an object there is nothing to score by."""
    truth, output = raw.with_name("truth.zarr"), raw.with_name("out.graphml")
    create_volume(truth, (6, 20, 30), "uint64", voxel_size=VOXEL_SIZE, offset=OFFSET)
    with pytest.raises(InputError, match=r"truth\.zarr has no object to make a skeleton of"):
        skeletonise_truth(truth, raw, output, node_distance_nm=20)
    assert not output.exists()
