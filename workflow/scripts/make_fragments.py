"""Over-segment a volume. Run by the rule `make_fragments`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.segmenting import make_fragments

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
tissue = snakemake.input.get("tissue")
make_fragments(
    Path(snakemake.input.affinities),
    Path(snakemake.output.fragments),
    mask=None if tissue is None else Path(tissue),
    block_shape=snakemake.params.block,
    context=snakemake.params.context,
    workers=snakemake.threads,
    **snakemake.params.fragments,
)
