"""Suggest what to annotate next. Run by the rule `suggest_painting`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.suggesting import suggest_painting

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
suggest_painting(
    dict(zip(snakemake.params.volumes, map(Path, snakemake.input.regions), strict=True)),
    Path(snakemake.output.suggestions),
    count=snakemake.params.at_most,
)
