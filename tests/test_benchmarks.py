"""The benchmarks are run by hand, so a rename in the package could break them unnoticed."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
SUPPORT = {"measuring.py", "synthetic.py"}  # modules that the benchmarks share


@pytest.mark.slow
def test_each_benchmark_starts_and_prints_its_help():
    scripts = sorted(script for script in BENCHMARKS.glob("*.py") if script.name not in SUPPORT)
    assert scripts
    for script in scripts:
        ran = subprocess.run(
            [sys.executable, script, "--help"], capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, (script.name, ran.stderr)
        assert ran.stdout.startswith("usage:"), script.name
