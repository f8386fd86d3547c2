"""Count links of fragments by far affinities. Run by the rules `count_links` and `count_links_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.disagreeing import count_links
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    count_links(
        Path(snakemake.input.affinities),
        Path(snakemake.input.fragments),
        output,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
