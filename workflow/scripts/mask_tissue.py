"""Mask where the image shows tissue. Run by the rule `mask_tissue`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.annotating import mask_tissue
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask_tissue(
    Path(snakemake.input.raw),
    Path(snakemake.output.tissue),
    workers=snakemake.threads,
    **snakemake.params.tissue,
)
