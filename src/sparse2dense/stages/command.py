"""The command `sparse2dense`: before and beside Snakemake, which runs everything.

sparse2dense new config/mine.yaml --raw data/crop.tif --painted data/painted.tif
sparse2dense status results/mine
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparse2dense.errors import InputError

__all__ = ["command_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, those of the command line by default; return its exit status."""
    given = command_parser().parse_args(arguments)
    try:
        sys.stdout.write(new(given) if given.command == "new" else status(given))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def command_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(prog="sparse2dense", description="Beside Snakemake: begin a run, look at one.")
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("new", help="write a configuration for an image with painted sections")
    begin.add_argument("config", type=Path, help="the file to write; its name becomes that of the run")
    begin.add_argument("--raw", type=Path, required=True, help="the image: TIFF, PNG sections, HDF5, Zarr, N5, NumPy")
    begin.add_argument("--painted", type=Path, required=True, help="its labels, 0 where nothing is painted")
    begin.add_argument("--raw-dataset", help="array of the image in HDF5, Zarr, N5 or NPZ, where there are several")
    begin.add_argument("--painted-dataset", help="array of the labels")
    begin.add_argument(
        "--voxel-size", type=float, nargs=3, metavar=("Z", "Y", "X"), help="nm, where the files don't say it"
    )
    begin.add_argument("--nets", choices=("gpu", "cpu"), help="what trains the nets; default: what this machine has")
    look = commands.add_parser("status", help="say how far a run is; needs no lock, changes nothing")
    look.add_argument("results", type=Path, nargs="?", help="results/<run>; default: the run that wrote last")
    return parser


def new(given: argparse.Namespace) -> str:
    """Write a configuration; return what to tell."""
    from sparse2dense.stages.first_config import check_place, has_gpu, write_first_config
    from sparse2dense.stages.surveying import survey

    check_place(given.config)
    found = survey(
        given.raw,
        given.painted,
        raw_dataset=given.raw_dataset,
        painted_dataset=given.painted_dataset,
        voxel_size=given.voxel_size,
    )
    gpu = has_gpu() if given.nets is None else given.nets == "gpu"
    return write_first_config(given.config, found, gpu=gpu)


def status(given: argparse.Namespace) -> str:
    """Look at a run; return what to tell."""
    from sparse2dense.stages.run_status import latest_run, run_status, status_text

    return status_text(run_status(given.results or latest_run(Path("results"))))


if __name__ == "__main__":
    sys.exit(main())
