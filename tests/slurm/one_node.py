"""A SLURM cluster of one node on this machine, for tests: real daemons, invented hardware.

Run as a program it starts the cluster and keeps it until it is interrupted:  python -m tests.slurm.one_node
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["one_node", "why_not"]

# Jobs on the node find the controller only through this directory: Snakemake's job step drops SLURM_CONF.
SETTINGS = Path("/etc/slurm")
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
MARK = "# A cluster for tests, written by tests/slurm/one_node.py; may be overwritten."
DAEMONS = ("munged", "slurmctld", "slurmd")
CPUS, MEMORY_MB, GPUS = 8, 64_000, 2

SLURM_CONF = """{mark}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AuthType=auth/munge
CredType=cred/munge
# A container has neither systemd nor control groups that it may write to.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# The node has what this file says, whatever the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
# Start jobs at once, and remember them until the test has looked at them.
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
MinJobAge=7200
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:test:{gpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Return what keeps the cluster from being started here; None where it can be."""
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    missing = [name for name in (*DAEMONS, "sbatch") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    file = SETTINGS / "slurm.conf"
    if file.exists() and MARK not in file.read_text():
        return f"{file} belongs to a cluster of this machine"
    return None


@contextmanager
def one_node() -> Iterator[Path]:
    """Start the cluster, wait until its node is idle, and stop exactly what was started; yields its folder."""
    folder = Path(tempfile.mkdtemp(prefix="slurm_"))
    folder.chmod(0o755)
    try:
        configure(folder)
        start(folder)
        yield folder
    finally:
        stop(folder)
        for name in ("slurm.conf", "gres.conf"):
            (SETTINGS / name).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def configure(folder: Path) -> None:
    """Write the configuration, and devices that stand for GPUs."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    SETTINGS.mkdir(exist_ok=True)
    text = SLURM_CONF.format(mark=MARK, host=host, folder=folder, cpus=CPUS, memory=MEMORY_MB, gpus=GPUS)
    (SETTINGS / "slurm.conf").write_text(text)
    lines = []
    for number in range(GPUS):
        device = folder / f"nvidia{number}"
        # Only a character device both counts and sets CUDA_VISIBLE_DEVICES; this one is /dev/null by another name.
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        lines.append(f"NodeName={host} Name=gpu Type=test File={device}\n")
    (SETTINGS / "gres.conf").write_text("".join(lines))


def start(folder: Path) -> None:
    """Start the three daemons, which put themselves in the background."""
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    (folder / "munge").chmod(0o700)
    MUNGE_SOCKET.parent.mkdir(exist_ok=True)
    munged = ["munged", "--force", f"--key-file={key}", f"--socket={MUNGE_SOCKET}"]
    munged += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge/seed"]
    subprocess.run(munged, check=True, capture_output=True)
    subprocess.run(["slurmctld", "-c"], check=True, capture_output=True)
    subprocess.run(["slurmd"], check=True, capture_output=True)
    deadline = time.monotonic() + 30
    while "idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
        if time.monotonic() > deadline:
            logs = "\n".join((folder / f"{name}.log").read_text() for name in ("slurmctld", "slurmd"))
            raise RuntimeError(f"the node does not become idle\n{logs}")
        time.sleep(0.2)


def stop(folder: Path) -> None:
    """End the jobs, then the daemons that wrote their process ids into `folder`."""
    subprocess.run(["scancel", "--user=root"], capture_output=True, check=False)
    for name in reversed(DAEMONS):
        file = folder / f"{name}.pid"
        if file.exists() and file.read_text().strip():
            pid = int(file.read_text())
            os.kill(pid, signal.SIGTERM)
            wait_for_end(pid)


def wait_for_end(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


if __name__ == "__main__":
    with one_node() as place:
        print(f"SLURM runs, with its logs in {place}; end it with ctrl-C")
        signal.pause()
