"""Count overlaps of fragments and reference. Run by the rules `count_overlaps` and `count_overlaps_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.evaluating import count_overlaps
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask = snakemake.input.get("mask")
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    count_overlaps(
        Path(snakemake.input.fragments),
        Path(snakemake.input.truth),
        output,
        border=snakemake.params.border,
        reach=snakemake.params.reach,
        mask=None if mask is None else Path(mask),
        per_section=snakemake.params.per_section,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
