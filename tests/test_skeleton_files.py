"""Skeletons come back from files as they were written, and files that say too little or contradict are refused."""

from pathlib import Path

import networkx
import numpy as np
import pytest

from sparse2dense.errors import InputError
from sparse2dense.ops.skeletons import Skeletons, consolidate
from sparse2dense.volumes.skeleton_files import (
    read_csv,
    read_graphml,
    read_skeletons,
    read_swc,
    write_csv,
    write_graphml,
)

HUGE = 2**63 + 1


@pytest.fixture
def two_trees() -> Skeletons:
    """A fork and a single node, with ids and skeletons that no float can tell apart."""
    return consolidate(
        Skeletons(
            np.array([HUGE + 2, HUGE, 5, HUGE + 1, 17], np.uint64),
            np.array([HUGE, HUGE, HUGE, HUGE, HUGE + 1], np.uint64),
            np.array([(0.1, 2, 3), (-4, 5e-7, 6), (1e9, 1 / 3, 2), (0, 0, 0), (7, 8, 9)]),
            np.array([(0, 1), (1, 2), (3, 1)]),
        )
    )


def same(one: Skeletons, two: Skeletons) -> bool:
    """Whether all arrays are equal, types included."""
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("node", "skeleton", "position", "edges")]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def write(path: Path, text: str) -> Path:
    """Write a file of text."""
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["skeletons.graphml", "skeletons.csv"])
def test_what_is_written_comes_back(name: str, two_trees: Skeletons, tmp_path: Path) -> None:
    (write_graphml if name.endswith("graphml") else write_csv)(two_trees, tmp_path / name)
    assert same(read_skeletons(tmp_path / name), two_trees)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_graphml_of_other_tools_is_read(tmp_path: Path) -> None:
    graph = networkx.DiGraph()
    for name, number in (("a", 3), ("b", 2.0), ("c", 9)):
        graph.add_node(name, id=number, position_z=40 * number, position_y=1.5, position_x="8")
    graph.add_edge("a", "b")
    networkx.write_graphml(graph, tmp_path / "other.graphml")
    found = read_graphml(tmp_path / "other.graphml")
    assert found.node.tolist() == [2, 3, 9]
    assert found.skeleton.tolist() == [1, 1, 2], "connected components"
    assert found.position.tolist() == [[80, 1.5, 8], [120, 1.5, 8], [360, 1.5, 8]]
    assert found.edges.tolist() == [[0, 1]]


def test_swc_is_x_y_z_in_nm_or_voxels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "neuron.swc",
        "# a comment\n\n7 0 1 2 3.5 0.1 -1\n 8 3 2 2 3.5 0.1 7 # trailing\n5 0 1 1 1 1 8\r\n11 0 0 0 0 1 -1\n",
    )
    found = read_skeletons(path)
    assert found.node.tolist() == [5, 7, 8, 11]
    assert found.position.tolist() == [[1, 1, 1], [3.5, 2, 1], [3.5, 2, 2], [0, 0, 0]]
    assert found.edges.tolist() == [[0, 2], [1, 2]]
    assert found.skeleton.tolist() == [1, 1, 1, 2]
    scaled = read_swc(path, unit="voxels", voxel_size=(40.5, 8, 4), offset_nm=(100, 0, -4))
    assert scaled.position[1].tolist() == [3.5 * 40.5 + 100, 16, 0]


def test_csv_with_roots_written_in_any_way(tmp_path: Path) -> None:
    text = f"parent,id,skeleton,x,y,z,note\n,{HUGE},4,1,2,3,a\n-1,2,6,1,2,3,b\n{HUGE}, 1,4,5,6,7.5,\n"
    found = read_csv(write(tmp_path / "nodes.csv", text))
    assert found.node.tolist() == [1, 2, HUGE]
    assert found.skeleton.tolist() == [4, 6, 4]
    assert found.position[0].tolist() == [7.5, 6, 5]
    assert found.edges.tolist() == [[0, 2]]


GRAPH = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{}</graphml>'
KEYS = "".join(
    f'<key id="{name}" for="node" attr.name="{name}" attr.type="{kind}"/>'
    for name, kind in (("id", "double"), ("position_z", "string"), ("position_y", "double"), ("position_x", "double"))
)
NODE = '<node id="n"><data key="id">{}</data><data key="position_z">{}</data><data key="position_y">1</data>{}</node>'
LAST = '<data key="position_x">1</data>'


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "id,skeleton,z,y,x\n1,1,0,0,0\n", "has no column 'parent'"),
        ("a.csv", "id,skeleton,z,y,x,parent\n", "has no nodes"),
        ("a.csv", "", "can't be read as CSV"),
        ("a.csv", "id,skeleton,z,y,x,parent\n1,1,0,0,0,2\n", "the parent 2 of node 1 is not in the file"),
        ("a.csv", "id,skeleton,z,y,x,parent\n1,1,0,0,,-1\n", "a position isn't a number"),
        ("a.csv", "id,skeleton,z,y,x,parent\n1,1,0,0,inf,-1\n", r"node 1 is at \[0.0, 0.0, inf\]"),
        ("a.csv", "id,skeleton,z,y,x,parent\n-3,1,0,0,0,\n", "id '-3' is not an id"),
        ("a.csv", f"id,skeleton,z,y,x,parent\n1,{2**64},0,0,0,\n", "skeleton '18446744073709551616' is not an id"),
        ("a.csv", "id,skeleton,z,y,x,parent\n1,1,0,0,0,\n2,2,0,0,0,1\n", "an edge joins node 1 of skeleton 1"),
        ("a.csv", "id,skeleton,z,y,x,parent\n1,1,0,0,0,\n1,1,0,0,4,\n", "node 1 occurs twice"),
        ("a.swc", "# nothing\n", "has no nodes"),
        ("a.swc", "1 0 1 1 1 1\n", r"line 1: '1 0 1 1 1 1'"),
        ("a.swc", "1 0 1 1 1 1 -1\n2 0 1 1 1 1 5\n", "the parent 5 of node 2 is not in the file"),
        ("a.swc", "1.5 0 1 1 1 1 -1\n", "id '1.5' is not an id"),
        ("a.graphml", "not xml", "can't be read as GraphML"),
        ("a.graphml", GRAPH.format("<graph/>"), "has no nodes|can't be read as GraphML"),
        ("a.graphml", GRAPH.format(KEYS + "<graph edgedefault='undirected'/>"), "has no nodes"),
        ("a.graphml", GRAPH.format(f"{KEYS}<graph>{NODE.format(1, 1, '')}</graph>"), "node 'n' has no position_x"),
        ("a.graphml", GRAPH.format(f"{KEYS}<graph>{NODE.format(1, 'far', LAST)}</graph>"), "a position isn't a number"),
        ("a.graphml", GRAPH.format(f"{KEYS}<graph>{NODE.format(2**60, 1, LAST)}</graph>"), "is not an id"),
        (
            "a.graphml",
            GRAPH.format(f"{KEYS}<graph>{NODE.format(1, 1, LAST)}<edge source='n' target='m'/></graph>"),
            "node 'm' has no id",
        ),
        ("a.obj", "v 0 0 0\n", "with the suffix '.obj'"),
    ],
)
def test_files_that_cannot_be_used(name: str, text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        read_skeletons(write(tmp_path / name, text))
    assert caught.value.remedy


def test_missing_files_units_and_loops(tmp_path: Path, two_trees: Skeletons) -> None:
    with pytest.raises(InputError, match="doesn't exist"):
        read_skeletons(tmp_path / "none.csv")
    with pytest.raises(InputError, match="positions in 'um'"):
        read_swc(tmp_path / "none.swc", unit="um")  # type: ignore[arg-type]
    looped = Skeletons(
        two_trees.node, two_trees.skeleton, two_trees.position, np.append(two_trees.edges, [[3, 4]], axis=0)
    )
    with pytest.raises(InputError, match="4 edges between 5 nodes in 2 pieces"):
        write_csv(looped, tmp_path / "loop.csv")
    assert not list(tmp_path.iterdir())
    write_graphml(looped, tmp_path / "loop.graphml")
    assert len(read_graphml(tmp_path / "loop.graphml").edges) == 4
