"""What made a result: settings, inputs and versions, apart from what differs between two equal runs."""

import hashlib
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["content_hash", "identity", "peak_memory_mb", "provenance"]

PACKAGES = ("sparse2dense", "numpy", "zarr", "scipy", "numba", "torch", "daisy")


def plain(value: Any) -> Any:
    """Return `value` in the types of JSON; paths become strings, arrays lists, other objects raise TypeError."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, slice):
        return [value.start, value.stop, value.step]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Path, np.dtype)):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} has no place in a record of settings: {value!r}")


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `content` as JSON with sorted keys; equal settings give equal hashes in any order."""
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def identity(path: Path) -> list[Any]:
    """Return what tells one version of a file or volume from another, without reading its content."""
    file = path / "zarr.json" if path.is_dir() else path
    return [str(path), file.stat().st_mtime_ns]


def peak_memory_mb() -> float:
    """Return the most memory this process has held so far, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux passes the peak of the process that started this one on in `ru_maxrss`; the kernel's own count is ours.
        held = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if held:
            return int(held[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@cache
def git_commit() -> str | None:
    """Return the commit of the checkout that this package is imported from, with `+` when it has been edited."""
    source = Path(__file__).resolve()
    root = source.parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        edited = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "src"],
            cwd=root, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if edited else "")


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages whose results could differ between versions."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def provenance(
    stage: str, settings: Mapping[str, Any], inputs: Mapping[str, Path], seconds: float | None = None
) -> dict[str, Any]:
    """Describe how a result came about, ready for JSON.

    Parameters
    ----------
    stage
        Name of the rule.
    settings
        Everything from the config that the result depends on.
    inputs
        Name and path of every input.
    seconds
        How long the stage took; given, the record has a part `run` that differs between equal runs.

    Returns
    -------
    dict
        `stage, settings, settings_hash, inputs, versions, git_commit`, equal for equal settings on equal software,
        and, when `seconds` is given, `run` with seconds and peak memory in MB.
    """
    record: dict[str, Any] = {
        "stage": stage,
        "settings": plain(settings),
        "settings_hash": content_hash(settings),
        "inputs": plain(inputs),
        "versions": dict(versions()),
        "git_commit": git_commit(),
    }
    if seconds is not None:
        record["run"] = {"seconds": round(seconds, 3), "peak_memory_mb": round(peak_memory_mb(), 1)}
    return record
