"""Find the best threshold of a volume. Run by the rule `find_best`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.evaluating import find_best
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
find_best(
    Path(snakemake.input.scores),
    Path(snakemake.input.chosen),
    Path(snakemake.input.sweep),
    Path(snakemake.output.json),
)
