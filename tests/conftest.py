import os
import unicodedata

import numpy as np
import pytest
from support.command import Done


@pytest.fixture(scope="session")
def model_store():
    """The store of this machine with the models and detectors in it: fetched once and kept between runs."""
    from facesearch.model import fetch
    from facesearch.models.store import ModelStore

    store = ModelStore()
    # A model brings the detector that it was measured with: SFace brings YuNet.
    for name in ("resnet50", "sface"):
        fetch(name, store)
    return store


@pytest.fixture
def ask(monkeypatch, capfdbinary, tmp_path, model_store):
    """Runs the command line in this process, where a test is not about the process: 10 times as fast."""
    for name in ("FACESEARCH_INDEX", "FACESEARCH_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACESEARCH_MODELS", str(model_store.root))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "SILENT")
    monkeypatch.setenv("FACESEARCH_JOBS", "")  # which --jobs sets
    monkeypatch.chdir(tmp_path)

    from facesearch.cli import run

    def ask(*args):
        monkeypatch.setattr("sys.argv", ["facesearch", *(os.fsdecode(arg) for arg in map(_plain, args))])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            run()
        out, err = capfdbinary.readouterr()
        done = Done(end.value.code, out, os.fsdecode(err))
        assert "Traceback" not in done.err, done.err
        assert "fault in facesearch" not in done.err, done.err
        return done

    return ask


@pytest.fixture
def lax(monkeypatch):
    """Let the system find files as macOS and Windows do: whatever the case, and the form of Unicode."""
    lstat, listing = os.lstat, os.listdir

    def there(path):
        try:
            lstat(path)
        except OSError:
            return False
        return True

    def folded(name):
        return unicodedata.normalize("NFD", name).casefold()

    def found(path):
        folder, name = os.path.split(path.rstrip("/"))
        if there(path) or not name:
            return path
        folder = found(folder)
        inside = listing(folder) if there(folder) else []
        return os.path.join(folder, next((one for one in inside if folded(one) == folded(name)), name))

    monkeypatch.setattr(os, "lstat", lambda path: lstat(found(path)))
    monkeypatch.setattr(os.path, "lexists", lambda path: there(found(path)))
    monkeypatch.setattr(os, "listdir", lambda path: listing(found(path)))


@pytest.fixture(scope="session")
def crops():
    """Return square pieces of the sample photos as (n, 224, 224, 3) BGR uint8; faces are in most."""
    from pathlib import Path

    import cv2

    samples = Path(__file__).parents[1] / "samples"
    pieces = []
    for name in ("queries/obama", "queries/marie_curie", "library/obama_2009", "library/obama_2010"):
        photo = cv2.imread(str(samples / f"{name}.jpg"))
        side = min(photo.shape[:2])
        for part in (side, side // 2):
            pieces.append(cv2.resize(photo[:part, :part], (224, 224), interpolation=cv2.INTER_AREA))
    return np.stack(pieces)


@pytest.fixture
def mean_network():
    """Write an OpenVINO network that averages a picture over its sides: its vectors can be told by hand.

    `shape` is the input's, such as [-1, 3, 8, 8]; `ending` says what it gives: "map" (the picture itself),
    "vector", "tokens" or "two".
    """
    from facesearch.models.openvino import load_openvino

    openvino = load_openvino()
    ops = openvino.opset13

    def write(path, shape, ending="map"):
        picture = ops.parameter(shape, np.float32, name="picture")
        sides = [2, 3] if shape[1] == 3 else [1, 2]
        weight = ops.constant(np.ones((1, 1, 1, 1), np.float32))
        features = ops.multiply(picture, weight)

        def mean():
            return ops.reduce_mean(features, sides, keep_dims=False)

        outputs = {
            "map": lambda: [features],
            "vector": lambda: [mean()],
            "tokens": lambda: [ops.reduce_mean(features, sides[:1], keep_dims=False)],
            "two": lambda: [features, mean()],
            "fixed batch": lambda: [ops.reshape(mean(), [1, 3], False)],
        }[ending]()
        openvino.save_model(openvino.Model(outputs, [picture], "mean"), path, compress_to_fp16=False)
        return path

    return write


@pytest.fixture
def milvus(milvus_server):
    """Gives URLs of collections, which are dropped after the test: each costs the server time."""
    milvus_server.given = []
    yield milvus_server
    milvus_server.drop_given()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server that all tests share; they are skipped where there is none to run."""
    from support.milvus_server import shared_server, why_not

    reason = why_not()
    if reason:
        pytest.skip(reason)
    # It sets up logging as it is imported, for which Python closes the handlers that are there. TensorFlow's
    # closes its stream with it: pytest's own, were this inside a test whose output is captured apart.
    import pymilvus  # noqa: F401

    with shared_server(tmp_path_factory) as server:
        yield server


def _plain(arg):
    return arg if isinstance(arg, (bytes, str)) else str(arg)
