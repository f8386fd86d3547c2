"""Score every threshold. Run by the rule `score`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.evaluating import score_thresholds
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
score_thresholds(
    Path(snakemake.input.overlaps),
    Path(snakemake.input.partitions),
    Path(snakemake.output.scores),
    volume=snakemake.wildcards.volume,
    track=snakemake.wildcards.track,
    thresholds=snakemake.params.thresholds,
    repulsion=snakemake.params.repulsion,
)
