"""Apply a net to a volume. Run by the rules `predict_2d`, `predict_2d_to_3d` and `predict_3d`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.predicting import predict

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
predict(
    dict(zip(snakemake.params.inputs, map(Path, snakemake.input.volumes), strict=True)),
    Path(snakemake.input.checkpoint),
    dict(zip(snakemake.params.outputs, map(Path, snakemake.output), strict=True)),
    block_shape=snakemake.params.block,
    threads=snakemake.threads,
)
