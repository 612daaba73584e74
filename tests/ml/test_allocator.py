"""Memory that a training keeps for its next step (ml/allocator.py), in processes of its own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIB = 64
# Prints whether blocks are kept, and how many MiB of a large block stay once it was freed.
PROGRAM = f"""
import sys, torch
from pathlib import Path
from ml.allocator import keep_blocks

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

kept = keep_blocks() if "keep" in sys.argv else None
before = resident()
block = torch.ones({MIB} * 2**18)
held = resident() - before
del block
print(kept, held, resident() - before)
"""


def run(*arguments: str) -> tuple[str, float, float]:
    told = subprocess.check_output(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, text=True, timeout=300
    )
    kept, held, left = told.split()
    return kept, float(held), float(left)


NAME, VERSION = platform.libc_ver()
KNOWN = NAME == "glibc" and tuple(map(int, VERSION.split("."))) >= (2, 36)


@pytest.mark.skipif(not KNOWN, reason="needs glibc 2.36 or later")
def test_a_large_block_stays_with_a_process_that_keeps_them_and_with_no_other() -> None:
    kept, held, left = run("keep")
    assert kept == "True"
    assert held > 0.9 * MIB
    assert left > 0.9 * MIB
    kept, held, left = run()
    assert held > 0.9 * MIB
    assert left < 0.5 * MIB


def test_another_c_library_is_left_alone() -> None:
    program = (
        "import ctypes, ml.allocator as a\n"
        "class Other: pass\n"
        "ctypes.CDLL = lambda _: Other()\n"
        "print(a.keep_blocks())"
    )
    told = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)
    assert told == "False\n"
