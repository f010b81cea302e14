"""The only caller of Numba: what is compiled, how, where it is kept, and how many threads run it.

- `pieces`: functions that kernels are made of, compiled into them and never by themselves;
- `commons`: functions that are compiled once, and called by kernels;
- `kernels`: functions called from Python, compiled at their first call for the element types that are used;
- `cache`: where compiled kernels are kept on disk, and why they can be trusted;
- `threads`: how a kernel shares tasks among threads;
- `warming`: compiling everything at once.

The name of a kernel's parameter annotation (``Reals``, ``Int``, ...) says its type; see `kernels.PARAMETERS`.
"""

from __future__ import annotations

from numba import prange as prange

from fastseq.jit.cache import cache_folder as cache_folder
from fastseq.jit.commons import Common as Common
from fastseq.jit.kernels import Bytes as Bytes
from fastseq.jit.kernels import Double as Double
from fastseq.jit.kernels import Doubles as Doubles
from fastseq.jit.kernels import Flag as Flag
from fastseq.jit.kernels import Int as Int
from fastseq.jit.kernels import Integers as Integers
from fastseq.jit.kernels import Kernel as Kernel
from fastseq.jit.kernels import Launcher as Launcher
from fastseq.jit.kernels import ReadReals as ReadReals
from fastseq.jit.kernels import ReadRows as ReadRows
from fastseq.jit.kernels import Real as Real
from fastseq.jit.kernels import Reals as Reals
from fastseq.jit.kernels import all_kernels as all_kernels
from fastseq.jit.kernels import kernel as kernel
from fastseq.jit.kernels import launch as launch
from fastseq.jit.pieces import PIECE as PIECE
from fastseq.jit.pieces import piece as piece
from fastseq.jit.pieces import shared as shared
from fastseq.jit.threads import get_num_threads as get_num_threads
from fastseq.jit.threads import set_num_threads as set_num_threads
from fastseq.jit.threads import share as share
from fastseq.jit.warming import warmup as warmup
