"""`sparse2dense view`: what it prints, writes and serves, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote

import pytest

from sparse2dense.stages.command import main
from sparse2dense.stages.neuroglancer_state import neuroglancer_state
from tests.viewed_run import NAMES, STATE_NAMES, viewed_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return viewed_run(tmp_path_factory.mktemp("results"))


def test_a_link_to_data_on_a_server(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The state lies in the results, and in the link to the client that was asked for."""
    where = ["--base-url", "gs://bucket/run", "--client", "https://viewer.example.org/v1"]
    assert main(["view", str(run), *where]) == 0
    told, link = capsys.readouterr().out.splitlines()
    file = run / "crop/neuroglancer.json"
    assert told == f"State: {file}"
    state = json.loads(file.read_text())
    assert state == neuroglancer_state(run, "crop", "gs://bucket/run")
    page, _, fragment = link.partition("#!")
    assert (page, json.loads(unquote(fragment))) == ("https://viewer.example.org/v1", state)
    assert main(["view", str(run), "rest", *where]) == 0
    assert [layer["name"] for layer in json.loads((run / "rest/neuroglancer.json").read_text())["layers"]] == ["raw"]


def test_results_that_can_only_be_read_are_shown_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "rest/neuroglancer.json").unlink(missing_ok=True)
    blocked = run / "rest/neuroglancer.partial.json"
    blocked.mkdir()  # root may write everywhere, but not here
    try:
        assert main(["view", str(run), "rest", "--base-url", "https://data.example.org/run"]) == 0
    finally:
        blocked.rmdir()
    told, link = capsys.readouterr().out.splitlines()
    assert told.startswith("No state file: ")
    assert "rest%2Fraw.zarr" in link


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_interrupted(run: Path, ending: signal.Signals) -> None:
    """From the printed link alone: the state, its layers, their data, for pages of the client only."""
    call = [sys.executable, "-m", "sparse2dense.stages.command", "view", str(run), "--port", "0", "--no-browser"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            told, link, *_ = (process.stdout.readline().strip() for _ in range(4))
            assert told == f"State: {run / 'crop/neuroglancer.json'}"
            state = json.loads(unquote(link.partition("#!")[2]))
            assert {layer["name"] for layer in state["layers"]} == STATE_NAMES | {"pseudo worst errors"}
            raw = state["layers"][0]["source"]["url"].removesuffix("|zarr3:")
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/crop/raw\.zarr/", raw)
            for origin, allowed in (("https://neuroglancer-demo.appspot.com",) * 2, ("https://evil.example.org", None)):
                request = urllib.request.Request(raw + "0/zarr.json", headers={"Origin": origin})
                with urllib.request.urlopen(request, timeout=20) as answer:
                    assert json.loads(answer.read())["shape"] == [5, 19, 26]
                    assert answer.headers["Access-Control-Allow-Origin"] == allowed
        finally:
            process.send_signal(ending)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--viewer", "napari", "--port", "1"], "--port beside --viewer napari"),
        (["--viewer", "napari", "--client", "https://x", "--no-browser"], "--client and --no-browser beside"),
        (["--base-url", "https://x/run", "--port", "0"], "--port beside --base-url"),
        (["--base-url", "https://x/run", "--offline"], "--offline beside --base-url"),
        (["--base-url", "data.example.org/run"], "--base-url data.example.org/run is no address"),
        (["--client", "neuroglancer"], "--client neuroglancer is no address"),
        (["--port", "123456"], "port 123456 can't be used"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_done_is_refused(
    run: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(run), *arguments]) == 1
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("package", "arguments", "said"),
    [
        ("napari", ["--viewer", "napari"], "napari is not installed"),
        ("neuroglancer", ["--offline"], "the package neuroglancer is not installed"),
    ],
)
def test_missing_packages_are_named(
    run: Path,
    package: str,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["view", str(run), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert f"pip install {package}" in error.replace("'", "")


def test_napari_shows_the_volume_and_waits(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def viewer(title: str) -> SimpleNamespace:
        def add(data: object, name: str, **facts: object) -> None:
            shown.append(name)

        shown.append(title)
        return SimpleNamespace(add_image=add, add_labels=add, add_points=add)

    napari = ModuleType("napari")
    napari.Viewer = viewer  # type: ignore[attr-defined]
    napari.run = lambda: shown.append("waits")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari", napari)
    assert main(["view", str(run), "--viewer", "napari"]) == 0
    assert shown[:2] == ["run crop", "raw"]
    assert shown[-1] == "waits"
    assert set(shown[1:-1]) == NAMES | {"pseudo worst errors"}
