"""Import an image or labels to OME-Zarr. Run by the rules `import_raw` and `import_labels`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.importing import import_volume
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
raw = snakemake.input.get("raw")
source = Path(snakemake.input.source)
import_volume(
    source / snakemake.params.file if snakemake.params.file else source,
    Path(snakemake.output.volume),
    labels=raw is not None,
    reference=None if raw is None else Path(raw),
    workers=snakemake.threads,
    **snakemake.params.source,
)
