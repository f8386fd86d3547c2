"""Train the 2D-to-3D net. Run by the rule `train_2d_to_3d`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.gpus import take_gpus
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.measuring_errors import read_errors
from sparse2dense.stages.trainer import TrainingOutputs
from sparse2dense.stages.training import train_lift
from sparse2dense.stages.training_group import share_training

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

if __name__ == "__main__":
    start_log(Path(snakemake.log[0]))
    gpus = take_gpus(snakemake.resources.gpu)
    share_training(
        gpus,
        train_lift,
        TrainingOutputs(**{name: Path(path) for name, path in snakemake.output.items()}),
        settings=snakemake.params.net,
        section_settings=snakemake.params.stacked,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        degradation=read_errors(Path(snakemake.input.errors)) if snakemake.input.errors else None,
    )
