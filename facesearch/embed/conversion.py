"""Runs a keras_*.py module in a process of its own: TensorFlow's memory, threads and log stay there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from facesearch.errors import ModelError

_LONGEST = 1800


def run_keras(module: str, *arguments: str | Path) -> None:
    """Run `python -m facesearch.embed.<module>`.

    Raises:
        ModelError: It failed; the sentence ends with its last line.
        OSError: It met a full disk.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [_package_home(), os.environ.get("PYTHONPATH")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # to convert needs no GPU, and a busy one would fail it
    }
    call = [sys.executable, "-m", f"facesearch.embed.{module}", *map(str, arguments)]
    # In an empty folder: "-m" looks for modules in the current one first, and that is the user's.
    with tempfile.TemporaryDirectory(prefix="facesearch-") as empty:
        try:
            done = subprocess.run(
                call, cwd=empty, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=_LONGEST, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ModelError("Keras did not end the conversion in half an hour.") from error
    if done.returncode and "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        raise ModelError(f"Keras failed: {_last_words(done.stderr, done.returncode)}.")


def _package_home() -> str:
    return str(Path(__file__).resolve().parents[2])


def _last_words(log: str, status: int) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else f"it ended with status {status}"
