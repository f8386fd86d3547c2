"""Agglomerate fragments. Run by the rule `make_merge_tree`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.agglomerating import make_merge_tree
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
make_merge_tree(
    Path(snakemake.input.graph), Path(snakemake.output.tree), merge_function=snakemake.params.merge_function
)
