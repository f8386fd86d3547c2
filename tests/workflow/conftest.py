"""One run of the tiny workflow, shared by the tests that look at what it left."""

import os
import shutil
from pathlib import Path

import pytest

from tests.workflow.invocation import snakemake


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the whole tiny workflow has run.

    In SPARSE2DENSE_TINY_RUN, where that is set, so that what an earlier session ran there isn't run again.
    """
    shared = os.environ.get("SPARSE2DENSE_TINY_RUN")
    directory = Path(shared) if shared else tmp_path_factory.mktemp("tiny")
    snakemake(directory)
    return directory


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, for a test to change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run", symlinks=True))
