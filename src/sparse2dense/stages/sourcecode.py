"""What code a stage runs, as a hash: a rule that carries it as a parameter reruns when the code changes.

Snakemake compares modification times of scripts, so it takes a fresh checkout for a change and does not see an edited
module that a script imports. The hash is of the parsed code without comments and docstrings.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["code_hash", "imported_modules"]

PACKAGE = "sparse2dense"
ROOT = Path(__file__).parents[1]
# These say what happens and can't change a result.
WITHOUT_INFLUENCE = frozenset({f"{PACKAGE}.errors", f"{PACKAGE}.volumes.progress"})


def code_hash(*modules: str) -> str:
    """Return a hash of the code of `modules` (as in `stages.predicting`) and of all they import from this package."""
    names = sorted({name for module in modules for name in imported_modules(f"{PACKAGE}.{module}")} - WITHOUT_INFLUENCE)
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n{code_of(name)}\n".encode())
    return digest.hexdigest()[:12]


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
        if name in found:
            continue
        found.add(name)
        waiting += imports_of(name)
    return found


def module_file(name: str) -> Path | None:
    """Return the file of a module of this package, or None when `name` is no module of it."""
    base = ROOT.joinpath(*name.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if name.split(".")[0] == PACKAGE and file.is_file():
            return file
    return None


def parsed(name: str) -> ast.Module:
    """Return the syntax tree of a module."""
    file = module_file(name)
    if file is None:
        raise ModuleNotFoundError(f"{PACKAGE} has no module {name}", name=name)
    return ast.parse(file.read_bytes())


def imports_of(name: str) -> Iterator[str]:
    """Yield the modules of this package that `name` names in its import statements, wherever they stand."""
    for node in ast.walk(parsed(name)):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (candidate for candidate in candidates if module_file(candidate))


def code_of(name: str) -> str:
    """Return the code of a module without docstrings, comments and layout."""
    tree = parsed(name)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
