"""Jobs find their part of an output by the name of the record that they declare."""

import json
from pathlib import Path

import pytest

from sparse2dense.errors import InputError
from sparse2dense.stages.scattering import part_records, shared_output


def test_one_job_needs_no_parts() -> None:
    assert part_records("a/raw.zarr", 1) == []


def test_every_record_names_its_output_and_part(tmp_path: Path) -> None:
    output = tmp_path / "segmentation" / "0.58.zarr"
    for number, record in enumerate(part_records(str(output), 3)):
        with shared_output(Path(record)) as (target, part):
            assert (target, part) == (output, (number, 3))
            assert not Path(record).exists()
        assert json.loads(Path(record).read_text())["part"] == number


def test_an_output_of_its_own_has_no_part_and_leaves_no_record(tmp_path: Path) -> None:
    with shared_output(tmp_path / "raw.zarr") as (target, part):
        assert (target, part) == (tmp_path / "raw.zarr", None)
    assert list(tmp_path.iterdir()) == []


def test_the_job_that_gathers_knows_of_its_parts(tmp_path: Path) -> None:
    output = tmp_path / "raw.zarr"
    with shared_output(output, part_records(str(output), 3)) as (target, part):
        assert (target, part) == (output, (3, 3))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_part_leaves_no_record(tmp_path: Path) -> None:
    record = Path(part_records(str(tmp_path / "raw.zarr"), 2)[1])
    with pytest.raises(ZeroDivisionError), shared_output(record):
        raise ZeroDivisionError
    assert not record.exists()


@pytest.mark.parametrize("name", ["3-of-3.json", "first.json", "-1-of-3.json"])
def test_a_part_that_there_is_not_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"raw\.zarr"), shared_output(tmp_path / "raw.zarr.parts" / name):
        pass
