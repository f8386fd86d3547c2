"""The GPUs of this machine, and some of them for each job: shared out by locks, which end with the process."""

import fcntl
import logging
import os
import random
import re
import time
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from urllib.parse import quote

__all__ = ["take_gpus", "visible_gpus"]

log = logging.getLogger(__name__)

LISTED = "CUDA_VISIBLE_DEVICES"
SLOTS = Path("/tmp")
"""Where locks are: of one machine, and of all its users; `TMPDIR` may differ between them."""
PAUSE = 1.0
"""Seconds between two looks for a GPU that has become free."""

_held: list[int] = []


def visible_gpus(devices: Path = Path("/dev")) -> list[str]:
    """Return the NVIDIA GPUs that a process may use here, in the words of `CUDA_VISIBLE_DEVICES`.

    They are those that this variable lists, up to the first word that CUDA does not understand; without it all that
    have a file in `devices`. Neither PyTorch nor the driver is asked, so it costs nothing.
    """
    listed = os.environ.get(LISTED)
    if listed is None:
        # A container may have the third one alone, which CUDA counts as the first.
        return [str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*"))]
    return list(takewhile(re.compile(r"\d+|(GPU|MIG)-.+").fullmatch, map(str.strip, listed.split(","))))


def take_gpus(asked: int, slots: Path = SLOTS, devices: Path = Path("/dev")) -> int:
    """Give this process GPUs that no other job has, until it ends; to be called before PyTorch first uses CUDA.

    `CUDA_VISIBLE_DEVICES` then names them alone. Each GPU is a file with a lock on it (`flock`), which the kernel takes
    off when the process ends in whatever way. Where too few are free the process waits: only jobs of another run, or of
    one that was killed, can have taken them, since Snakemake starts no more jobs than there are GPUs, and an error
    would end a run that merely has to wait.

    Nothing is done where there is no GPU, or where a single one, none, or as many as asked for were given by SLURM or
    the user. Of more that were given some are taken.

    Parameters
    ----------
    asked
        GPUs that the job asks for; where there are fewer it gets these. One that asks for none gets none, unless some
        were given to it, or SLURM gives them.
    slots
        Where the files with the locks are.
    devices
        Where GPUs have files, see `visible_gpus`.

    Returns
    -------
    int
        How many there are for this process.
    """
    allocation = os.environ.get("SLURM_JOB_ID")
    given = LISTED in os.environ
    gpus = visible_gpus(devices)
    if not asked:
        if not given and allocation is None:
            os.environ[LISTED] = ""
        return 0
    if not gpus or (given and len(gpus) <= max(asked, 1)):
        return len(gpus)
    # Within an allocation they are counted from 0, whichever of the machine they are, and no other job has them.
    names = [gpu if allocation is None else f"{allocation}-{gpu}" for gpu in gpus]
    files = [slots / f"sparse2dense-gpu-{quote(name, safe='')}" for name in names]
    count = min(asked, len(gpus))
    taken = _free(files, count)
    if taken is None:
        log.warning("waiting: other jobs have the GPUs %s; `lslocks` shows which, by %s", ", ".join(gpus), files[0])
    while taken is None:
        time.sleep(PAUSE * random.uniform(0.5, 1.5))  # of two that wait for two each, one comes first
        taken = _free(files, count)
    os.environ[LISTED] = ",".join(gpus[number] for number in taken)
    log.info("GPU %s of %s", os.environ[LISTED], ", ".join(gpus))
    return count


def _free(files: list[Path], count: int) -> list[int] | None:
    """Lock the first `count` of `files` that no process has locked, and return which; none where there are fewer."""
    taken = list(islice((number for number, file in enumerate(files) if _locked(file)), count))
    if len(taken) == count:
        return taken
    _let_go()
    return None


def _locked(file: Path) -> bool:
    """Lock a file for as long as this process lives, or say that another one has."""
    with suppress(FileExistsError):
        file.touch(exist_ok=False)
        file.chmod(0o644)  # other users lock it too, for which they need only read it
    slot = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(slot)
        return False
    _held.append(slot)
    return True


def _let_go() -> None:
    """Close the files that are locked; also those of a parent, which processes that load samples may outlive."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)
