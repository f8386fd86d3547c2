"""Write the report. Run by the rule `write_report`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.reporting import write_report

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
captions = snakemake.params.captions


def shown(section: str) -> list[tuple[str, str, Path]]:
    """Title, caption and file of every picture of a section of the report."""
    found = []
    for path in map(Path, snakemake.input[section]):
        title = ", ".join(path.parts[-3:-2] if section == "annotation" else path.parts[-4:-2])
        found.append((f"{title}: worst {path.stem}" if section == "errors" else title, captions[section], path))
    return found


tables = ("scores", "best", "worst", "skeletons", "statistics", "filters", "suggestions", "panes")
inputs = {name: [Path(path) for path in snakemake.input[name]] for name in tables}
pictures = {section: shown(section) for section in captions if hasattr(snakemake.input, section)}
for chart in map(Path, snakemake.input.charts):
    pictures[chart.stem] = [(f"All {chart.stem}", captions[f"chart_{chart.stem}"], chart)]
pictures["snapshots"] = [
    (net, captions["snapshots"], Path(path))
    for net, path in zip(snakemake.params.nets, snakemake.input.snapshots, strict=True)
]
write_report(
    Path(snakemake.output.html),
    run=snakemake.params.config["run"],
    config=snakemake.params.config,
    scores=inputs["scores"],
    best=inputs["best"],
    errors=inputs["worst"],
    skeletons=inputs["skeletons"],
    losses=dict(zip(snakemake.params.nets, map(Path, snakemake.input.losses), strict=True)),
    figures=pictures,
    annotation=inputs["statistics"],
    benchmarks=sorted(Path(snakemake.params.benchmarks).rglob("*.tsv")),
    pseudo_truth=inputs["filters"],
    suggestions=inputs["suggestions"],
    panes=inputs["panes"],
    reused={path.parent.name: path for path in map(Path, snakemake.input.reused)},
)
