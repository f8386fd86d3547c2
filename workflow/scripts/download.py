"""Download the files of a source. Run by the rule `download`."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparse2dense.stages.downloading import download
from sparse2dense.stages.joblog import start_log

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

start_log(Path(snakemake.log[0]))
download(snakemake.params.urls, Path(snakemake.output.files), sha256=snakemake.params.sha256)
