"""AVX-512, AVX2, and neither: the same source gives the same bits, and each processor only its own instructions."""

from __future__ import annotations

import json
import platform

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from tests.test_bits import F32, digest, in_another_process

HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
GENERIC = {"NUMBA_CPU_NAME": "generic"}


@pytest.fixture
def avx512() -> None:
    """A processor whose code differs from what AVX2 gets."""
    from fastseq.simd.gemm import WIDE

    if not WIDE:
        pytest.skip("code for AVX-512 needs a processor that has it: without, there is no other code to compare with")


def machine_digest() -> str:
    """A digest of products and elementary functions."""
    from fastseq.simd import elementwise
    from tests.simd.lane_kernels import multiply_flat

    rng = np.random.default_rng(0)
    found = []
    for rows in (1, 2, 7, 12, 25):
        for columns in (16, 48, 112):
            a, w = rng.standard_normal((rows, 33), dtype=F32), rng.standard_normal((33, columns), dtype=F32)
            c, start = np.empty((rows, columns), F32), rng.standard_normal(columns, dtype=F32)
            multiply_flat(
                a.ravel(), 0, 33, 1, w.ravel(), 0, columns, 33, start, 0, 0, c.reshape(-1), 0, columns,
                rows, columns // 16, 16,
            )  # fmt: skip
            found.append(c)
    x = np.concatenate([rng.uniform(-95, 95, 5003), [np.inf, -np.inf, 0.0, -0.0, 1e-40]]).astype(F32)
    for kind in range(len(elementwise.KINDS)):
        found.append(elementwise.elementwise(kind, x, 0.1))
    return digest(found)


def machine_code() -> str:
    """The assembly of a product; only there if this process has compiled it."""
    from fastseq.jit.kernels import REALS
    from fastseq.simd.gemm import _product

    return _product._known[REALS[np.dtype(F32)]].library.get_asm_str()


MACHINE = """
from fastseq.simd.gemm import WIDE
from tests.test_processors import machine_code, machine_digest
found, code = machine_digest(), machine_code()
print(found, WIDE, "%zmm" in code, "%ymm" in code, "vfmadd" in code)
"""


@pytest.mark.usefixtures("avx512")
def test_avx2_code_gives_the_bits_of_avx512_code(tmp_path):
    found = in_another_process(MACHINE, **HASWELL, FASTSEQ_CACHE_DIR=str(tmp_path)).split()
    assert found[1:] == ["False", "False", "True", "True"], "the process was held to AVX2 and FMA"
    assert found[0] == machine_digest()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86-64 processor")
def test_a_processor_without_fma_gets_no_such_instruction_and_the_same_bits(tmp_path):
    found = in_another_process(MACHINE, **GENERIC, FASTSEQ_CACHE_DIR=str(tmp_path)).split()
    assert found[1:] == ["False", "False", "False", "False"]
    assert found[0] == machine_digest()


CELLS = {
    "LSTM": lambda: nn.LSTM(5, 35, num_layers=2),
    "GRU before": lambda: nn.GRU(5, 35, num_layers=2, reset_after=False),
    "projected": lambda: nn.LSTM(5, 50, num_layers=2, proj_size=35),
    "layer norm": lambda: nn.LayerNormLSTM(5, 35, num_layers=2),
}
"""Recurrent layers of 35 outputs, one of each way that a driver takes."""


def training_digests() -> dict[str, str]:
    """Digests of four training steps, the trained model's outputs, and its stream, for each cell."""
    return {f"{name}, {what}": found for name in CELLS for what, found in digests_of(CELLS[name]()).items()}


def digests_of(layer: nn.Module) -> dict[str, str]:
    """Digests of one cell."""
    fs.manual_seed(0)
    net = nn.Sequential(layer, nn.Linear(35, 2))
    rng = np.random.default_rng(1)
    net.load_state_dict({n: 0.3 * rng.standard_normal(p.shape, dtype=F32) for n, p in net.named_parameters()})
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((13, 9, 5), dtype=F32), rng.standard_normal((13, 9, 2), dtype=F32)
    lengths = rng.integers(1, 10, 13)
    found: dict[str, list[np.ndarray]] = {"losses": [], "gradients": []}
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x, lengths=lengths), y, lengths=lengths)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        found["losses"].append(np.array(loss.item()))
        found["gradients"] += [p.grad.numpy().copy() for p in net.parameters()]
        optimizer.step()
    found["parameters"] = [p.numpy() for p in net.parameters()]
    with fs.no_grad():
        found["outputs"] = [net.eval()(x, lengths=lengths).numpy()]
    stream = fs.Stream(net)
    found["stream"] = [stream.step(v).copy() for v in x[0]]
    return {name: digest(values) for name, values in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("avx512")
def test_training_under_avx2_gives_the_bits_of_avx512(tmp_path):
    code = (
        "import json; from fastseq.simd.gemm import WIDE; assert not WIDE;"
        "from tests.test_processors import training_digests; print(json.dumps(training_digests()))"
    )
    found = in_another_process(code, **HASWELL, FASTSEQ_CACHE_DIR=str(tmp_path))
    assert json.loads(found) == training_digests()
