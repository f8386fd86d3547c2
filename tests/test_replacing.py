"""Files and folders get their name whole, whatever happens and whoever else writes them."""

import shutil
from pathlib import Path

import pytest

from sparse2dense.volumes.replacing import atomic_file, directory_output


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    output = tmp_path / "figures"
    with directory_output(output) as folder:
        (folder / "a.png").write_text("a")
        assert not output.exists()
    with pytest.raises(ZeroDivisionError), directory_output(output) as folder:
        (folder / "b.png").write_text("b")
        raise ZeroDivisionError
    assert content(output) == {"a.png": "a"}
    with directory_output(output) as folder:
        (folder / "c.png").write_text("c")
    assert content(output) == {"c.png": "c"}
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.csv"
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write_text("half")
        raise ZeroDivisionError
    assert not path.exists()
    with atomic_file(path) as file:
        assert file.suffix == ".csv"
        file.write_text("whole")
    assert content(path.parent) == {"scores.csv": "whole"}
    shutil.rmtree(path.parent)


def test_two_that_write_a_file_at_once_each_write_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    with atomic_file(path, shared=True) as one, atomic_file(path, shared=True) as other:
        one.write_text("whole")
        other.write_text("half")
        assert one.read_text() == "whole" and one.suffix == other.suffix == ".npy"
        other.write_text("whole")
    assert content(tmp_path) == {"rows.npy": "whole"}
