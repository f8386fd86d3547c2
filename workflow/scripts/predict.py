"""Apply a net to a volume. Run by `predict_2d`, `predict_2d_to_3d`, `predict_3d`, `predict_3d_lsd`, their parts."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.gpus import take_gpus
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.predicting import predict
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
take_gpus(snakemake.resources.gpu)
first_member, *members = map(Path, snakemake.input.checkpoint)
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (first, part):
    predict(
        dict(zip(snakemake.params.inputs, map(Path, snakemake.input.volumes), strict=True)),
        first_member,
        {head: first.with_name(name) for head, name in snakemake.params.outputs.items()},
        members=members,
        **snakemake.params.how,
        block_shape=snakemake.params.block,
        threads=snakemake.threads,
        part=part,
    )
