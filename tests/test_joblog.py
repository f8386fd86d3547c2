"""The log of a job: what a user finds when one has failed."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys, warnings
from pathlib import Path
from sparse2dense.errors import InputError
from sparse2dense.stages.joblog import start_log

start_log(Path(sys.argv[1]))
logging.getLogger("sparse2dense.test").info("half way")
warnings.warn("a warning of a library")
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "told", "traced"),
    [
        ("raise InputError('`key` is 3', allowed='4', remedy='write 4')", "`key` is 3\n  allowed: 4\n", False),
        ("[][1]", "IndexError: list index out of range", True),
    ],
)
def test_log_and_terminal_tell_what_went_wrong(tmp_path: Path, ending: str, told: str, traced: bool) -> None:
    """Both get every record; a mistake of the user comes without a traceback, one of ours with it; the job fails."""
    log = tmp_path / "deep/job.log"
    call = [sys.executable, "-c", PROGRAM.format(ending=ending), str(log)]
    result = subprocess.run(call, capture_output=True, text=True)
    assert result.returncode != 0
    for text in (log.read_text(), result.stderr):
        assert "half way" in text
        assert "a warning of a library" in text
        assert told in text
        assert ("Traceback" in text) == traced
