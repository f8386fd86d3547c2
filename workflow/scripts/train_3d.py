"""Train a 3D net. Run by the rules `train_3d_bootstrapped`, `train_3d_baseline`, and those of their first nets."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.gpus import take_gpus
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_volume
from sparse2dense.stages.training_group import share_training

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    start_log(Path(snakemake.log[0]))
    gpus = take_gpus(snakemake.resources.gpu)
    kinds = (snakemake.input.raw, snakemake.input.labels, snakemake.input.mask)
    weights = snakemake.params.weights
    triples = zip(*(map(Path, paths) for paths in kinds), strict=True)
    descriptors = map(Path, snakemake.input.descriptors)
    share_training(
        gpus,
        train_volume,
        dict(zip(weights, triples, strict=True)),
        TrainingOutputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        settings=snakemake.params.net,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        weights=weights,
        descriptors=dict(zip(weights, descriptors, strict=False)),  # none for a net on raw alone
    )
