"""What code a stage runs, as a hash: a rule that carries it as a parameter reruns when the code changes.

Finished blocks carry it too: an attempt goes on with those of the same code, whatever else was committed since.

Snakemake compares modification times of scripts, so it takes a fresh checkout for a change and does not see an edited
module that a script imports. The hash is of the parsed code without comments and docstrings.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sparse2dense.volumes.provenance import identity

__all__ = ["code_hash", "imported_modules", "resume_key"]

PACKAGE = "sparse2dense"
ROOT = Path(__file__).parents[1]
# These say what happens and can't change a result.
WITHOUT_INFLUENCE = frozenset({f"{PACKAGE}.errors", f"{PACKAGE}.volumes.progress"})


@dataclass(frozen=True)
class Code:
    """What matters of a module: a hash of its code, and the modules of this package that it imports."""

    digest: str
    imports: frozenset[str]


def code_hash(*modules: str) -> str:
    """Return a hash of the code of `modules` (as in `stages.predicting`) and of all they import from this package."""
    names = sorted({name for module in modules for name in imported_modules(f"{PACKAGE}.{module}")} - WITHOUT_INFLUENCE)
    text = "".join(f"{name} {code_of(name).digest}\n" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def resume_key(module: str, record: Mapping[str, Any], inputs: Iterable[Path]) -> dict[str, Any]:
    """Return everything that makes finished blocks of a stage valid, as `volumes.blockwise.run_blockwise` takes it.

    Parameters
    ----------
    module
        `__name__` of the module of the stage.
    record
        Its provenance. The commit in it says nothing: it changes with a page of text, and not with a second edit.
    inputs
        What the stage reads.
    """
    lasting = {name: value for name, value in record.items() if name != "git_commit"}
    code = code_hash(module.removeprefix(f"{PACKAGE}."))
    return {"code": code, "record": lasting, "inputs": [identity(path) for path in inputs]}


def imported_modules(module: str) -> set[str]:
    """Return `module` and every module of this package that it imports, directly or through others.

    Raises
    ------
    ModuleNotFoundError
        When there is no such module.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += code_of(name).imports
    return found


def module_file(name: str) -> Path | None:
    """Return the file of a module of this package, or None when `name` is no module of it."""
    base = ROOT.joinpath(*name.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if name.split(".")[0] == PACKAGE and file.is_file():
            return file
    return None


def code_of(name: str) -> Code:
    """Return what matters of a module."""
    file = module_file(name)
    if file is None:
        raise ModuleNotFoundError(f"{PACKAGE} has no module {name}", name=name)
    return parsed(file.read_bytes())


@cache
def parsed(source: bytes) -> Code:
    """Return what matters of a module's text: not docstrings, comments and layout."""
    tree = ast.parse(source)
    imports = frozenset(imports_of(tree))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return Code(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports)


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that import statements name, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (candidate for candidate in candidates if module_file(candidate))
