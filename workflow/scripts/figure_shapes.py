"""Draw the largest objects in 3D. Run by the rule `figure_shapes`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.shapes import figure_shapes

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
raw, truth, fragments, lut = map(Path, snakemake.input)
figure_shapes(raw, truth, fragments, lut, Path(snakemake.output.png))
