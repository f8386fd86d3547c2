"""Where the tests find golden values and data that aren't part of the repository."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _directory(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.is_dir():
        pytest.skip(f"{path} is absent; set {variable}")
    return path


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Directory of golden values: SPARSE2DENSE_REFERENCE, or shared/reference beside the repository."""
    return _directory("SPARSE2DENSE_REFERENCE", REPOSITORY.parent / "shared" / "reference")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Directory of real volumes: SPARSE2DENSE_DATA, or shared/data beside the repository."""
    return _directory("SPARSE2DENSE_DATA", REPOSITORY.parent / "shared" / "data")
