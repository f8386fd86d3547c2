"""The server for viewers: whole files and ranges to this machine's pages, and nothing from outside the folder."""

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.file_server import FileServer, byte_range, confined

ORIGIN = "https://viewer.example.org"
BYTES = bytes(range(256)) * 9
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file and links, beside a secret."""
    outside = tmp_path_factory.mktemp("place")
    (outside / "secret").write_text("secret")
    inside = outside / "run"
    (inside / "crop/0").mkdir(parents=True)
    (inside / "crop/0/chunk").write_bytes(BYTES)
    (inside / "empty").touch()
    (inside / "a name with #, % and é").write_text("found")
    (inside / "link_out").symlink_to(outside / "secret")
    (inside / "folder_out").symlink_to(outside)
    (inside / "link_in").symlink_to("crop/0/chunk")
    (inside / "circle").symlink_to("circle")
    os.mkfifo(inside / "pipe")
    (outside / "run_beside").mkdir()
    (outside / "run_beside/secret").write_text("secret")
    return inside


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[FileServer]:
    with FileServer(folder, origins=[ORIGIN]) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: FileServer, target: str, method: str = "GET", **headers: str) -> Answer:
    """The answer to a request whose target is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, target, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_files_are_sent_whole(server: FileServer) -> None:
    status, headers, body = ask(server, "/crop/0/chunk")
    assert (status, body) == (200, BYTES)
    assert headers["Content-Length"] == str(len(BYTES))
    assert headers["Accept-Ranges"] == "bytes"
    assert ask(server, "/link_in?version=3")[2] == BYTES
    assert ask(server, "/empty")[::2] == (200, b"")
    assert ask(server, "/a%20name%20with%20%23%2C%20%25%20and%20%C3%A9")[2] == b"found"


def test_head_tells_the_length_and_sends_nothing(server: FileServer) -> None:
    status, headers, body = ask(server, "/crop/0/chunk", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(BYTES)))
    status, headers, body = ask(server, "/crop/0/chunk", "HEAD", Range="bytes=1-5")
    assert (status, body, headers["Content-Length"]) == (206, b"", "5")


@pytest.mark.parametrize(
    "target",
    [
        "/../secret",
        "/crop/../../secret",
        "/%2e%2e/secret",
        "/.%2E/secret",
        "/%2e%2e%2fsecret",
        "/%252e%252e/secret",
        "/crop/..%2f..%2fsecret",
        "/..\\secret",
        "/link_out",
        "/folder_out/secret",
        "/folder_out/run_beside/secret",
        "/../run_beside/secret",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "file:///etc/passwd",
        "/etc/passwd",
        "/circle",
        "/pipe",
        "/crop%00",
        "/" + "x" * 5000,
        "/crop",
        "/",
        "",
    ],
)
def test_nothing_else_is_served(server: FileServer, folder: Path, target: str) -> None:
    """Neither what lies outside, by whatever way, nor folders, nor what isn't a file."""
    assert confined(folder, target) is None
    status, _, body = ask(server, target or "/")
    assert (status, body) == (404, b"")


def test_a_missing_chunk_is_missing_and_the_connection_goes_on(server: FileServer) -> None:
    """A chunk of zeros has no file; Neuroglancer asks for the next one on the same connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    statuses = []
    for target in ("/crop/0/other", "/crop/0/chunk", "/crop/0/other"):
        connection.request("GET", target, headers={"Origin": ORIGIN})
        answer = connection.getresponse()
        answer.read()
        statuses.append((answer.status, answer.headers["Access-Control-Allow-Origin"]))
    connection.close()
    assert statuses == [(404, ORIGIN), (200, ORIGIN), (404, ORIGIN)]


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2300-", 2300, 2304),
        ("bytes=-7", 2297, 2304),
        ("bytes=-99999", 0, 2304),
        ("bytes=2300-99999", 2300, 2304),
    ],
)
def test_ranges(server: FileServer, header: str, start: int, stop: int) -> None:
    status, headers, body = ask(server, "/crop/0/chunk", Range=header)
    assert (status, body) == (206, BYTES[start:stop])
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/2304"
    assert headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("header", ["bytes=2304-", "bytes=2304-2305", "bytes=-0", "bytes=99999999999-"])
def test_ranges_beyond_the_end_are_refused(server: FileServer, header: str) -> None:
    status, headers, body = ask(server, "/crop/0/chunk", Range=header)
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(BYTES)}")


@pytest.mark.parametrize(
    "header", ["bytes=5-4", "bytes=0-1,4-5", "bytes=-", "lines=0-1", "bytes=a-b", f"bytes=0-{'9' * 9000}"]
)
def test_ranges_that_cannot_be_read_give_the_whole(server: FileServer, header: str) -> None:
    assert ask(server, "/crop/0/chunk", Range=header)[::2] == (200, BYTES)


def test_ranges_of_an_empty_file() -> None:
    assert byte_range(None, 0) is None
    for header in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        found = byte_range(header, 0)
        assert found is not None
        assert len(found) == 0


def test_the_page_may_read_and_others_may_not(server: FileServer) -> None:
    allowed = "Access-Control-Allow-Origin"
    for target in ("/crop/0/chunk", "/nothing"):
        assert ask(server, target, Origin=ORIGIN)[1][allowed] == ORIGIN
        for other in ("https://evil.example.org", "null", ORIGIN + ".evil.org"):
            assert allowed not in ask(server, target, Origin=other)[1]
    status, headers, _ = ask(
        server, "/crop/0/chunk", "OPTIONS", Origin=ORIGIN, **{"Access-Control-Request-Headers": "range"}
    )
    assert status == 204
    assert headers["Access-Control-Allow-Headers"] == "Range"
    assert "Content-Range" in headers["Access-Control-Expose-Headers"]
    assert headers["Access-Control-Allow-Private-Network"] == "true"


def test_only_requests_that_name_this_machine_are_answered(server: FileServer) -> None:
    """The name of another site may be made to lead here, and its page would then be allowed to read."""
    for host in ("127.0.0.1", "localhost:9000", "127.0.0.1:1"):  # a tunnel has another port
        assert ask(server, "/crop/0/chunk", Host=host)[0] == 200
    for host in ("evil.example.org", "127.0.0.1.evil.org", "evil.org:8765", "[", ""):
        assert ask(server, "/crop/0/chunk", Host=host)[::2] == (403, b"")


def test_other_machines_cannot_connect(server: FileServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}"


def test_nothing_can_be_changed(server: FileServer, folder: Path) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert ask(server, "/crop/0/chunk", method)[0] == 501
    assert (folder / "crop/0/chunk").read_bytes() == BYTES


def test_a_port_in_use_is_refused(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} can't be used"):
            FileServer(folder, port)
    with pytest.raises(InputError, match="--port"):
        FileServer(folder, 70000)
