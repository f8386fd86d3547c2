"""Over-segment a volume. Run by the rules `make_fragments` and `make_fragments_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output
from sparse2dense.stages.segmenting import make_fragments

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
tissue = snakemake.input.get("tissue")
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    make_fragments(
        Path(snakemake.input.affinities),
        output,
        mask=None if tissue is None else Path(tissue),
        block_shape=snakemake.params.block,
        context=snakemake.params.context,
        workers=snakemake.threads,
        part=part,
        **snakemake.params.fragments,
    )
