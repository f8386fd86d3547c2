"""Other ways from affinities to segments, on predictions that are there."""

import csv
from pathlib import Path

from sparse2dense.volumes.volume import open_volume
from tests.workflow.invocation import TINY, snakemake, started, written

RUN = Path("results/tiny/held_out/pseudo")


def test_mutex_watershed_on_the_graph_is_scored_by_threshold(finished: Path) -> None:
    """Fragments stay; the graph is extracted again, with affinities over longer range, and no merge tree is made."""
    change = written(finished, {"segment": {"method": "mutex"}})
    outcome = snakemake(finished, str(RUN / "scores.csv"), configfiles=(TINY, change))
    assert started(outcome) == ["make_graph", "score"]
    rows = list(csv.DictReader((finished / RUN / "scores.csv").open()))
    splits = [float(row["voi_split"]) for row in rows if row["convention"] == "all"]
    assert len(splits) == 5
    assert splits[0] > splits[-1]


def test_mutex_watershed_of_voxels_makes_fragments(finished: Path) -> None:
    """Fragments are made without seeds, and are agglomerated as others are."""
    change = written(finished, {"segment": {"fragments": {"method": "mutex", "mutex": {"far_stride": [1, 2, 2]}}}})
    before = open_volume(finished / RUN / "fragments.zarr")[...]
    outcome = snakemake(finished, str(RUN / "segmentation/0.5.zarr"), configfiles=(TINY, change))
    assert started(outcome) == ["make_fragments", "make_graph", "make_lut", "make_merge_tree", "write_segmentation"]
    fragments = open_volume(finished / RUN / "fragments.zarr")[...]
    assert (fragments != before).any()
    assert len(set(fragments[fragments > 0])) > 1
