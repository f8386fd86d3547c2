"""A web server on this machine alone, for the files of one folder: what Neuroglancer reads volumes from."""

import re
import sys
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from sparse2dense.errors import InputError

__all__ = ["LOOPBACK", "FileServer", "byte_range", "confined"]

LOOPBACK = "127.0.0.1"
PIECE = 1 << 20


class FileServer(ThreadingHTTPServer):
    """Serves the files of a folder on the loopback address, to GET and HEAD, whole or a range of bytes.

    Nothing outside the folder is served, neither by `..` nor through a link that leads out, and no listings. Only pages
    of `origins` may read the answers (CORS), and only requests that name this machine are answered: a page of another
    site, which knows a name that leads here, learns nothing.

    Parameters
    ----------
    folder
        What is served.
    port
        0 for any free one.
    origins
        Scheme, host and port of the pages that may read: `https://neuroglancer-demo.appspot.com`.

    Raises InputError when the port can't be had.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0, origins: Sequence[str] = ()) -> None:
        try:
            super().__init__((LOOPBACK, port), partial(_Answer, folder=folder.resolve(), origins=tuple(origins)))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"port {port} can't be used: {error}",
                allowed="a number from 1024 to 65535 that no other program uses",
                remedy="give another one with --port",
            ) from error

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a browser no longer wants what it asked for."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """The address of the folder."""
        return f"http://{LOOPBACK}:{self.server_port}"


def confined(folder: Path, target: str) -> Path | None:
    """Return the file of `folder` that the target of a request names, links resolved; None for all that isn't one.

    `folder` itself has no links in it. Escapes are decoded once, as the standard says.
    """
    names = unquote(target.partition("?")[0]).split("/")
    if ".." in names:
        return None
    try:
        path = folder.joinpath(*(name for name in names if name)).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, links in a circle, a zero byte
        return None


def byte_range(header: str | None, size: int) -> range | None:
    """Return the bytes of a file of `size` bytes that a `Range` header asks for; empty where it has none of them.

    None where all are asked for: without a header, with one that can't be read or names several ranges, which a server
    may answer with the whole (RFC 9110, 14.2).
    """
    asked = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header or "", re.ASCII)
    if asked is None or not any(asked.groups()):
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


class _Answer(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"  # a connection serves many chunks

    def __init__(self, *arguments: object, folder: Path, origins: Sequence[str]) -> None:
        self.folder, self.origins = folder, origins
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send a file, or a part of it."""
        self.answer()

    def do_HEAD(self) -> None:
        """Send what is known of a file."""
        self.answer()

    def do_OPTIONS(self) -> None:
        """Tell a browser what it may ask for."""
        self.head(HTTPStatus.NO_CONTENT, 0)

    def answer(self) -> None:
        """Answer GET and HEAD."""
        path = confined(self.folder, self.path)
        if not self.names_this_machine():
            self.head(HTTPStatus.FORBIDDEN, 0)
            return
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None:
            self.head(HTTPStatus.NOT_FOUND, 0)  # a chunk of zeros has no file: half of all requests may end here
            return
        with file:
            self.send(file, guess_type(str(path))[0] or "application/octet-stream")

    def send(self, file: BinaryIO, kind: str) -> None:
        """Send what is asked for of an open file."""
        size = file.seek(0, 2)
        asked = byte_range(self.headers["Range"], size)
        if asked is not None and not asked:
            self.head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, {"Content-Range": f"bytes */{size}"})
            return
        part = range(size) if asked is None else asked
        facts = {"Content-Type": kind}
        if asked is not None:
            facts["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        self.head(HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT, len(part), facts)
        if self.command == "HEAD":
            return
        file.seek(part.start)
        for left in range(len(part), 0, -PIECE):
            self.wfile.write(file.read(min(left, PIECE)))

    def names_this_machine(self) -> bool:
        """Whether the request was made to this machine by a name of its own; its port may be that of a tunnel."""
        return re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", self.headers["Host"] or "") is not None

    def head(self, status: HTTPStatus, length: int, facts: dict[str, str] | None = None) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        origin = self.headers["Origin"]
        if origin in self.origins:
            self.send_header("Access-Control-Allow-Origin", origin)
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
            self.send_header("Access-Control-Allow-Headers", "Range")
            self.send_header("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range")
            self.send_header("Access-Control-Allow-Private-Network", "true")  # a public page may ask this machine
        self.send_header("Vary", "Origin")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")  # a run may make the file again
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(length))
        for name, value in (facts or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: there are thousands of requests."""
