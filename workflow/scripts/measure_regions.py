"""Measure regions of sections. Run by the rules `measure_regions` and `measure_regions_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output
from sparse2dense.stages.suggesting import measure_regions

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
given = {name: Path(path) for name, path in snakemake.input.items() if name != "parts"}
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    measure_regions(
        given["raw"],
        given["affinities"],
        given["fragments"],
        given["lut"],
        output,
        mask=given.get("mask"),
        tissue=given.get("tissue"),
        region=snakemake.params.region,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
