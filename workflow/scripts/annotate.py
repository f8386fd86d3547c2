"""Take or draw the annotation of a volume. Run by the rule `annotate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.annotating import annotate
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask = snakemake.input.get("painted_mask")
annotate(
    Path(snakemake.input.source),
    Path(snakemake.output.labels),
    Path(snakemake.output.mask),
    Path(snakemake.output.scope),
    Path(snakemake.output.statistics),
    Path(snakemake.output.totals),
    volume=snakemake.wildcards.volume,
    painted_mask=None if mask is None else Path(mask),
    workers=snakemake.threads,
    **snakemake.params.annotation,
)
