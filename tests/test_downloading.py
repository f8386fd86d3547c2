"""Files arrive whole, with the right checksum, or not at all."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.downloading import download, expand_url, file_name

FILES = {"/a.bin": b"a" * 3_000_000, "/b.bin": b"b", "/dir/c%20d.png": b"c"}


class Server:
    """A server on this machine whose answers can be spoilt."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.spoilt: Callable[[str, int], int | None] = lambda path, count: None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                body = FILES.get(self.path)
                spoilt = outer.spoilt(self.path, outer.asked.count(self.path))
                status = spoilt if spoilt not in (None, 0) else 200 if body is not None else 404
                self.send_response(status or 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if body is not None:
                    self.wfile.write(body[: len(body) // 2] if spoilt == 0 else body)

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server; proxies of this machine are passed by."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()


def sums(*paths: str) -> list[str]:
    return [hashlib.sha256(FILES[path]).hexdigest() for path in paths]


def test_files_arrive_whole(server: Server, tmp_path: Path) -> None:
    download([server.url(path) for path in FILES], tmp_path / "files", sums(*FILES))
    assert {file.name: file.read_bytes() for file in (tmp_path / "files").iterdir()} == {
        "a.bin": FILES["/a.bin"], "b.bin": b"b", "c d.png": b"c",
    }  # fmt: skip


@pytest.mark.parametrize("failure", [500, 503, 429, 0])
def test_errors_that_pass_are_waited_out(server: Server, tmp_path: Path, failure: int) -> None:
    server.spoilt = lambda path, count: failure if count <= 2 else None
    download([server.url("/a.bin")], tmp_path / "files", first_wait_seconds=0.01)
    assert (tmp_path / "files" / "a.bin").read_bytes() == FILES["/a.bin"]
    assert len(server.asked) == 3


def test_what_is_not_there_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.bin can't be fetched: the server answered 404"):
        download([server.url("/none.bin")], tmp_path / "files", first_wait_seconds=0.01)
    assert len(server.asked) == 1
    assert not (tmp_path / "files").exists()


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"its sha256 is {sums('/b.bin')[0]}, not {'0' * 64}"):
        download([server.url("/b.bin")], tmp_path / "files", ["0" * 64], retries=1, first_wait_seconds=0.01)
    assert len(server.asked) == 2
    assert not (tmp_path / "files").exists()


def test_files_that_arrived_before_are_kept(server: Server, tmp_path: Path) -> None:
    urls = [server.url(path) for path in ("/a.bin", "/b.bin")]
    server.spoilt = lambda path, count: 404 if path == "/b.bin" and count == 1 else None
    with pytest.raises(InputError):
        download(urls, tmp_path / "files", first_wait_seconds=0.01)
    download(urls, tmp_path / "files", first_wait_seconds=0.01)
    assert server.asked == ["/a.bin", "/b.bin", "/b.bin"]
    assert sorted(file.name for file in (tmp_path / "files").iterdir()) == ["a.bin", "b.bin"]


def test_without_a_network_the_url_and_the_way_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/x\.png can't be fetched: no connection") as caught:
        download(["http://127.0.0.1:9/x.png"], tmp_path / "files", retries=1, first_wait_seconds=0.01)
    assert "give `path` instead of `url`" in caught.value.remedy


def test_files_of_this_machine_have_urls_too(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("x")
    download([(tmp_path / "a b.txt").as_uri()], tmp_path / "files")
    assert (tmp_path / "files" / "a b.txt").read_text() == "x"
    with pytest.raises(InputError, match=r"none\.txt can't be fetched"):
        download([(tmp_path / "none.txt").as_uri()], tmp_path / "more")


@pytest.mark.parametrize("urls", [["ftp://host/a"], ["http://host/"], ["http://one/a", "http://two/a"]])
def test_addresses_that_lead_nowhere_are_refused(tmp_path: Path, urls: list[str]) -> None:
    with pytest.raises(InputError, match=r"url|URLs"):
        download(urls, tmp_path / "files")


def test_every_file_needs_a_checksum_or_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 URLs of 2 files, 1 checksums"):
        download(["http://host/a", "http://host/b"], tmp_path / "files", ["0" * 64])


def test_a_numbered_series_is_spelt_out() -> None:
    assert expand_url("https://host/iso.{2608..2611}.png") == [f"https://host/iso.{n}.png" for n in range(2608, 2612)]
    assert expand_url("https://host/{008..010}") == ["https://host/008", "https://host/009", "https://host/010"]
    assert expand_url("https://host/{0..1}/{3..4}") == [f"https://host/{a}/{b}" for a in (0, 1) for b in (3, 4)]
    assert expand_url("https://host/a.h5") == ["https://host/a.h5"]
    with pytest.raises(InputError, match="empty"):
        expand_url("https://host/{4..3}")


def test_the_name_of_a_file_is_the_last_part_of_its_path() -> None:
    assert file_name("https://host/dir/a%20b.png?token=1") == "a b.png"
