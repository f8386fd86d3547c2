"""Draw the picture of a stage. Run by the rules `figure_*`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages import figures
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
paths = {name: Path(path) for name, path in snakemake.input.items() if isinstance(path, str)}
output = Path(snakemake.output.png)
match snakemake.params.figure:
    case "annotation":
        figures.figure_annotation(paths["raw"], paths["labels"], paths["mask"], output)
    case "prediction":
        stacked = dict(zip(snakemake.params.stacked, map(Path, snakemake.input.stacked), strict=True))
        figures.figure_prediction(paths["raw"], stacked.get("affinities"), stacked.get("descriptors"), output)
    case "affinities":
        figures.figure_affinities(paths["raw"], paths["affinities"], output)
    case "fragments":
        figures.figure_fragments(paths["raw"], paths["fragments"], output)
    case "segmentation":
        figures.figure_segmentation(paths["raw"], paths["segmentation"], paths.get("truth"), output)
    case "pseudo_truth":
        figures.figure_pseudo_truth(
            paths["raw"], paths["segmentation"], paths["pseudo_truth"], output, counts=paths["counts"]
        )
    case "paint_next":
        figures.figure_paint_next(
            paths["raw"], paths["affinities"], paths["suggestions"], output, volume=snakemake.wildcards.volume
        )
