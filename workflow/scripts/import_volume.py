"""Import an image or labels to OME-Zarr. Run by the rules `import_raw` and `import_labels`, and their parts."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.importing import import_volume
from sparse2dense.stages.joblog import start_log
from sparse2dense.stages.scattering import shared_output

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
raw = snakemake.input.get("raw")
source = Path(snakemake.input.source)
with shared_output(Path(snakemake.output[0]), snakemake.input.get("parts", ())) as (output, part):
    import_volume(
        source / snakemake.params.file if snakemake.params.file else source,
        output,
        labels=raw is not None,
        reference=None if raw is None else Path(raw),
        workers=snakemake.threads,
        part=part,
        **snakemake.params.source,
    )
