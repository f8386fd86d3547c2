"""Check and copy a trained net. Run by the rule `reuse_net`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.reusing import reuse_net

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
source = Path(snakemake.input.source)
reuse_net(
    source / snakemake.params.file if snakemake.params.file else source,
    Path(snakemake.output.checkpoint),
    Path(snakemake.output.record),
    name=snakemake.params.key,
    settings=snakemake.params.settings,
    section_settings=snakemake.params.section,
    voxel_sizes=snakemake.params.voxel_sizes,
)
