"""Neuroglancer on a run: a server for its files on this machine, or a link to where they lie."""

import json
import signal
import sys
import webbrowser
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sparse2dense.errors import InputError
from sparse2dense.stages.file_server import LOOPBACK, FileServer
from sparse2dense.stages.layers import run_volumes
from sparse2dense.stages.neuroglancer_state import STATE, neuroglancer_link, neuroglancer_state
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["link_to_server", "serve"]


def link_to_server(results: Path, volume: str, base_url: str, client: str) -> str:
    """Write the state of a volume whose run is served at `base_url`; return the link, and what to tell beside it.

    `results` is the folder that the server shows, or a copy of it: the state is made from what lies in it.
    """
    state = neuroglancer_state(results, volume, base_url)
    return f"{write_state(results / volume / STATE, state)}\n{neuroglancer_link(client, state)}\n"


def serve(results: Path, volume: str, port: int, client: str | None, *, browser: bool = True) -> None:
    """Serve a run to Neuroglancer until Ctrl-C; write the state of a volume, print the link and open it.

    Parameters
    ----------
    results, volume
        Folder of a run, and the name of one of its volumes.
    port
        Of the server, 0 for any free one.
    client
        Address of a Neuroglancer; None for the one of the package neuroglancer, which needs no network.
    browser
        Whether the link is opened.

    Raises InputError when the port can't be had, or the package is missing.
    """
    with ExitStack() as stack:
        own = None if client else own_client(stack)
        address = str(own.get_viewer_url()) if own else str(client)
        server = stack.enter_context(FileServer(results, port, [origin(address)]))
        state = neuroglancer_state(results, volume, server.url)
        if own:
            own.set_state(state)
        else:
            address = neuroglancer_link(address, state)
        others = [name for name in run_volumes(results) if name != volume]
        sys.stdout.write(
            f"{write_state(results / volume / STATE, state)}\n{address}\n"
            f"Shown: {volume}. Other volumes: {', '.join(others) or 'none'}.\n"
            f"{results} is served at {server.url}, to this machine only, until Ctrl-C.\n"
        )
        sys.stdout.flush()
        if browser:
            webbrowser.open(address)
        for ending in (signal.SIGINT, signal.SIGTERM):  # a shell in the background lets its commands ignore Ctrl-C
            signal.signal(ending, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.stdout.write("\n")


def origin(address: str) -> str:
    """Return scheme, host and port of an address, as browsers say where a page comes from."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()


def own_client(stack: ExitStack) -> Any:
    """Start the Neuroglancer of the package neuroglancer, and stop it with `stack`; InputError if it is missing."""
    try:
        import neuroglancer
    except ImportError as error:
        raise InputError(
            "the package neuroglancer is not installed",
            allowed="an environment with neuroglancer, or a page with Neuroglancer on the network",
            remedy="pip install neuroglancer, or leave --offline out",
        ) from error
    neuroglancer.set_server_bind_address(LOOPBACK)
    stack.callback(neuroglancer.stop)
    return neuroglancer.Viewer()


def write_state(file: Path, state: Mapping[str, Any]) -> str:
    """Write a state for other programs and later days; return where it is, or why it could not be written."""
    try:
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(state, indent=1) + "\n")
    except OSError as error:  # the results of a colleague, which can only be read
        return f"No state file: {error}"
    return f"State: {file}"
