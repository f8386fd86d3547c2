"""Measure how wrong the 2D net is. Run by the rule `measure_errors`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.measuring_errors import measure_errors

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
validation = snakemake.params.validation
measure_errors(
    Path(snakemake.input.checkpoint),
    dict(zip(validation, map(Path, snakemake.input.sections), strict=True)),
    Path(snakemake.output.errors),
    settings=snakemake.params.net,
    validation=validation,
    read=snakemake.params.read,
)
