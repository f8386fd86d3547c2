"""Look up segments at a threshold. Run by the rule `cut_merge_tree`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.segmenting import cut_tree

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
cut_tree(
    Path(snakemake.input.tree),
    Path(snakemake.input.fragments),
    Path(snakemake.output.lut),
    threshold=snakemake.wildcards.threshold,
)
