"""Draw the worst splits and merges. Run by the rule `figure_errors`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.error_pictures import figure_errors
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
raw, truth, fragments, lut, errors = map(Path, snakemake.input)
outputs = {"split": Path(snakemake.output.splits), "merge": Path(snakemake.output.merges)}
figure_errors(raw, truth, fragments, lut, errors, outputs)
