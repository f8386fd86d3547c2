"""Write the annotated sections as 2D datasets. Run by the rule `slice_sections`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.slicing import slice_sections

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
slice_sections(
    Path(snakemake.input.raw),
    Path(snakemake.input.labels),
    Path(snakemake.input.mask),
    Path(snakemake.input.scope),
    Path(snakemake.output.sections),
    adjacent=snakemake.params.adjacent,
    maximum_sections=snakemake.params.maximum_sections,
)
