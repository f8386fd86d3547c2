"""Train a 3D net on raw. Run by the rules `train_3d_bootstrapped` and `train_3d_baseline`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_volume

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    start_log(Path(snakemake.log[0]))
    kinds = (snakemake.input.raw, snakemake.input.labels, snakemake.input.mask)
    triples = zip(*(map(Path, paths) for paths in kinds), strict=True)
    train_volume(
        dict(zip(snakemake.params.volumes, triples, strict=True)),
        TrainingOutputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        settings=snakemake.params.net,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
