"""Write what was found in the input. Run by the rule `write_check`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.input_table import write_check
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
write_check(
    Path(snakemake.output.json),
    Path(snakemake.output.text),
    snakemake.params.config,
    snakemake.params.found,
    snakemake.params.seen,
)
