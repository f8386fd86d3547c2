"""List the worst splits and merges. Run by the rules `rank_errors` and `rank_errors_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.locating import rank_errors
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask = snakemake.input.get("mask")
with shared_output(Path(snakemake.output[0])) as (output, part):
    rank_errors(
        Path(snakemake.input.overlaps),
        Path(snakemake.input.lut),
        Path(snakemake.input.fragments),
        Path(snakemake.input.truth),
        output,
        border=snakemake.params.border,
        reach=snakemake.params.reach,
        mask=None if mask is None else Path(mask),
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
