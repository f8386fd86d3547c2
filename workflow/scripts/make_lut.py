"""Look up segments at a threshold. Run by the rule `make_lut`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.agglomerating import make_lut
from sparse2dense.stages.evaluating import read_threshold
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
record = snakemake.input.get("threshold")
make_lut(
    Path(snakemake.input.partitions),
    Path(snakemake.output.lut),
    threshold=snakemake.wildcards.threshold if record is None else read_threshold(Path(record)),
    repulsion=snakemake.params.repulsion,
)
