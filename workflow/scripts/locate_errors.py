"""List the worst errors, or mark all of them. Run by the rules `rank_errors` and `write_errors`, and by their parts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.comparing import Comparison
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.locating import rank_errors, write_error_volume
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
mask = snakemake.input.get("mask")
compared = Comparison(
    Path(snakemake.input.fragments),
    Path(snakemake.input.truth),
    snakemake.params.border,
    snakemake.params.reach,
    None if mask is None else Path(mask),
)
locate: Callable[..., None] = rank_errors if snakemake.params.result == "table" else write_error_volume
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    locate(
        compared,
        Path(snakemake.input.overlaps),
        Path(snakemake.input.lut),
        output,
        block_shape=snakemake.params.block,
        workers=snakemake.threads,
        part=part,
    )
