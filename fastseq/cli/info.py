"""Show versions, the CPU features that are used, threads and the cache folder."""

from __future__ import annotations

import argparse
import importlib
import platform
from importlib import metadata

_PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "safetensors", "pyarrow")
_FEATURES = ("avx512f", "avx2", "fma", "neon")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser: it has none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    facts = describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")
    return 0


def describe() -> dict[str, str]:
    """Return what `fastseq info` prints: name to value."""
    import fastseq
    from fastseq import jit
    from fastseq.simd.lanes import cpu_features

    features = cpu_features()
    return {
        "fastseq": fastseq.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
        "cpu features": ", ".join(name for name in _FEATURES if name in features) or "none that matter",
        "threads": str(jit.get_num_threads()),
        "threading layer": _threading_layer(),
        "cache folder": str(jit.cache_folder() or "none writable: kernels are compiled in every process"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _threading_layer() -> str:
    """Return the first threading layer that loads, in Numba's order of preference."""
    for name in ("tbb", "omp", "workqueue"):
        module = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}[name]
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        return name
    return "none"
