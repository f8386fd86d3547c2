"""Draw a chart of the whole run. Run by the rules `figure_scores`, `figure_losses` and `figure_resources`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages import charts
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
output = Path(snakemake.output.png)
match snakemake.params.figure:
    case "scores":
        scores, best = ([Path(path) for path in snakemake.input[name]] for name in ("scores", "best"))
        charts.figure_scores(scores, output, best)
    case "losses":
        losses = dict(zip(snakemake.params.nets, map(Path, snakemake.input.losses), strict=True))
        charts.figure_losses(losses, output)
    case "resources":
        charts.figure_resources(sorted(Path(snakemake.params.benchmarks).rglob("*.tsv")), output)
