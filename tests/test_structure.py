"""The building's plan, held by ``ast``: who may import whom, what may be named where, and what documents must say."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastseq"

# The map of "Where things live" in README.md: each part, what it may import. A dotted entry allows that module only.
# A part that a package offers to every layer above it may be imported from there; nothing is imported upwards.
MAY_IMPORT: dict[str, set[str]] = {
    "checks": set(),
    "buffers": set(),
    "jit": {"checks"},
    "simd": {"jit", "buffers"},
    # words that scalars have too
    "cells": {"jit", "simd.math", *(f"simd.lanes.{name}" for name in ("fma", "zero_like", "at_least", "where_less"))},
    "batch": {"checks"},
    "sequence": {"simd", "cells", "batch", "jit", "checks"},
    "autograd": {"sequence", "simd", "batch", "buffers", "jit", "checks"},
    "nn": {"autograd", "batch", "cells", "checks"},
    "optim": {"jit", "checks"},
    "training": {"autograd", "nn", "optim", "persistence", "batch", "checks"},  # checkpoints
    "random": {"autograd", "nn", "checks"},
    "creation": {"autograd", "checks"},
    "drawing": {"creation", "autograd", "checks"},
    "torch_names": {"autograd", "checks"},
    "utils": {"autograd", "checks"},
    "layers": {"autograd", "nn", "checks"},
    "models": {"layers", "training", "persistence", "autograd", "nn", "optim", "checks"},
    # it lays out their panels
    # Keras's places, which are modules of the two above
    **dict.fromkeys(("optimizers", "losses", "metrics"), {"models"}),
    **dict.fromkeys(("regularizers", "initializers", "constraints"), {"layers"}),
    "callbacks": {"training"},
    "streaming": {"nn", "autograd", "sequence", "cells", "simd", "batch", "buffers", "jit", "checks"},
    "persistence": {"nn", "autograd", "checks"},
    "interop": {"nn", "autograd", "persistence", "checks"},  # it writes files as atomically, and refuses with its error
    "datasets": {"checks"},
    "estimators": {"training", "nn", "autograd", "optim", "persistence", "streaming", "batch", "checks"},
    "forecasting": {"training", "nn", "autograd", "optim", "persistence", "streaming", "batch", "checks"},
    "scoring": {"persistence", "streaming", "forecasting", "estimators", "nn", "autograd", "batch", "checks"},
    "cli": {"*"},
    "__init__": {"*"},
    "__main__": {"cli"},
}
# Nothing but these is installed with the package; every other distribution is an extra and imported in functions.
ALWAYS_THERE = {"numba", "numpy", "scipy", "safetensors", "tqdm", "llvmlite"}
BANNED_NAMES = {"utils", "common", "core", "helpers"}
CELL_WORDS = re.compile(r"lstm|gru|rnn|peephole|forget|candidate|reset_gate|update_gate|input_gate|output_gate", re.I)
MAX_LINES = 500


def module_files() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The name of a file's module inside the package: ``nn.linear``, or ``__init__`` for the package itself."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def part(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return dotted(path).split(".")[0]


@functools.cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_type_checking(node: ast.AST) -> bool:
    """Whether the node is an ``if TYPE_CHECKING:``, whose imports never run."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def running_nodes(node: ast.AST, inside_function: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node that can run, and whether it stands inside a function."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        yield child, inside_function
        is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from running_nodes(child, inside_function or is_function)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every import as (absolute dotted name, line, inside a function); ``from a import b`` gives ``a.b``."""
    package = ["fastseq", *path.relative_to(PACKAGE).parent.parts]
    for node, inside in running_nodes(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                yield ".".join([*base, *([node.module] if node.module else []), alias.name]), node.lineno, inside


def internal_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Imports of the package itself, without the leading ``fastseq.``."""
    for name, line, _ in imports(path):
        if name == "fastseq" or name.startswith("fastseq."):
            yield name.removeprefix("fastseq").lstrip("."), line


def allowed(name: str, own: str) -> bool:
    """Whether the part ``own`` may import ``name``."""
    wanted = MAY_IMPORT[own]
    if name.split(".")[0] == own or name == "__version__" or "*" in wanted:
        return True
    return any(name == entry or name.startswith(entry + ".") for entry in wanted)


def ids(path: Path) -> str:
    """How a file is called in a test's name."""
    return dotted(path)


each_file = pytest.mark.parametrize("path", module_files(), ids=ids)


@each_file
def test_every_part_is_in_the_table(path):
    assert part(path) in MAY_IMPORT, f"{part(path)} is new: give it a line in MAY_IMPORT and in README.md"


@each_file
def test_imports_go_downwards(path):
    bad = [f"{path}:{line}: {name}" for name, line in internal_imports(path) if not allowed(name, part(path))]
    assert not bad, f"{part(path)} may import {sorted(MAY_IMPORT[part(path)])}:\n" + "\n".join(bad)


@each_file
def test_llvmlite_and_intrinsics_only_below_the_cells(path):
    if part(path) in ("jit", "simd"):
        return
    names = [name for name, _, _ in imports(path)]
    assert not [name for name in names if name.split(".")[0] == "llvmlite"]
    assert "numba.extending.intrinsic" not in names


@each_file
def test_numba_is_called_through_jit_only(path):
    own, bad = part(path), []
    if own in ("jit", "simd"):
        permitted = {"jit": ("numba",), "simd": ("numba.core", "numba.extending", "numba.types")}[own]
    else:
        permitted = ("numba.extending.overload", "numba.extending.register_jitable") if own == "cells" else ()
    for name, line, _ in imports(path):
        if name.split(".")[0] == "numba" and not name.startswith(permitted or ("-",)):
            bad.append(f"{path}:{line}: {name}")
    from_jit = {name.split(".")[-1] for name, _, _ in imports(path) if name.startswith("fastseq.jit.")}
    for node in ast.walk(tree(path)):
        numba_word = isinstance(node, ast.Attribute) and ast.unparse(node) in ("numba.njit", "numba.prange", "nb.njit")
        bare_word = isinstance(node, ast.Name) and node.id in ("njit", "prange") and node.id not in from_jit
        if own != "jit" and (numba_word or bare_word):
            bad.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not bad, "\n".join(bad)


@each_file
def test_no_cell_is_named_below_the_cells(path):
    if part(path) not in ("simd", "sequence"):
        return
    words = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    words |= {node.arg for node in ast.walk(tree(path)) if isinstance(node, ast.arg)}
    words |= {node.name for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    words |= {name for full, _, _ in imports(path) for name in full.split(".")}
    assert not sorted(filter(CELL_WORDS.search, words))


def test_the_sequence_layer_knows_the_contract_of_cells_only():
    bad = [
        f"{path}:{line}: {name}"
        for path in module_files()
        if part(path) == "sequence"
        for name, line in internal_imports(path)
        if name.split(".")[0] == "cells" and not name.startswith("cells.contract")
    ]
    assert not bad


@each_file
def test_no_module_is_a_drawer_for_odds_and_ends(path):
    words = set(dotted(path).split(".")) & BANNED_NAMES
    assert not words or dotted(path) in ("nn.utils", "nn.utils.rnn", "utils", "utils.data")  # PyTorch's names


@each_file
def test_optional_packages_are_imported_in_functions(path):
    import sys

    bad = [
        f"{path}:{line}: {name}"
        for name, line, inside in imports(path)
        if not inside and name.split(".")[0] not in ALWAYS_THERE | sys.stdlib_module_names | {"fastseq"}
    ]
    assert not bad, "\n".join(bad)


@each_file
def test_files_fit_in_a_head(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@each_file
def test_nothing_is_left_for_later(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b", text)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            assert not silent, f"{path}:{node.lineno}: an exception is swallowed"


def public_functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Public functions of the module and public methods of its public classes."""
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def is_variant(node: ast.FunctionDef) -> bool:
    """Whether the function is an overload or a property's setter: its first form carries the docstring."""
    return any(
        ast.unparse(decorator).split("(")[0].split(".")[-1] in ("overload", "setter", "deleter")
        for decorator in node.decorator_list
    )


def signature(node: ast.FunctionDef) -> list[str]:
    """Parameter names as a docstring lists them."""
    names = [arg.arg for arg in node.args.posonlyargs + node.args.args]
    if names and names[0] in ("self", "cls"):
        names.pop(0)
    names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
    names += [arg.arg for arg in node.args.kwonlyargs]
    return names + ([f"**{node.args.kwarg.arg}"] if node.args.kwarg else [])


def documented(docstring: str) -> list[str] | None:
    """Names of the Parameters section; None where there is no such section."""
    lines = [*docstring.splitlines(), ""]
    titles = [k for k in range(len(lines) - 1) if lines[k].strip() and re.fullmatch(r"-{3,}", lines[k + 1].strip())]
    starts = [k for k in titles if lines[k].strip() == "Parameters"]
    if not starts:
        return None
    end = min([k for k in titles if k > starts[0]], default=len(lines))
    entries = [line for line in lines[starts[0] + 2 : end] if line and not line.startswith(" ")]
    names: list[str] = []
    for entry in entries:
        names += [name.strip().replace("\\", "") for name in entry.split(" : ")[0].rstrip(":").split(",")]
    return names


@each_file
def test_docstrings_say_what_the_signature_says(path):
    bad = []
    for name, node in public_functions(path):
        if is_variant(node):
            continue
        docstring = ast.get_docstring(node)
        if not docstring:
            bad.append(f"{path}:{node.lineno}: {name} has no docstring")
            continue
        listed = documented(docstring)
        if listed is not None and listed != signature(node):
            bad.append(f"{path}:{node.lineno}: {name} takes {signature(node)}, its docstring lists {listed}")
    assert not bad, "\n".join(bad)


@each_file
def test_constructors_are_described_by_their_class(path):
    bad = []
    for node in tree(path).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        listed = documented(ast.get_docstring(node) or "")
        constructors = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if listed is not None and constructors and listed != signature(constructors[0]):
            bad.append(f"{path}:{node.lineno}: {node.name} takes {signature(constructors[0])}, documented {listed}")
    assert not bad, "\n".join(bad)


def test_the_readme_maps_every_part():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Where things live")[1].split("\n## ")[0]
    named = re.findall(r"`((?:fastseq|tests|benchmarks|examples)[\w/.]*)`", section)
    assert not [name for name in named if not (ROOT / name).exists()]
    there = {part(path) for path in module_files()} - {"__init__", "__main__"}
    assert not sorted(name for name in there if not re.search(rf"`fastseq/{name}(/|\.py)`", section))


def test_the_readme_commands_are_the_ones_that_are_tested():
    test_line = [line for line in (ROOT / "README.md").read_text().splitlines() if "-m pytest" in line][0]
    assert test_line in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_top_level_holds_nothing_else():
    allowed_names = {"fastseq", "tests", "benchmarks", "examples", "pyproject.toml", "README.md", "LICENSE"}
    tracked = tracked_files()
    top = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    assert not sorted(top - allowed_names - {"CHANGELOG.md"})


def tracked_files() -> list[str]:
    """What git tracks; everything, where this is no checkout."""
    import subprocess

    try:
        done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*")]
    return done.stdout.split()
