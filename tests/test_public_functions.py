"""The functions that other tools call, by their names, arguments and results: these don't change."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest

from sparse2dense.ops import affinities, agglomeration, descriptors, fragments, graph, mutex, scores
from tests.voronoi import voronoi

OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-2, 0, 0], [0, -3, 0], [0, 0, -3]]
LABELS = voronoi((5, 12, 14), 6)

PUBLIC = {
    descriptors.local_shape_descriptors: ["labels", "sigma", "voxel_size=None", "downsample=1"],
    affinities.affinities: ["labels", "offsets"],
    fragments.watershed_fragments: ["affinities", "offsets"],
    mutex.mutex_watershed: ["affinities", "offsets"],
    graph.region_graph: ["fragments", "affinities", "offsets"],
    agglomeration.merge_tree: ["graph", "merge_function='mean'"],
    agglomeration.MergeTree.cut: ["self", "threshold"],
    scores.overlaps: ["truth", "segmentation"],
    scores.score: ["table"],
}


@pytest.mark.parametrize(("function", "first"), PUBLIC.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_arguments_stay_and_others_have_defaults(function: Callable[..., object], first: list[str]) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    assert [
        parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"
        for parameter in parameters[: len(first)]
    ] == first
    assert all(parameter.default is not parameter.empty for parameter in parameters[len(first) :])
    assert inspect.getdoc(function)


def test_descriptors_of_labels() -> None:
    found = descriptors.local_shape_descriptors(LABELS, 20.0, voxel_size=(40, 8, 8), downsample=1)
    assert (found.dtype, found.shape) == (np.float32, (10, 5, 12, 14))
    assert descriptors.local_shape_descriptors(LABELS[0], 3.0).shape == (6, 12, 14)


def test_from_labels_through_all_functions_and_back() -> None:
    values = affinities.affinities(LABELS, OFFSETS)
    assert (values.dtype, values.shape, set(np.unique(values))) == (np.uint8, (6, 5, 12, 14), {0, 1})
    made = fragments.watershed_fragments(values * np.uint8(255), offsets=OFFSETS, seed_distance=3)
    joined = mutex.mutex_watershed(values * np.uint8(255), OFFSETS)
    assert (made.dtype, joined.dtype) == (np.uint64, np.uint64)
    assert made.shape == joined.shape == LABELS.shape
    assert made.max() >= 6
    voxels = np.arange(1, LABELS.size + 1, dtype=np.uint64).reshape(LABELS.shape)
    for pieces in (voxels, joined):
        contacts = graph.region_graph(pieces, values * np.uint8(255), offsets=OFFSETS)
        edges = list(zip(contacts.u.tolist(), contacts.v.tolist(), strict=True))
        assert edges == sorted(set(edges))
        assert all(u < v for u, v in edges)
        assert len(contacts.count) == len(contacts.total) == len(contacts.mean) == len(edges)
        ids, segments = agglomeration.merge_tree(contacts).cut(0.5)
        assert (ids.dtype, segments.dtype) == (np.uint64, np.uint64)
        assert ids.tolist() == np.unique(pieces).tolist()
        found = scores.score(scores.overlaps(LABELS, segments[np.searchsorted(ids, pieces)]))
        assert found["voi_merge"] == 0
        assert {name: round(found[name], 12) for name in ("voi_split", "nvi_split", "nvi_merge", "arand")} == {
            "voi_split": 0, "nvi_split": 0, "nvi_merge": 0, "arand": 0,
        }  # fmt: skip
        assert (found["rand_split"], found["rand_merge"]) == pytest.approx((1, 1))
