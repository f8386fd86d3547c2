"""Choose the threshold of a track. Run by the checkpoint `choose_threshold`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.evaluating import choose_threshold
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
choose_threshold(
    [Path(path) for path in snakemake.input.scores],
    [Path(path) for path in snakemake.input.sweeps],
    Path(snakemake.output.json),
    merge_weight=snakemake.params.merge_weight,
    choose_by=snakemake.params.choose_by,
)
