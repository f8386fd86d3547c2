"""Write sections of a test volume side by side. Run by the rule `figure_side_by_side`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.side_by_side import write_panes

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
fragments, luts = (
    dict(zip(snakemake.params.tracks, map(Path, snakemake.input[name]), strict=True)) for name in ("fragments", "luts")
)
write_panes(Path(snakemake.input.raw), Path(snakemake.input.truth), fragments, luts, Path(snakemake.output.directory))
