"""Partitions of a region graph by mutex watershed, a way from fragments to segments beside the merge tree."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.ops.graph import RegionGraph
from sparse2dense.ops.mutex import graph_mutex_watershed
from sparse2dense.ops.thresholds import Threshold, threshold_name

__all__ = ["MutexSweep"]

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class MutexSweep:
    """Partitions of one region graph, each by mutex watershed with the bias that a threshold stands for.

    The weight of two touching fragments is the mean affinity across their contact, less 1 - threshold: above 0 they
    attract each other, below they repel. Means over longer range, less `repulsion` besides, count where they are below
    0 and only repel. The strongest weight decides first (Wolf et al. 2020). Equal weights are ordered by the larger
    contact, then the smaller fragments, then ids, so the result is a function of the graph.

    Parameters
    ----------
    graph
        Of a whole volume, extracted with `long_range`.
    repulsion
        How much lower the bias over longer range is, at least 0; 0.3 is common.

    Raises InputError when the graph has no edges over longer range, or the repulsion is below 0.
    """

    graph: RegionGraph
    repulsion: float = 0.3

    def __post_init__(self) -> None:
        if self.graph.far_count is None:
            raise InputError(
                "mutex watershed on a region graph without edges over longer range",
                allowed="a graph extracted with long_range=True",
                remedy="extract the graph again",
            )
        if not self.repulsion >= 0:
            raise InputError(
                f"mutex watershed with repulsion {self.repulsion}",
                allowed="at least 0",
                remedy="correct segment.repulsion in the configuration",
            )

    @property
    def fragments(self) -> NDArray[np.uint64]:
        """Every fragment there is, ascending."""
        return self.graph.fragments

    @cached_property
    def _near(self) -> Edges:
        return self._edges(self.graph.count, self.graph.total)

    @cached_property
    def _far(self) -> Edges:
        assert self.graph.far_count is not None
        assert self.graph.far_total is not None
        return self._edges(self.graph.far_count, self.graph.far_total)

    def _edges(self, count: NDArray[np.int64], total: NDArray[np.int64]) -> Edges:
        """Return the places of the fragments, and the mean affinity, of each edge that counts, in order of ties."""
        used = np.flatnonzero(count > 0)
        ends = [np.searchsorted(self.graph.fragments, ids[used]) for ids in (self.graph.u, self.graph.v)]
        sizes = np.sort([self.graph.sizes[end] for end in ends], axis=0)
        order = np.lexsort((ends[1], ends[0], sizes[1], sizes[0], -count[used]))
        mean = total[used] / (count[used] * self.graph.scale)
        return ends[0][order], ends[1][order], mean[order]

    def cut(self, threshold: Threshold) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the fragments and the segment of each; higher thresholds join more.

        Segments are 1..K in the order of their smallest fragment id.
        """
        bias = float(1 - Decimal(threshold_name(threshold)))
        near, far = self._near, self._far
        weight = far[2] - bias - self.repulsion
        repels = weight < 0
        u, v = (np.concatenate([one, other[repels]]) for one, other in zip(near[:2], far[:2], strict=True))
        weights = np.concatenate([near[2] - bias, weight[repels]])
        return self.fragments, graph_mutex_watershed(len(self.fragments), u, v, weights)
