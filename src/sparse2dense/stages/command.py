"""The command `sparse2dense`: before and beside Snakemake, which runs everything.

sparse2dense new config/mine.yaml --raw data/crop.tif --painted data/painted.tif
sparse2dense status results/mine
sparse2dense view results/mine
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from sparse2dense.errors import InputError

__all__ = ["check_view", "command_parser", "main"]

CLIENT = "https://neuroglancer-demo.appspot.com/"
PORT = 8765


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, those of the command line by default; return its exit status."""
    given = command_parser().parse_args(arguments)
    try:
        if given.command == "view":
            view(given)
        else:
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
    add_view(commands.add_parser("view", help="show a run in Neuroglancer or napari"))
    return parser


def add_view(show: argparse.ArgumentParser) -> None:
    """Declare what `view` is told."""
    show.add_argument("results", type=Path, help="results/<run>")
    show.add_argument("volume", nargs="?", help="default: the volume of which most can be shown")
    show.add_argument("--viewer", choices=("neuroglancer", "napari"), default="neuroglancer")
    show.add_argument("--port", type=int, help=f"of the server on this machine; default: {PORT}, 0: any free one")
    show.add_argument("--no-browser", action="store_true", help="only print the link")
    show.add_argument("--base-url", metavar="URL", help="where results/<run> lies on a server: only make the link")
    where = show.add_mutually_exclusive_group()
    where.add_argument("--client", metavar="URL", help=f"a page with Neuroglancer; default: {CLIENT}")
    where.add_argument(
        "--offline", action="store_true", help="the Neuroglancer of the package neuroglancer, without a network"
    )


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


def view(given: argparse.Namespace) -> None:
    """Show a run, until the viewer is closed or Ctrl-C is pressed."""
    from sparse2dense.stages.layers import choose_volume

    check_view(given)
    volume = choose_volume(given.results, given.volume)
    if given.viewer == "napari":
        from sparse2dense.stages.napari_layers import open_napari

        open_napari(given.results, volume)
        return
    from sparse2dense.stages.serving import link_to_server, serve

    client = given.client or CLIENT
    if given.base_url:
        sys.stdout.write(link_to_server(given.results, volume, given.base_url, client))
        return
    port = PORT if given.port is None else given.port
    serve(given.results, volume, port, None if given.offline else client, browser=not given.no_browser)


def check_view(given: argparse.Namespace) -> None:
    """Raise InputError for options of `view` that would do nothing, and for addresses that are none."""
    taken = {"port", "no_browser", "base_url", "client", "offline"}
    if given.viewer == "napari":
        way, used = "--viewer napari", set[str]()
    elif given.base_url:
        way, used = "--base-url", {"base_url", "client"}
    else:
        way, used = "the server on this machine", taken
    unset = (None, False)
    idle = [name for name in sorted(taken - used) if not any(getattr(given, name) is value for value in unset)]
    if idle:
        raise InputError(
            f"{' and '.join(map(option, idle))} beside {way}",
            allowed=", ".join(map(option, sorted(used))) or "no further option",
            remedy="leave it out: it would do nothing",
        )
    for name in ("base_url", "client"):
        address = getattr(given, name)
        if address and not re.match(r"[a-z][a-z0-9+.-]*://[^/#]", address):
            raise InputError(
                f"{option(name)} {address} is no address",
                allowed="https://host/folder, or gs:// and s3:// for data",
                remedy="give the whole address, from https:// on",
            )


def option(name: str) -> str:
    """Return how an option is written on the command line."""
    return f"--{name.replace('_', '-')}"


if __name__ == "__main__":
    sys.exit(main())
