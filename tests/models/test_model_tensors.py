import hashlib
import io
import json
import tarfile

import h5py
import numpy as np
import pytest

from facesearch.errors import ModelBroken
from facesearch.models.tensors import (
    load_tensors,
    read_h5_tensors,
    read_web_tensors,
    save_tensors,
    tensors_digest,
)

TENSORS = {
    "b_bn/gamma": np.array([1.5, -2.0], np.float32),
    "a_conv/kernel": np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3),
    "a_conv/bias": np.array([0.25], np.float32),
}


def assert_same(found, wanted):
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == np.float32


def test_the_digest_is_sha256_over_sorted_names_and_little_endian_bytes():
    plain = b"".join(name.encode() + TENSORS[name].astype("<f4").tobytes() for name in sorted(TENSORS))

    assert tensors_digest(TENSORS) == "tensors-sha256:" + hashlib.sha256(plain).hexdigest()


def test_the_digest_does_not_depend_on_order_or_memory_layout():
    turned = {name: np.asfortranarray(TENSORS[name]) for name in reversed(TENSORS)}

    assert tensors_digest(turned) == tensors_digest(TENSORS)


def test_saved_tensors_come_back(tmp_path):
    save_tensors(TENSORS, tmp_path / "tensors.npz")

    assert_same(load_tensors(tmp_path / "tensors.npz"), TENSORS)


def test_a_pickle_among_saved_tensors_is_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.array([{"a": 1}], dtype=object))

    with pytest.raises(ModelBroken, match=r"t\.npz does not hold tensors"):
        load_tensors(tmp_path / "t.npz")


def test_damaged_and_missing_tensors_are_refused(tmp_path):
    save_tensors(TENSORS, tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:200])
    (tmp_path / "flip.npz").write_bytes(whole[:150] + bytes([whole[150] ^ 1]) + whole[151:])

    for name in ("cut.npz", "flip.npz", "none.npz"):
        with pytest.raises(ModelBroken, match=f"{name} does not hold tensors"):
            load_tensors(tmp_path / name)


def web_package(path, *, drop="", cut=0, **changes):
    """Write TENSORS as TensorFlow.js does: one stream of bytes, cut into two shards."""
    data = b"".join(value.tobytes() for value in TENSORS.values())
    weights = [{"name": n, "shape": list(v.shape), "dtype": "float32", **changes} for n, v in TENSORS.items()]
    manifest = {"weightsManifest": [{"paths": ["s1", "s2"], "weights": weights}]}
    members = {
        "p/s1": data[:21],
        "p/s2": data[21 : len(data) - cut],
        "p/model.json": json.dumps(manifest).encode(),
    }
    members.pop(drop, None)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_web_tensors_are_read_across_shards(tmp_path):
    assert_same(read_web_tensors(web_package(tmp_path / "a.tgz"), "p"), TENSORS)


def test_a_package_without_the_folder_holds_no_web_tensors(tmp_path):
    assert read_web_tensors(web_package(tmp_path / "a.tgz"), "other") == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drop": "p/s2"}, "holds no s2"),
        ({"drop": "p/model.json"}, "holds no TensorFlow.js model"),
        ({"cut": 4}, "shorter than their manifest"),
        ({"dtype": "uint8"}, "not plain float32"),
        ({"quantization": {"scale": 1}}, "not plain float32"),
    ],
)
def test_an_incomplete_web_package_is_refused(settings, said, tmp_path):
    with pytest.raises(ModelBroken, match=said):
        read_web_tensors(web_package(tmp_path / "a.tgz", **settings), "p")


def test_h5_files_of_the_old_layout_are_read(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = ["a_conv", "b_bn", "pool"]
        file.create_group("pool")
        for name, value in TENSORS.items():
            file[f"{name.partition('/')[0]}/{name}:0"] = value

    assert_same(read_h5_tensors(tmp_path / "w.h5"), TENSORS)


def test_h5_files_of_the_current_layout_are_read(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = TENSORS["a_conv/kernel"]
        file["layers/conv2d/vars/1"] = TENSORS["a_conv/bias"]
        file["layers/conv2d/vars"].attrs["name"] = "a_conv"
        for number in range(4):
            file[f"layers/b_bn/vars/{number}"] = np.full(2, number, np.float32)

    found = read_h5_tensors(tmp_path / "w.weights.h5")

    np.testing.assert_array_equal(found["a_conv/kernel"], TENSORS["a_conv/kernel"])
    np.testing.assert_array_equal(found["a_conv/bias"], TENSORS["a_conv/bias"])
    np.testing.assert_array_equal(found["b_bn/moving_mean"], [2, 2])


def test_a_truncated_h5_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a/a/kernel:0"] = np.zeros(5000, np.float32)
    (tmp_path / "w.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:9000])

    with pytest.raises(ModelBroken, match=r"w\.h5 is not a whole HDF5 file"):
        read_h5_tensors(tmp_path / "w.h5")
