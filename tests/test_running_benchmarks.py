"""The command that runs the benchmarks: a limit not kept is a result, an error is an error, and the others go on."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from benchmarks.__main__ import main, names


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, run: Callable[[list[str]], None]) -> None:
    """Let `run` be what the benchmark called `name` does."""
    module = ModuleType(f"benchmarks.{name}")
    vars(module)["main"] = run
    monkeypatch.setitem(sys.modules, module.__name__, module)


def ends_with(status: int) -> Callable[[list[str]], None]:
    """Return a benchmark that ends with this exit status."""

    def run(_: list[str]) -> None:
        sys.exit(status)

    return run


def breaks(_: list[str]) -> None:
    """A benchmark that can't be run."""
    raise OSError("disk full")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    chosen = names()[:3]
    for name in chosen:
        stand_in(monkeypatch, name, ends_with(0))
    return chosen


def test_a_limit_not_kept_is_listed_and_no_error(
    three: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, three[1], ends_with(1))
    assert main(three) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"done: {three[0]}, {three[2]}",
        f"limit not kept: {three[1]}",
    ]


@pytest.mark.parametrize("failing", [breaks, ends_with(2)])
def test_an_error_ends_in_an_error_after_the_others_have_run(
    failing: Callable[[list[str]], None],
    three: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(monkeypatch, three[0], failing)
    assert main(three) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [f"done: {three[1]}, {three[2]}", f"FAILED: {three[0]}"]


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["nothing_like_it"])
    assert end.value.code == 2
    assert "nothing_like_it" in (error := capsys.readouterr().err) and names()[-1] in error
