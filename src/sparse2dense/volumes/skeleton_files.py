"""Skeletons from and to files: GraphML, SWC and CSV."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import ParseError

import networkx
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from sparse2dense.errors import InputError
from sparse2dense.ops.skeletons import Skeletons, component_of_nodes, consolidate, crop
from sparse2dense.volumes.replacing import atomic_file
from sparse2dense.volumes.volume import Volume

__all__ = ["crop_to_volume", "read_csv", "read_graphml", "read_skeletons", "read_swc", "write_csv", "write_graphml"]

POSITIONS = ("position_z", "position_y", "position_x")
COLUMNS = ("id", "skeleton", "z", "y", "x", "parent")
LARGEST = 2**64 - 1


def read_skeletons(path: Path) -> Skeletons:
    """Read skeletons in nm from a file by its suffix: .graphml, .swc or .csv.

    Raises InputError for another suffix, and as `read_graphml`, `read_swc` and `read_csv` do.
    """
    readers: dict[str, Callable[[Path], Skeletons]] = {".graphml": read_graphml, ".swc": read_swc, ".csv": read_csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"skeletons in {path}, with the suffix {path.suffix!r}",
            allowed=", ".join(readers),
            remedy="convert the file, or name it by its format",
        )
    return reader(path)


def read_graphml(path: Path) -> Skeletons:
    """Read GraphML whose nodes carry `id` and `position_z`, `position_y`, `position_x` in nm.

    Where every node carries `skeleton` too, that is its skeleton; else every connected component is one.

    Raises InputError when the file is no GraphML, has no nodes, or a node lacks an attribute.
    """
    _check_exists(path)
    try:
        graph = networkx.read_graphml(path)
    except (ParseError, networkx.NetworkXError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} can't be read as GraphML: {error}",
            allowed="an XML file with the element graphml and one graph",
            remedy="write it with `write_graphml` of this project, or with networkx",
        ) from error
    for name, attributes in graph.nodes(data=True):
        missing = [key for key in ("id", *POSITIONS) if key not in attributes]
        if missing:
            # networkx makes nodes of whatever edges name
            raise InputError(
                f"{path}: node {name!r} has no {missing[0]}",
                allowed=f"nodes with the attributes id, {', '.join(POSITIONS)}",
                remedy="add the attribute in nm; a node that only edges name isn't in the file",
            )
    nodes = [attributes for _, attributes in graph.nodes(data=True)]
    place = {name: number for number, name in enumerate(graph.nodes)}
    named = bool(nodes) and all("skeleton" in attributes for attributes in nodes)
    columns = {
        "id": [attributes["id"] for attributes in nodes],
        "skeleton": [attributes["skeleton"] if named else 0 for attributes in nodes],
        **{axis: [attributes[key] for attributes in nodes] for axis, key in zip("zyx", POSITIONS, strict=True)},
    }
    edges = [(place[edge[0]], place[edge[1]]) for edge in graph.edges()]
    return _skeletons(path, columns, np.array(edges, np.int64).reshape(-1, 2), by_component=not named)


def read_swc(
    path: Path,
    *,
    unit: Literal["nm", "voxels"] = "nm",
    voxel_size: Sequence[float] = (1.0, 1.0, 1.0),
    offset_nm: Sequence[float] = (0.0, 0.0, 0.0),
) -> Skeletons:
    """Read SWC: lines of id, type, x, y, z, radius and parent (-1 for none), `#` before comments.

    Parameters
    ----------
    path
        The file; every tree in it becomes a skeleton.
    unit, voxel_size, offset_nm
        Of the positions. Those in voxels are multiplied by `voxel_size` (z, y, x, nm) and moved by `offset_nm`, the
        corner of the first voxel, so that 3.0 to 3.99 lie in the fourth voxel.

    Raises InputError when a line has too few numbers, a parent isn't in the file, or there are no nodes.
    """
    if unit not in ("nm", "voxels"):
        raise InputError(f"SWC with positions in {unit!r}", allowed="nm or voxels", remedy="correct unit")
    _check_exists(path)
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        fields = line.split("#")[0].split()
        if fields and len(fields) < 7:
            raise InputError(
                f"{path}, line {number}: {line.strip()!r}",
                allowed="id, type, x, y, z, radius and parent",
                remedy="complete the line, or put # before a comment",
            )
        rows += [fields[:7]] if fields else []
    node, _, x, y, z, _, parent = zip(*rows, strict=True) if rows else ((),) * 7
    columns = {"id": node, "skeleton": [0] * len(node), "z": z, "y": y, "x": x, "parent": parent}
    found = _skeletons(path, columns, _edges_to_parents(path, node, parent), by_component=True)
    if unit == "nm":
        return found
    scaled = found.position * np.asarray(voxel_size, np.float64) + np.asarray(offset_nm, np.float64)
    return Skeletons(found.node, found.skeleton, scaled, found.edges)


def read_csv(path: Path) -> Skeletons:
    """Read CSV with the columns id, skeleton, z, y, x (nm) and parent: the id of a node, or empty or -1 for none.

    Raises InputError when a column is missing, a parent isn't in the file, an edge joins two skeletons, or there are
    no nodes.
    """
    _check_exists(path)
    try:
        # as text, because an empty parent would turn the whole column of ids into floats
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} can't be read as CSV: {error}",
            allowed=f"a line with the columns {', '.join(COLUMNS)}, and a line for each node",
            remedy="write it with `write_csv` of this project, or as plain text",
        ) from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}",
            allowed=f"the columns {', '.join(COLUMNS)}",
            remedy="name the columns in the first line",
        )
    columns = {column: table[column].tolist() for column in COLUMNS}
    return _skeletons(path, columns, _edges_to_parents(path, columns["id"], columns["parent"]), by_component=False)


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} doesn't exist", allowed="a file of skeletons", remedy="correct the path")


def _skeletons(
    path: Path, columns: Mapping[str, Sequence[Any]], edges: NDArray[np.int64], *, by_component: bool
) -> Skeletons:
    """Return consolidated skeletons from what a file says, as numbers or text."""
    if len(columns["id"]) == 0:
        raise InputError(
            f"{path} has no nodes", allowed="at least one node", remedy="export the skeletons with their nodes"
        )
    node, skeleton = (
        np.array([_whole(path, name, v) for v in columns[name]], np.uint64) for name in ("id", "skeleton")
    )
    try:
        position = np.array([[float(v) for v in columns[axis]] for axis in "zyx"]).T
    except ValueError as error:
        raise InputError(
            f"{path}: a position isn't a number, {error}", allowed="numbers in nm", remedy="correct the position"
        ) from error
    return consolidate(Skeletons(node, skeleton, position, edges), by_component=by_component)


def _whole(path: Path, name: str, value: Any) -> int:
    """Return an id that is written as 7, "7" or, by tools that know no integers, 7.0."""
    text = re.sub(r"\.0*$", "", str(value).strip())
    if not text.isdecimal() or int(text) > LARGEST or (isinstance(value, float) and value >= 2**53):
        raise InputError(
            f"{path}: {name} {value!r} is not an id",
            allowed="whole numbers from 0 to 2^64 - 1, and up to 2^53 where they are stored as floats",
            remedy="number nodes and skeletons by integers",
        )
    return int(text)


def _edges_to_parents(path: Path, node: Sequence[str], parent: Sequence[str]) -> NDArray[np.int64]:
    """Return the edges from every node to its parent, as places."""
    place = {_whole(path, "id", name): number for number, name in enumerate(node)}
    edges = []
    for number, name in enumerate(parent):
        if name.strip() in ("", "-1", "-1.0"):
            continue
        above = place.get(_whole(path, "parent", name))
        if above is None:
            raise InputError(
                f"{path}: the parent {name} of node {node[number]} is not in the file",
                allowed="the id of a node of the file, or -1 for none",
                remedy="add the node, or let its child be a root",
            )
        edges.append((number, above))
    return np.array(edges, np.int64).reshape(-1, 2)


def crop_to_volume(
    skeletons: Skeletons, source: Path, volume: Volume, region: Sequence[Sequence[float]] | None = None
) -> Skeletons:
    """Return the nodes that lie in a volume, and the edges between them; all as for `crop_to_extent`."""
    return crop_to_extent(skeletons, source, volume.path, volume.extent, region)


def crop_to_extent(
    skeletons: Skeletons,
    source: Path,
    image: Path,
    extent: Sequence[Sequence[float]],
    region: Sequence[Sequence[float]] | None = None,
) -> Skeletons:
    """Return the nodes that lie in the extent of an image and in a region, and the edges between them.

    Both are begin and end in nm for z, y and x, ends not included; None is the whole image. `source` is what the
    skeletons, at least one node, come from; the InputError names it when no node is left.
    """
    if region is not None:
        extent = [(max(ends[0], part[0]), min(ends[1], part[1])) for ends, part in zip(extent, region, strict=True)]
        if any(begin >= end for begin, end in extent):
            raise InputError(
                f"the region {[list(part) for part in region]} nm of the skeletons has nothing in common with {image}",
                allowed="begin and end in nm for z, y and x, in the world of the volume",
                remedy="correct `skeletons.region`, or leave it out to score by the whole volume",
            )
    begin, end = zip(*extent, strict=True)
    inside = crop(skeletons, begin, end)
    if len(inside) == 0:
        low, high = skeletons.position.min(axis=0).tolist(), skeletons.position.max(axis=0).tolist()
        covers = "covers" if region is None else "and the region share"
        raise InputError(
            f"{source} has its {len(skeletons)} nodes from {low} to {high} nm, {image} {covers} {tuple(extent)} nm",
            allowed="at least one node there",
            remedy="give positions z, y, x in nm in the same world as the volume, or correct the volume's offset",
        )
    return inside


def write_graphml(skeletons: Skeletons, path: Path) -> None:
    """Write GraphML with the node attributes id, skeleton, position_z, position_y and position_x in nm."""
    graph: networkx.Graph = networkx.Graph()
    for node, skeleton, position in zip(
        skeletons.node.tolist(), skeletons.skeleton.tolist(), skeletons.position.tolist(), strict=True
    ):
        graph.add_node(node, id=node, skeleton=skeleton, **dict(zip(POSITIONS, position, strict=True)))
    graph.add_edges_from(skeletons.node[skeletons.edges].tolist())
    with atomic_file(path) as partial:
        networkx.write_graphml_xml(graph, partial)


def write_csv(skeletons: Skeletons, path: Path) -> None:
    """Write CSV as `read_csv` reads it; the first node of every tree has no parent.

    Raises InputError when edges make a loop, for which nodes with one parent each have no room.
    """
    count = len(skeletons)
    roots = np.unique(component_of_nodes(count, skeletons.edges), return_index=True)[1]
    if len(skeletons.edges) != count - len(roots):
        raise InputError(
            f"{len(skeletons.edges)} edges between {count} nodes in {len(roots)} pieces can't be written to {path}",
            allowed="trees: one edge less than nodes in every piece",
            remedy="write GraphML, or remove duplicate edges with `consolidate`",
        )
    # one more node above all roots makes a single tree, of which one search finds all parents
    ends = np.concatenate([skeletons.edges, np.stack([np.full_like(roots, count), roots], axis=1)])
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count + 1, count + 1))
    above = breadth_first_order(graph, count, directed=False, return_predecessors=True)[1][:count]
    names = np.append(skeletons.node.astype(str), "")
    z, y, x = skeletons.position.T
    table = {"id": skeletons.node, "skeleton": skeletons.skeleton, "z": z, "y": y, "x": x, "parent": names[above]}
    with atomic_file(path) as partial:
        pd.DataFrame(table).to_csv(partial, index=False)
