"""Where tests find golden values and public data that aren't part of the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _folder(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, ROOT / default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set {variable} to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of golden values: SPARSE2DENSE_REFERENCE, or ../shared/reference."""
    return _folder("SPARSE2DENSE_REFERENCE", "../shared/reference")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public data: SPARSE2DENSE_DATA, or ../shared/data."""
    return _folder("SPARSE2DENSE_DATA", "../shared/data")
