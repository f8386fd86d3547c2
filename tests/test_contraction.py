"""What may be merged region by region before the whole region graph is agglomerated."""

import numpy as np
import pytest

from benchmarks.contraction import contracted, difference, in_two_steps, inside_merges, random_graph, regions_of
from sparse2dense.ops.agglomeration import merge_tree


@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.0])
def test_merges_best_for_both_sides_are_exact(threshold: float) -> None:
    """Where no scores are equal, the tree made in two steps has the partitions of the one made at once."""
    graph = random_graph(10, 0, "float")
    tree, left = in_two_steps(graph, regions_of(10, 5), threshold)
    whole = merge_tree(graph)
    assert 0.4 < left < 0.9
    assert difference(whole, tree) == (0, 0.0)
    assert np.allclose(np.sort(tree.score), whole.score)


def test_merges_beside_frozen_ones_are_not() -> None:
    graph = random_graph(10, 0, "float")
    tree, _ = in_two_steps(graph, regions_of(10, 5), 0.5, bold=True)
    number, worst = difference(merge_tree(graph), tree, at_least=0.5)
    assert number > 5
    assert worst > 1


def test_contraction_keeps_all_voxels_and_affinities_between_clusters() -> None:
    graph = random_graph(6, 1, "uint8")
    merges = inside_merges(graph, np.ones(len(graph.fragments), bool), 0.4, bold=False)
    smaller = contracted(graph, merges)
    ids, segments = merge_tree(graph).cut("0.4")
    assert len(smaller.fragments) == segments.max() == len(ids) - len(merges)
    assert smaller.sizes.sum() == graph.sizes.sum()
    across = segments[graph.u.astype(int) - 1] != segments[graph.v.astype(int) - 1]
    assert smaller.total.sum() == graph.total[across].sum()
    assert smaller.count.sum() == graph.count[across].sum()
