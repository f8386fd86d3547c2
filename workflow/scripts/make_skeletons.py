"""Import skeletons of the truth, or make them from dense labels. Run by the rule `make_skeletons`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.skeletonising import import_skeletons, skeletonise_truth

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
truth = snakemake.input.get("truth")
make, source = (import_skeletons, snakemake.input.source) if truth is None else (skeletonise_truth, truth)
make(Path(source), Path(snakemake.input.raw), Path(snakemake.output.skeletons), **snakemake.params.skeletons)
