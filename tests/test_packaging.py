"""What pyproject.toml, the package and the CI script say about one another."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastseq
from tests.test_structure import ALWAYS_THERE, imports, module_files, tree

ROOT = Path(__file__).resolve().parents[1]
# distribution names whose modules are called otherwise
MODULES = {"scikit-learn": "sklearn"}


@pytest.fixture(scope="module")
def project() -> dict:
    """The ``project`` table of pyproject.toml."""
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")  # pytest brings tomli
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    """Module names of a list of requirements."""
    found = {re.split(r"[\s\[<>=!~;]", requirement)[0] for requirement in requirements}
    return {MODULES.get(name, name) for name in found}


def test_every_required_module_is_in_the_extra_that_the_message_names(project):
    written, extras = project["optional-dependencies"], {}
    for extra in written:
        own = [item for item in written[extra] if not item.startswith(project["name"])]
        nested = re.findall(r"[a-z]+", " ".join(re.findall(r"\[(.*?)\]", " ".join(set(written[extra]) - set(own)))))
        extras[extra] = names(own + [item for name in nested for item in written[name]])
    bad = []
    for path in module_files():
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "require"):
                continue
            words = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
            if len(words) != 2 or None in words:
                continue
            module, extra = words
            if extra not in extras or module.split(".")[0] not in extras[extra]:
                bad.append(f"{path}:{node.lineno}: {module} is not in the extra {extra!r}")
    assert not bad, "\n".join(bad)


def test_what_is_always_imported_is_a_dependency(project):
    direct = names(project["dependencies"]) | {"llvmlite"}  # numba brings the llvmlite that it was built for
    assert direct == ALWAYS_THERE
    used = {name.split(".")[0] for path in module_files() for name, _, inside in imports(path) if not inside}
    assert used - set(sys.stdlib_module_names) - {"fastseq"} <= direct


def test_the_oldest_numba_is_the_one_that_is_tested(project):
    (oldest,) = re.findall(r"numba>=([\d.]+)", " ".join(project["dependencies"]))
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"numba=={oldest}" in script and f"numba {oldest}" in readme


def test_the_version_is_in_the_changelog():
    assert f"## [{fastseq.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, fastseq; print(sorted({'numba', 'numpy', 'torch', 'pandas', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", fastseq.__all__)
def test_every_public_name_is_there(name):
    assert getattr(fastseq, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        fastseq.no_such_name  # noqa: B018
