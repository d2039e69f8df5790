"""The benchmarks are run by hand, so a rename in the package could break them unnoticed."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
SUPPORT = {"measuring.py", "synthetic.py"}  # modules that the benchmarks share


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", sorted(script.name for script in BENCHMARKS.glob("*.py") if script.name not in SUPPORT)
)
def test_a_benchmark_starts_and_prints_its_help(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [script, "--help"])
    monkeypatch.syspath_prepend(BENCHMARKS)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")
