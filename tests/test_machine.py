"""The memory that may be used here, which a container or a job of a cluster makes less than the machine has."""

import os
import sys
from pathlib import Path

import pytest
import yte  # type: ignore[import-untyped]

from sparse2dense.stages.machine import machine_megabytes, memory_limit
from sparse2dense.stages.memory import this_machine

PROFILE = Path(__file__).parents[1] / "profiles/default/config.yaml"


def groups(folder: Path, membership: str, **limits: str) -> tuple[Path, Path]:
    """A file that names groups of this process, and the folder of groups with their limits."""
    (folder / "cgroup").write_text(membership)
    for name, text in limits.items():
        file = folder / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return folder / "cgroup", folder / "groups"


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/memory.max": "8000", "slurm/job_7/step_0/memory.max": "max"}, 8000),
        (
            "0::/slurm/job_7\n",
            {"slurm/memory.max": "8000", "slurm/job_7/memory.max": "9000", "memory.max": "max"},
            8000,
        ),
        ("0::/\n", {"memory.max": "5000"}, 5000),
        ("0::/\n", {"memory.max": "max"}, None),
        ("4:memory:/docker/abc\n0::/\n", {"memory/memory.limit_in_bytes": "7000"}, 7000),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("3:cpuset:/a\n", {"cpuset/a/memory.limit_in_bytes": "1", "memory.max": "1"}, None),
    ],
)
def test_the_smallest_limit_of_all_groups_holds(
    tmp_path: Path, membership: str, limits: dict[str, str], expected: int | None
) -> None:
    """Of the group itself and those around it, in both versions; outside of a group's path nothing counts."""
    assert memory_limit(*groups(tmp_path, membership, **limits)) == expected


def test_without_groups_the_machine_is_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than the machine has, and less where a group says so; the message then speaks of it."""
    assert memory_limit(tmp_path / "absent", tmp_path) is None
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit, megabytes in ((None, built_in // 10**6), (2 * built_in, built_in // 10**6), (3_000_000_000, 3000)):
        monkeypatch.setattr("sparse2dense.stages.machine.memory_limit", lambda limit=limit: limit)
        assert machine_megabytes() == megabytes
    monkeypatch.setattr("sparse2dense.stages.memory.memory_limit", lambda: 3_000_000_000)
    given = this_machine(4)
    assert (given.threads, given.megabytes) == (4, 3000)
    assert given.origin.startswith("the memory of this machine, or as much of it as may be used here")


@pytest.mark.parametrize(
    ("words", "here"),
    [
        (["snakemake", "--cores", "2"], True),
        (["snakemake", "--profile", "slurm"], False),
        (["snakemake", "--executor=slurm"], False),
    ],
)
def test_local_runs_share_the_memory_of_the_machine(
    words: list[str], here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine jobs that need more together wait for each other; on a cluster its memory is no limit."""
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    profile = yte.process_yaml(PROFILE.read_text(), require_use_yte=True)
    assert profile["resources"] == ({"gpu": 1, "mem_mb": machine_megabytes()} if here else {"gpu": 1000})
    assert ("cores" in profile) == here
