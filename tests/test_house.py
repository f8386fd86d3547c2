"""The rules of the house: imports go down only, files stay short, and what is said twice agrees."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sparse2dense.stages.sourcecode import code_hash, imported_modules

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/sparse2dense"
STOREYS = ("ops", "volumes", "stages")
RULE_FILES = sorted((ROOT / "workflow/rules").glob("*.smk"))
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python_files() -> list[Path]:
    """All Python files of the project."""
    folders = ("src", "tests", "benchmarks", "workflow")
    files = (file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return sorted(file for file in files if ".venv" not in file.parts)


def imports(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def storey(module: str) -> int | None:
    """The storey a module of the package is on, 0 the lowest; None for the rest of the world and what has no storey."""
    parts = module.split(".")
    return STOREYS.index(parts[1]) if parts[0] == "sparse2dense" and len(parts) > 1 and parts[1] in STOREYS else None


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_go_down_only(file: Path) -> None:
    """stages may import volumes and ops, volumes ops, ops neither; Snakemake is imported nowhere."""
    own = storey(".".join(("sparse2dense", *file.relative_to(SOURCE).with_suffix("").parts)))
    for name in imports(file):
        assert name.split(".")[0] != "snakemake", file
        above = storey(name)
        if above is not None:
            assert own is not None, f"{file} is below all storeys and imports {name}"
            assert above <= own, f"{file} imports {name}"


def test_ops_know_no_files() -> None:
    """The lowest storey works on arrays: it neither opens files nor knows paths."""
    for file in (SOURCE / "ops").rglob("*.py"):
        assert not {"pathlib", "zarr", "yaml", "json", "h5py", "tifffile"} & {
            name.split(".")[0] for name in imports(file)
        }


@pytest.mark.parametrize("file", python_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_short(file: Path) -> None:
    """A file is one idea; a function fits on a screen or two."""
    lines = file.read_text().splitlines()
    assert len(lines) <= (60 if file in SCRIPTS else 440), file
    assert not re.search(r"utils|helpers|common|misc", file.stem), f"{file}: the idea has no name yet"
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef) and "tests" not in file.parts:
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            length = (node.end_lineno or 0) - first.lineno + 1
            assert length <= 60, f"{file}: {node.name} has {length} lines of code"


def test_nothing_is_left_to_do() -> None:
    """No notes of unfinished work."""
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for file in [*python_files(), *RULE_FILES, ROOT / "Snakefile", ROOT / "Makefile"]:
        assert not marks.search(file.read_text()), file


def jobs() -> list[tuple[str, str]]:
    """Name and text of every rule that runs a script."""
    found = []
    for file in RULE_FILES:
        for text in re.split(r"^(?=rule |checkpoint )", file.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" in text:
                found.append((re.split(r"[ :]", text)[1], text))
    return found


@pytest.mark.parametrize(("name", "text"), jobs(), ids=[name for name, _ in jobs()])
def test_rules_declare_what_they_need(name: str, text: str) -> None:
    """Every rule says in a sentence what it does, and declares resources, log, benchmark, environment and its code."""
    assert re.match(rf'(rule|checkpoint) {name}:\n    """\S.*\."""\n', text), "a sentence"
    for directive in ("log:", "benchmark:", "conda:", "threads:", "resources:", "params:"):
        assert f"\n    {directive}" in text
    for declared in ("mem_mb=growing(", "runtime=growing(", "code=code_hash("):
        assert declared in text
    assert "retries" not in text, "retries stand in the profiles"
    assert f"<logs>/{name}/" in text
    assert f"<benchmarks>/{name}/" in text


def test_code_of_a_rule_is_what_its_script_imports() -> None:
    """The hash that makes a rule run again covers the modules that its script runs."""
    # Logs, which of the GPUs, and who computes which blocks: none changes a result.
    always = {"stages.joblog", "stages.gpus", "stages.scattering"}
    for name, text in jobs():
        script = ROOT / "workflow/scripts" / re.search(r"scripts/(\w+\.py)", text)[1]  # type: ignore[index]
        used = {
            module.removeprefix("sparse2dense.")
            for module in imports(script)
            if module.startswith("sparse2dense.stages.")
            and (SOURCE.parent / (module.replace(".", "/") + ".py")).exists()
        }
        hashed = set(re.findall(r'"(stages\.\w+)"', re.search(r"code_hash\((.*?)\)", text)[1]))  # type: ignore[index]
        reached = {module for start in hashed for module in imported_modules(f"sparse2dense.{start}")}
        assert {f"sparse2dense.{module}" for module in used - always} <= reached, name


def test_code_hash_sees_code_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule runs again when code it imports changes, through any number of modules; not for comments or docstrings."""
    package = tmp_path / "sparse2dense"
    for folder in ("stages", "ops"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "__init__.py").touch()
    lower, upper = package / "ops/low.py", package / "stages/high.py"
    lower.write_text('"""Low."""\n\nONE = 1\n')
    upper.write_text("from sparse2dense.ops import low\n\n\ndef two():\n    return 2 * low.ONE\n")
    (package / "ops/other.py").write_text("THREE = 3\n")
    monkeypatch.setattr("sparse2dense.stages.sourcecode.ROOT", package)
    before = code_hash("stages.high")
    (package / "ops/other.py").write_text("THREE = 4\n")
    lower.write_text('"""The lower module."""\n\n# the first number\nONE = 1\n')
    assert code_hash("stages.high") == before
    lower.write_text('"""Low."""\n\nONE = 1.0\n')
    assert code_hash("stages.high") != before
    with pytest.raises(ModuleNotFoundError, match=r"stages\.hihg"):
        code_hash("stages.hihg")


def test_environments_name_the_same_versions() -> None:
    """The conda environment holds what pyproject.toml asks for, in the same words."""
    environment = yaml.safe_load((ROOT / "envs/sparse2dense.yaml").read_text())
    from_pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert from_pip == PROJECT["dependencies"]


def test_the_conda_environment_gets_this_project_wherever_it_runs(tmp_path: Path) -> None:
    """Snakemake runs a copy of the script in the directory of the run, which needn't be the project's."""
    (tmp_path / "bin").mkdir()
    pip = tmp_path / "bin/pip"
    pip.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > asked.txt\n')
    pip.chmod(0o755)
    script = tmp_path / "copy.post-deploy.sh"
    script.write_text((ROOT / "envs/sparse2dense.post-deploy.sh").read_text())
    (variable,) = re.findall(
        r"os\.environ\.update\((\w+)=str\(workflow\.basedir\)\)", (ROOT / "workflow/rules/common.smk").read_text()
    )
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", variable: "/a project"}
    subprocess.run(["bash", str(script)], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "asked.txt").read_text().splitlines()[-2:] == ["-e", "/a project"]


def test_the_container_is_made_of_what_is_there() -> None:
    """The definition for Apptainer copies files that exist, from a Python that fits, and tries what is installed."""
    text = (ROOT / "envs/sparse2dense.def").read_text()
    sections = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.MULTILINE | re.DOTALL))
    copied = [line.split() for line in sections["files"].splitlines() if line.strip()]
    assert all((ROOT / source).exists() for source, _ in copied)
    targets = {target for _, target in copied}
    named = set(re.findall(r"/opt/sparse2dense/[\w.]+", sections["post"]))
    assert named <= targets and "/opt/sparse2dense/requirements.lock" in named
    needed = {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "src"}
    assert needed <= {source for source, _ in copied}, "the package can't be built without them"
    python = re.search(r"^From: python:([\d.]+)", text, re.MULTILINE)
    assert python is not None and Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python[1])
    (imported,) = re.findall(r'python -c "import (.*)"', sections["test"])
    for name in imported.split(", "):
        assert find_spec(name) is not None, name
    assert set(re.findall(r"^    (\w+) --", sections["test"], re.MULTILINE)) == {"snakemake", *PROJECT["scripts"]}


def test_lock_fits_the_project() -> None:
    """Every package that the project or its checks need is pinned, within the bounds of pyproject.toml."""
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    pinned: dict[str, str] = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines)}
    assert not any("+" in pin for pin in pinned.values()), "a version that only one index has"
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["peers"], *extras["dev"]]:
        wanted = Requirement(text)
        assert pinned[canonicalize_name(wanted.name)] in wanted.specifier, text
    assert version("snakemake") == pinned["snakemake"], "the tests run in another environment than the locked one"


def test_profile_link_and_comments() -> None:
    """`--profile slurm` finds its profile from the project root, and every entry of a profile says why it is there."""
    assert (ROOT / "slurm").readlink() == Path("profiles/slurm")
    for file in (ROOT / "profiles").glob("*/config.yaml"):
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(r"\w", line):
                assert lines[number - 1].startswith("#"), f"{file}: {line}"


def test_files_of_tests_have_names_of_their_own() -> None:
    """Pytest imports them by their names alone, and would end with an error before the first test."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) > 50
    assert sorted(set(names)) == sorted(names)
