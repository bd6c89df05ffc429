# From docs/0-foundations/environment.md, which is its source: edit there.  [34048134265e]
# %% a-place-of-your-own-2
"""The machine under a result: its card, its seeds, its clocks."""

import os
import platform
import re
from pathlib import Path

import numpy as np
import torch


def environment_card() -> dict[str, str]:
    """Describe what results and times depend on beside the code.

    Returns
    -------
    dict
        Versions, processor, memory, vector instructions (they decide in which order
        PyTorch adds), threads, what becomes of denormal numbers, and the GPU.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    denormal = torch.tensor(1e-40) * 1
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.1f} GiB",
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "denormals": "kept" if denormal > 0 else "flushed to zero",
        "gpu": _gpu(),
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        found = None
    return found[1] if found else platform.processor() or "unknown"


def _gpu() -> str:
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory
        return f"{torch.cuda.get_device_name(0)}, {memory / 2**30:.1f} GiB"
    return "Apple (mps)" if torch.backends.mps.is_available() else "none"


# %% what-a-seed-gives-1
import random


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch, those of GPUs too.

    A ``torch.Generator()`` or ``numpy.random.default_rng()`` has a state of its own, which
    this does not touch. Nor does it fix the order of a set.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        If NumPy does not accept the seed. Nothing is seeded then.
    """
    np.random.seed(seed)  # first: it is the strictest
    random.seed(seed)
    torch.manual_seed(seed)


# %% two-clocks-and-a-median-1
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds for one call."""

    cpu: float  #: of processor time, all threads of this process together
    wall: float  #: by the clock


def measure(function: Callable[[], object], repeats: int = 7) -> Timing:
    """Time a function: one call to warm up, then the medians over `repeats` calls.

    Below about 10 µs the clocks themselves count: put a loop into the function.
    A GPU works on after the call has returned: time it with ``torch.cuda.Event``.

    Raises
    ------
    statistics.StatisticsError
        If `repeats` is less than 1.
    """
    function()
    cpu, wall = [], []
    for _ in range(repeats):
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        function()
        cpu.append(time.process_time() - cpu_start)
        wall.append(time.perf_counter() - wall_start)
    return Timing(statistics.median(cpu), statistics.median(wall))
