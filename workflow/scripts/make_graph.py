"""Extract a region graph. Run by the rules `make_graph` and `make_graph_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.agglomerating import make_graph
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    make_graph(
        Path(snakemake.input.affinities),
        Path(snakemake.input.fragments),
        output,
        histogram=snakemake.params.histogram,
        long_range=snakemake.params.long_range,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
