"""Judge every threshold without truth. Run by the rule `sweep_disagreement`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.disagreeing import sweep_disagreement
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
sweep_disagreement(
    Path(snakemake.input.links),
    Path(snakemake.input.partitions),
    Path(snakemake.output.sweep),
    volume=snakemake.wildcards.volume,
    track=snakemake.wildcards.track,
    thresholds=snakemake.params.thresholds,
    repulsion=snakemake.params.repulsion,
)
