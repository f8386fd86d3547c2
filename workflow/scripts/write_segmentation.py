"""Write the segmentation of a threshold. Run by the rule `write_segmentation`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.segmenting import write_segmentation

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
write_segmentation(
    Path(snakemake.input.fragments),
    Path(snakemake.input.lut),
    Path(snakemake.output.segmentation),
    block_shape=snakemake.params.block,
    workers=snakemake.threads,
)
