"""Train the 2D net. Run by the rule `train_2d`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.gpus import take_gpus
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_sections
from sparse2dense.stages.training_group import share_training

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    start_log(Path(snakemake.log[0]))
    gpus = take_gpus(snakemake.resources.gpu)
    validation = snakemake.params.validation
    share_training(
        gpus,
        train_sections,
        dict(zip(validation, map(Path, snakemake.input.sections), strict=True)),
        TrainingOutputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        settings=snakemake.params.net,
        validation=validation,
        weights=snakemake.params.weights,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
