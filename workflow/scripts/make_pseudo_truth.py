"""Filter a segmentation to pseudo ground truth. Run by the rule `make_pseudo_truth`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.pseudo_truth import make_pseudo_truth

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
make_pseudo_truth(
    Path(snakemake.input.segmentation),
    Path(snakemake.output.pseudo_truth),
    Path(snakemake.output.mask),
    Path(snakemake.output.counts),
    block_shape=snakemake.params.block,
    workers=snakemake.threads,
    **snakemake.params.filters,
)
