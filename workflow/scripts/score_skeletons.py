"""Score every threshold by skeletons. Run by the rule `score_skeletons`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.skeleton_scoring import score_by_skeletons

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
graph = snakemake.input.get("graph")
score_by_skeletons(
    Path(snakemake.input.fragments),
    Path(snakemake.input.partitions),
    Path(snakemake.input.skeletons),
    Path(snakemake.output.scores),
    volume=snakemake.wildcards.volume,
    track=snakemake.wildcards.track,
    thresholds=snakemake.params.thresholds,
    repulsion=snakemake.params.repulsion,
    minimum_nodes=snakemake.params.minimum_nodes,
    graph=None if graph is None else Path(graph),
    edits_seconds=snakemake.params.edits_seconds,
)
