"""Count overlaps of fragments and reference. Run by the rule `count_overlaps`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask = snakemake.input.get("mask")
count_overlaps(
    Path(snakemake.input.fragments),
    Path(snakemake.input.truth),
    Path(snakemake.output.overlaps),
    border=snakemake.params.border,
    reach=snakemake.params.reach,
    mask=None if mask is None else Path(mask),
    per_section=snakemake.params.per_section,
    block_shape=snakemake.params.block,
    workers=snakemake.threads,
)
