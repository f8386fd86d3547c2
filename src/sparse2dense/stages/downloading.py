"""Fetch files by URL: atomic, with checksums, and going on after an interruption."""

import hashlib
import itertools
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import requests

from sparse2dense.errors import InputError
from sparse2dense.volumes.blockwise import run_blockwise
from sparse2dense.volumes.grid import Block, blocks
from sparse2dense.volumes.replacing import atomic_file

__all__ = ["checksum", "download", "expand_url", "file_name"]

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
TEMPORARY = {408, 425, 429}
"""HTTP status below 500 that may pass."""


def expand_url(template: str) -> list[str]:
    """Return the URLs of a numbered series: `iso.{2600..2849}.png`, `{001..250}` keeps its zeros.

    A template without such a range is one URL.
    """
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", template)
    ranges = []
    for first, last in zip(parts[1::3], parts[2::3], strict=True):
        if int(last) < int(first):
            raise InputError(
                f"url {template}: {{{first}..{last}}} is empty", allowed="{first..last}", remedy="swap the two numbers"
            )
        width = len(first) if first.startswith("0") else 1
        ranges.append([str(number).zfill(width) for number in range(int(first), int(last) + 1)])
    fixed = parts[::3]
    return ["".join(itertools.chain(*zip(fixed, (*chosen, ""), strict=True))) for chosen in itertools.product(*ranges)]


def file_name(url: str) -> str:
    """Return the name under which a URL's file is stored: the last part of its path."""
    return unquote(urlsplit(url).path).rsplit("/", 1)[-1]


def download(
    urls: Sequence[str],
    destination: Path,
    sha256: Sequence[str] | None = None,
    retries: int = 4,
    first_wait_seconds: float = 1.0,
) -> None:
    """Fetch files into a directory; files that an earlier attempt fetched are kept.

    Parameters
    ----------
    urls
        http, https or file URLs.
    destination
        The directory; it appears when all files are there.
    sha256
        Checksum of every file, in the order of `urls`.
    retries
        How often to try again after an error that may pass: no connection, status 5xx or 429, a wrong checksum.
    first_wait_seconds
        Before the first retry; every further wait is four times as long.

    Raises
    ------
    InputError
        When a file can't be had.
    """
    names = [file_name(url) for url in urls]
    wrong = [url for url in urls if urlsplit(url).scheme not in ("http", "https", "file") or not file_name(url)]
    if wrong or len(set(names)) < len(names) or (sha256 is not None and len(sha256) != len(urls)):
        raise InputError(
            f"url {wrong[0]}"
            if wrong
            else f"{len(urls)} URLs of {len(set(names))} files, {len(sha256 or ())} checksums",
            allowed="http, https and file URLs of files with different names, and one sha256 for each or none",
            remedy="correct `url` and `sha256` in the config",
        )

    def create(paths: Sequence[Path]) -> None:
        paths[0].mkdir()

    def work(paths: Sequence[Path], block: Block) -> None:
        expected = sha256[block.index].lower() if sha256 is not None else None
        fetch(urls[block.index], paths[0] / names[block.index], expected, retries, first_wait_seconds)

    run_blockwise(
        destination,
        {"urls": urls, "sha256": sha256},
        create,
        work,
        blocks((len(urls),), (1,)),
        label=f"download {destination.parent.name}",
    )


def fetch(url: str, path: Path, sha256: str | None, retries: int, first_wait_seconds: float) -> None:
    """Fetch one file, again and again if need be."""
    problem = ""
    for attempt in range(retries + 1):
        if attempt > 0:
            time.sleep(first_wait_seconds * 4 ** (attempt - 1))
        try:
            with atomic_file(path) as file:
                copy(url, file)
                found = checksum(file)
                if sha256 is not None and found != sha256:
                    raise Mismatch(f"its sha256 is {found}, not {sha256}")
            return
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 500
            problem = f"the server answered {status}"
            if status < 500 and status not in TEMPORARY:
                break
        except requests.RequestException as error:
            problem = f"no connection: {error}"
        except FileNotFoundError as error:
            problem = str(error)
            break
        except Mismatch as error:
            problem = str(error)
    raise InputError(
        f"{url} can't be fetched: {problem}",
        allowed="a reachable file with the stated checksum",
        remedy="check network and URL; or fetch it elsewhere and give `path` instead of `url` in the config",
    )


class Mismatch(Exception):
    """A file arrived, but not the expected one."""


def copy(url: str, file: Path) -> None:
    """Copy what a URL leads to into a file, piece by piece."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        shutil.copyfile(url2pathname(parts.path), file)
        return
    with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        with file.open("wb") as stream:
            for piece in answer.iter_content(2**20):
                stream.write(piece)


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
