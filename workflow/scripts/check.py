"""Check the input of a run. Run by the rule `check`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.checking import check_run
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
check_run(snakemake.params.config, Path(snakemake.output.json))
