"""A record of what made a result: equal for equal settings, whatever their order or the types they came in."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparse2dense.volumes.provenance import content_hash, peak_memory_mb, provenance


def test_equal_settings_have_equal_hashes() -> None:
    one = content_hash({"a": 1, "b": (1.5, 2.0), "c": {"x": Path("raw.zarr"), "y": None}})
    two = content_hash({"c": {"y": None, "x": "raw.zarr"}, "b": np.array([1.5, 2]), "a": np.int64(1)})
    assert one == two
    assert one != content_hash({"a": 1, "b": (1.5, 2.25), "c": {"x": Path("raw.zarr"), "y": None}})
    assert content_hash({"a": 2**64 - 1}) != content_hash({"a": 2**64 - 2})
    assert content_hash({"a": True}) != content_hash({"a": 1})


def test_what_has_no_fixed_text_is_no_setting() -> None:
    with pytest.raises(TypeError, match="object"):
        content_hash({"a": object()})


def test_what_differs_between_equal_runs_stands_apart() -> None:
    settings, inputs = {"threshold": 0.58}, {"raw": Path("results/demo/raw.zarr")}
    plain = provenance("segment", settings, inputs)
    timed = provenance("segment", settings, inputs, seconds=1.23456)
    assert timed.pop("run")["seconds"] == 1.235
    assert plain == timed == json.loads(json.dumps(plain))
    assert plain["settings_hash"] == content_hash(settings)
    assert plain["inputs"] == {"raw": "results/demo/raw.zarr"}
    assert {"python", "numpy", "zarr"} <= set(plain["versions"])


def test_peak_memory_is_that_of_this_process_alone() -> None:
    held = np.ones(25_000_000)
    script = (
        "import numpy; from sparse2dense.volumes.provenance import peak_memory_mb as peak; before = peak();"
        "held = numpy.ones(12_500_000); print(before, peak())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    before, after = map(float, answer.split())
    assert before < held.nbytes / 1e6 < peak_memory_mb()
    assert 90 < after - before < 120
