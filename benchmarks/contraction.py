"""Whether a region graph may be contracted region by region before it is agglomerated as a whole.

    python -m benchmarks.contraction --side 24 --regions 6 12

Random graphs of a cubic grid of fragments are agglomerated at once, and in two steps: first inside cubic regions, each
of which knows the edges that leave it but not what happens beyond, then as a whole on the contracted graph.

`safe` merges two clusters only where their contact is the best of both. A cluster whose best contact leads out of the
region, or to a frozen cluster, is frozen. `bold` freezes clusters with any contact that leaves, but merges all others
greedily up to the threshold, without regard to whether the best neighbour is frozen: what block-wise agglomeration
usually does. `differ` are the thresholds, of 50, at which the partition is another than at once, `worst` the largest
variation of information there in bits, over fragments; `left` is the share of fragments that the second step begins
with. The graphs are of float affinities, whose means are hardly ever equal, of uint8, and of uint8 on contacts of at
most four voxels, where equals abound; between equals, ids decide inside regions.
"""

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sparse2dense.ops.agglomeration import MergeTree, merge_tree
from sparse2dense.ops.graph import FIXED_POINT, RegionGraph
from sparse2dense.ops.overlaps import overlaps
from sparse2dense.ops.scores import score

THRESHOLDS = [f"{number / 100:.2f}" for number in range(2, 102, 2)]
KINDS = {"float": (FIXED_POINT, 400), "uint8": (255, 400), "ties": (255, 4)}
"""Scale of the affinities, and the largest contact in voxels."""
Merge = tuple[float, int, int]


def random_graph(side: int, seed: int, kind: str) -> RegionGraph:
    """Return the graph of a cubic grid of fragments, each touching those across faces and some across edges."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(side**3).reshape((side,) * 3)
    pairs = []
    for step in product((-1, 0, 1), repeat=3):
        far = sum(map(abs, step))
        if step > (0, 0, 0) and far <= 2:
            here = tuple(slice(max(-s, 0), side - max(s, 0)) for s in step)
            there = tuple(slice(max(s, 0), side - max(-s, 0)) for s in step)
            both = np.stack([numbers[here].ravel(), numbers[there].ravel()], axis=1)
            pairs.append(both[rng.random(len(both)) < (1.0 if far == 1 else 0.3)])
    ends = np.sort(np.concatenate(pairs), axis=1) + 1
    ends = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
    scale, area = KINDS[kind]
    count = rng.integers(1, area, len(ends), endpoint=True)
    total = np.rint(count * rng.beta(2, 2, len(ends)) * scale).astype(np.int64)
    fragments = np.arange(1, side**3 + 1, dtype=np.uint64)
    sizes = rng.integers(500, 5000, len(fragments))
    ids = ends.astype(np.uint64)
    return RegionGraph(ids[:, 0], ids[:, 1], count, total, fragments, sizes, scale)


def regions_of(side: int, region: int) -> NDArray[np.int64]:
    """Return the region of every fragment of a grid."""
    place = np.indices((side,) * 3).reshape(3, -1) // region
    return np.asarray(place[0] * side**2 + place[1] * side + place[2])


def inside_merges(graph: RegionGraph, own: NDArray[np.bool_], threshold: float, bold: bool) -> list[Merge]:
    """Return the merges (score, lower and higher representative) of one region, given which fragments are its own."""
    known = np.flatnonzero(own[graph.u.astype(int) - 1] | own[graph.v.astype(int) - 1])
    contacts: dict[int, dict[int, tuple[int, int]]] = {}
    queue: list[tuple[float, int, int, int]] = []

    def add(a: int, b: int, area: int, total: int) -> None:
        contacts.setdefault(a, {})[b] = contacts.setdefault(b, {})[a] = (area, total)
        heapq.heappush(queue, (1 - total / (area * graph.scale), -area, min(a, b), max(a, b)))

    for edge in known.tolist():
        add(int(graph.u[edge]), int(graph.v[edge]), int(graph.count[edge]), int(graph.total[edge]))
    frozen = {cluster for cluster in contacts if not own[cluster - 1]}
    if bold:
        frozen |= {near for cluster in tuple(frozen) for near in contacts[cluster]}
    merges: list[Merge] = []
    while queue:
        best, area, a, b = heapq.heappop(queue)
        now = contacts.get(a, {}).get(b)
        if now is None or now[0] != -area or best != 1 - now[1] / (now[0] * graph.scale):
            continue  # merged or changed since
        if best >= threshold:
            break
        if a in frozen or b in frozen:
            if not bold:
                frozen |= {a, b}
            continue
        merges.append((best, a, b))
        del contacts[a][b]
        for other, (more, sum_of_more) in contacts.pop(b).items():
            if other == a:
                continue
            del contacts[other][b]
            old = contacts[a].get(other, (0, 0))
            add(a, other, old[0] + more, old[1] + sum_of_more)
    return merges


def contracted(graph: RegionGraph, merges: Sequence[Merge]) -> RegionGraph:
    """Return the graph of the clusters, each named by its smallest fragment."""
    name = np.arange(len(graph.fragments) + 1)
    for _, a, b in reversed(merges):  # the last merge of a cluster is the first to be named
        name[b] = name[a]
    u, v = name[graph.u.astype(int)], name[graph.v.astype(int)]
    u, v = np.minimum(u, v), np.maximum(u, v)
    kept = u != v
    ends, place = np.unique(np.stack([u, v], axis=1)[kept], axis=0, return_inverse=True)
    sums = [np.zeros(len(ends), np.int64) for _ in range(2)]
    for values, column in zip(sums, (graph.count, graph.total), strict=True):
        np.add.at(values, place.ravel(), column[kept])
    sizes = np.bincount(name[1:], graph.sizes, len(name)).astype(np.int64)
    clusters = np.unique(name[1:])
    ids = ends.astype(np.uint64)
    return replace(
        graph, u=ids[:, 0], v=ids[:, 1], count=sums[0], total=sums[1],
        fragments=clusters.astype(np.uint64), sizes=sizes[clusters],
    )  # fmt: skip


def in_two_steps(
    graph: RegionGraph, regions: NDArray[np.int64], threshold: float = 1.0, bold: bool = False
) -> tuple[MergeTree, float]:
    """Return the tree of merges in regions and then as a whole, by score, and the share of fragments left between."""
    merges = [
        merge
        for region in np.unique(regions)
        for merge in inside_merges(graph, regions == region, threshold, bold)
    ]  # fmt: skip
    smaller = contracted(graph, merges)
    rest = merge_tree(smaller)
    a = np.concatenate([[a for _, a, _ in merges], rest.a]).astype(np.uint64)
    b = np.concatenate([[b for _, _, b in merges], rest.b]).astype(np.uint64)
    scores = np.concatenate([[score for score, _, _ in merges], rest.score])
    order = np.argsort(scores, kind="stable")
    tree = MergeTree(graph.fragments, a[order], b[order], scores[order])
    return tree, len(smaller.fragments) / len(graph.fragments)


def difference(one: MergeTree, other: MergeTree, at_least: float = 0.0) -> tuple[int, float]:
    """Return at how many thresholds the partitions differ, and the largest variation of information between them."""
    found = []
    for threshold in THRESHOLDS:
        if float(threshold) >= at_least:
            first, second = one.cut(threshold)[1], other.cut(threshold)[1]
            found.append(0.0 if np.array_equal(first, second) else score(overlaps(first, second))["voi_sum"])
    return int(np.count_nonzero(found)), max(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per kind of graph, way, side of regions and threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=24, help="fragments along a side of the grid")
    parser.add_argument("--regions", type=int, nargs="+", default=[6, 12], help="the same of a region")
    parser.add_argument("--graphs", type=int, default=2, help="random graphs of each kind")
    options = parser.parse_args(argv)
    print(f"{'graphs':8} {'way':5} {'region':>6} {'up to':>6} {'left':>6} {'differ':>7} {'worst':>7}")
    for kind in KINDS:
        graphs = [random_graph(options.side, seed, kind) for seed in range(options.graphs)]
        whole = [merge_tree(graph) for graph in graphs]
        for bold, region, threshold in product((False, True), options.regions, (0.3, 0.5, 1.0)):
            regions = regions_of(options.side, region)
            left, differ, worst = [], [], []
            for graph, tree in zip(graphs, whole, strict=True):
                other, share = in_two_steps(graph, regions, threshold, bold)
                number, most = difference(tree, other, 0.0 if threshold == 1.0 else threshold)
                left.append(share)
                differ.append(number)
                worst.append(most)
            way = "bold" if bold else "safe"
            print(
                f"{kind:8} {way:5} {region:6} {threshold:6.2f} {np.mean(left):6.2f} {np.mean(differ):7.1f} "
                f"{max(worst):7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
