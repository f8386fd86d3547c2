"""The log of a job: what a user finds when one has failed."""

import subprocess
import sys
import time
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


def test_a_job_that_is_busy_and_says_nothing_shows_that_it_lives(tmp_path: Path) -> None:
    """The log's time goes on while nothing is written, and stops with the process."""
    log = tmp_path / "job.log"
    program = """
import os, sys, time
from pathlib import Path
from sparse2dense.stages.joblog import start_log

start_log(Path(sys.argv[1]), heartbeat=0.05)
os.utime(sys.argv[1], (0, 0))
end = time.monotonic() + 60
while os.stat(sys.argv[1]).st_mtime == 0 and time.monotonic() < end:
    sum(range(10000))
"""
    subprocess.run([sys.executable, "-c", program, str(log)], check=True)
    touched = log.stat().st_mtime
    assert touched > 0
    assert log.read_text() == ""
    time.sleep(0.2)
    assert log.stat().st_mtime == touched
