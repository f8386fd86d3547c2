"""Look up segments at a threshold. Run by the rule `cut_merge_tree`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.agglomerating import cut_merge_tree
from sparse2dense.stages.evaluating import read_threshold
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
record = snakemake.input.get("threshold")
cut_merge_tree(
    Path(snakemake.input.tree),
    Path(snakemake.output.lut),
    threshold=snakemake.wildcards.threshold if record is None else read_threshold(Path(record)),
)
