"""Write the segmentation of a threshold. Run by the rules `write_segmentation` and `write_segmentation_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output
from sparse2dense.stages.segmenting import write_segmentation

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    write_segmentation(
        Path(snakemake.input.fragments),
        Path(snakemake.input.lut),
        output,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
