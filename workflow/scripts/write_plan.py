"""Write the plan of a run. Run by the rule `write_plan`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.memory import Allowance
from sparse2dense.stages.planning import write_plan
from sparse2dense.stages.rates import Rate

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
given = snakemake.params.allowances
write_plan(
    Path(snakemake.output.text),
    snakemake.params.config,
    snakemake.params.found,
    {name: Allowance(**one) if one else None for name, one in given.items()},
    {stage: Rate(**one) for stage, one in snakemake.params.rates.items()},
)
