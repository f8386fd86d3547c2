"""A training shared by several processes of one machine, each with a GPU of its own."""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse2dense.volumes.blockwise import end_with_parent

__all__ = ["Group", "group_of_this_process", "share_training"]

log = logging.getLogger(__name__)

RANK, SIZE, STORE = "SPARSE2DENSE_RANK", "SPARSE2DENSE_PROCESSES", "SPARSE2DENSE_STORE"
LOCAL = "LOCAL_RANK"
"""What Lightning finds its GPU by, and that it needn't start processes."""
GRACE = 10.0
"""Seconds that this process has to say itself what is wrong after a helper ended with an error."""


@dataclass(frozen=True)
class Group:
    """Which of the processes that train a net together this one is.

    Parameters
    ----------
    rank, size
        Its number, 0 for the one that writes files, and how many there are.
    store
        The file by which they find each other; None for a process alone.
    """

    rank: int = 0
    size: int = 1
    store: Path | None = None

    def connect(self, backend: str) -> None:
        """Connect the processes by `backend` of PyTorch, nccl between GPUs or gloo; they listen on no port for it."""
        import torch.distributed

        if self.store is not None:
            place = f"file://{self.store}"
            torch.distributed.init_process_group(backend, init_method=place, rank=self.rank, world_size=self.size)


def group_of_this_process() -> Group:
    """Return the group that `share_training` put this process into."""
    if SIZE not in os.environ:
        return Group()
    return Group(int(os.environ[RANK]), int(os.environ[SIZE]), Path(os.environ[STORE]))


def share_training(processes: int, function: Callable[..., None], *arguments: Any, **settings: Any) -> None:
    """Call a function in so many processes at once, of which this one is the first; with one, just call it.

    Helpers are fresh processes, end with this one however it ends, and end it where one of them fails.

    Parameters
    ----------
    processes
        How many, as many as there are GPUs for them; one where there is none.
    function
        One that finds out with `group_of_this_process` which process it is in; arguments must be picklable.
    """
    if processes < 2:
        function(*arguments, **settings)
        return
    with tempfile.TemporaryDirectory() as name:
        call, store = Path(name) / "call", Path(name) / "store"
        call.write_bytes(pickle.dumps((function, arguments, settings)))
        own = {SIZE: str(processes), STORE: str(store)}
        # the network of a machine is not needed to talk within it
        local = {} if sys.platform != "linux" else {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
        with _environment({**local, **own, RANK: "0", LOCAL: "0"}), _helpers(processes - 1, call):
            function(*arguments, **settings)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _helpers(count: int, call: Path) -> Iterator[None]:
    """Let so many processes make a call, numbered from 1, and end them at the end, or this one if one of them fails."""
    command = [sys.executable, "-m", "sparse2dense.stages.training_group", str(call)]
    numbers = [str(number) for number in range(1, count + 1)]
    helpers = [
        # one bar is enough
        subprocess.Popen(command, env={**os.environ, RANK: number, LOCAL: number, "TQDM_DISABLE": "1"})
        for number in numbers
    ]
    over = threading.Event()
    threading.Thread(target=_watch, args=(helpers, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        for helper in helpers:
            helper.kill()  # what it worked for is written
            helper.wait()


def _watch(helpers: Sequence[subprocess.Popen[bytes]], over: threading.Event) -> None:
    """End this process some time after a helper has failed: it would wait for the helper in vain."""
    while not over.wait(0.5):
        failed = [helper.poll() for helper in helpers if helper.poll()]
        if failed and not over.wait(GRACE):
            log.error("a process of this training ended with status %s; see above", failed[0])
            os._exit(1)


def main() -> None:
    """Make the call that `share_training` left in a file."""
    end_with_parent(os.getppid())
    function, arguments, settings = pickle.loads(Path(sys.argv[1]).read_bytes())
    logging.basicConfig(level=logging.WARNING, format=f"process {os.environ[RANK]}: %(message)s")
    function(*arguments, **settings)


if __name__ == "__main__":
    main()
