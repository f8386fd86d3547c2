"""Generate a volume with exact truth. Run by the rule `make_phantom`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.phantoms import write_phantom

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
write_phantom(Path(snakemake.output.raw), Path(snakemake.output.truth), settings=snakemake.params.phantom)
