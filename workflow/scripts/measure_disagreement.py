"""Judge objects and sections without truth. Run by `measure_disagreement` and `measure_disagreement_part`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.disagreeing import measure_disagreement
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (objects, part):
    measure_disagreement(
        Path(snakemake.input.fragments),
        Path(snakemake.input.lut),
        {name: Path(snakemake.input[name]) for name in snakemake.params.predictions},
        (objects, objects.with_name("sections.csv")),
        downsample=snakemake.params.downsample,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
