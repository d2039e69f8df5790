"""The fastest precision is measured, remembered for this machine, and kept by an index."""

import json
import os
import time

import numpy as np
import pytest

from facesearch.embed import open_embedder
from facesearch.embed.openvino_runtime import (
    Timings,
    fastest_network,
    read_timings,
    timings_of,
    write_timings,
)
from facesearch.models.card import Card
from facesearch.models.openvino import openvino_core, precisions


def taking(**milliseconds):
    """Return runs that take so long, and note that they ran."""
    ran = []

    def run_of(name, length):
        def run():
            ran.append(name)
            time.sleep(length / 1000)

        return run

    return {name: run_of(name, length) for name, length in milliseconds.items()}, ran


def test_the_fastest_is_found_whatever_its_name():
    for times in ({"f32": 2, "bf16": 20}, {"f32": 20, "bf16": 2}, {"f32": 20, "bf16": 20, "f16": 2}):
        timings = Timings("here")
        runs, ran = taking(**times)
        timings.measure(runs, 2)
        assert timings.fastest == min(times, key=times.get)
        assert timings.settled(times)
        assert ran[: len(times)] == list(times)  # each once to prepare it, then in turn
        assert timings.seconds[timings.fastest] >= 0.001


def test_what_is_nearly_as_fast_takes_several_runs_to_tell():
    timings = Timings("here", 5, {"f32": 0.010, "bf16": 0.011})
    assert not timings.settled(["f32", "bf16"])
    assert Timings("here", 5, {"f32": 0.010, "bf16": 0.014}).settled(["bf16", "f32"])
    rounds = 0
    while not timings.settled(["f32", "bf16"]):
        timings.measure(taking(f32=10, bf16=11)[0], 1)
        assert timings.rounds > rounds
        rounds = timings.rounds
    assert timings.seconds["f32"] <= 0.0110  # the shortest of all runs counts


def test_another_precision_is_measured_anew():
    timings = Timings("here", 99, {"f32": 0.001, "bf16": 0.010})
    assert not timings.settled(["f32", "bf16", "f16"])
    timings.measure(taking(f32=5, bf16=5, f16=1)[0], 1)
    assert set(timings.seconds) == {"f32", "bf16", "f16"}
    assert timings.fastest == "f16"


def test_what_was_measured_is_remembered_for_this_machine(tmp_path):
    file = tmp_path / "times.json"
    timings = Timings("here", 3, {"f32": 0.010, "bf16": 0.011})
    write_timings(file, timings)
    assert read_timings(file, "here") == timings
    assert read_timings(file, "elsewhere") == Timings("elsewhere")
    assert read_timings(None, "here") == Timings("here")
    write_timings(None, timings)
    write_timings(tmp_path / "no folder" / "times.json", timings)  # no reason to fail


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", '{"machine": "here"}', '{"machine": "here", "seconds": {}}'),
        '{"machine": "here", "rounds": 1, "seconds": {"f32": 0}}',
        '{"machine": "here", "rounds": 1, "seconds": {"f32": "x"}}',
    ],
)
def test_what_cannot_be_read_is_measured_again(tmp_path, text):
    file = tmp_path / "times.json"
    file.write_text(text)
    assert read_timings(file, "here") == Timings("here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_embedder_takes_the_fastest_and_remembers_it(model_store, cache):
    known = precisions(openvino_core())
    one = open_embedder("sface", store=model_store)
    assert one.precision in known
    timings = timings_of(one.card)
    if len(known) > 1:
        assert set(timings.seconds) == set(known)
        assert one.precision == timings.fastest
    assert open_embedder("sface", store=model_store, precision="f32").precision == "f32"
    assert open_embedder("sface", store=model_store, usual="f32").precision == "f32"
    assert timings_of(one.card) == timings  # neither measures
    again = open_embedder("sface", store=model_store, usual="int8")  # made by a later version
    assert again.precision in known


def test_an_index_keeps_the_precision_that_it_was_begun_with(ask, tmp_path, cache, model_store):
    from support.command import LIBRARY, OBAMA

    def precision():
        return json.loads(ask("info", "--index", "i.npz", "--json").out)["precision"]

    photos = tmp_path / "photos"
    photos.mkdir()
    os.link(LIBRARY / "biden.jpg", photos / "1.jpg")
    index = ("index", photos, "--index", "i.npz", "--model", "sface")
    assert ask(*index, "--precision", "f32").status == 0
    assert precision() == "f32"
    assert "precision  f32" in ask("info", "--index", "i.npz").text
    os.link(LIBRARY / "obama_2009.jpg", photos / "2.jpg")
    assert ask(*index).status == 0
    assert precision() == "f32"
    assert ask("query", OBAMA, "--index", "i.npz").status == 0
    assert not list(tmp_path.glob("cache/facesearch/openvino/*/precision.json"))  # nothing had to be measured
    assert ask(*index, "--rebuild").status == 0
    fastest = precision()
    assert fastest in precisions(openvino_core())
    other = next((one for one in precisions(openvino_core()) if one != fastest), fastest)
    os.link(LIBRARY / "obama_2010.jpg", photos / "3.jpg")
    assert ask(*index, "--precision", other).status == 0
    assert precision() == other
    listed = json.loads(ask("models", "list", "--json").out)["models"]
    sface = next(one for one in listed if one["name"] == "sface")
    assert set(sface.get("seconds_a_face", ())) in ({*precisions(openvino_core())}, set())


def test_a_network_of_one_crop_at_a_time_is_timed_with_one(tmp_path, cache):
    import openvino

    from facesearch.embed.foreign import import_model
    from facesearch.models.store import ModelStore

    ops = openvino.opset13
    picture = ops.parameter([1, 3, 16, 16], np.float32, name="picture")
    flat = ops.reshape(ops.avg_pool(picture, [4, 4], [0, 0], [0, 0], [4, 4], False), np.array([1, 48]), False)
    openvino.save_model(
        openvino.Model([flat], [picture], "one"), tmp_path / "one.xml", compress_to_fp16=False
    )
    store = ModelStore(tmp_path / "models")
    card = Card(name="one", dim=1, size=(16, 16), margin=0.2, detector="haar", mean=(128.0, 128.0, 128.0))
    import_model(tmp_path / "one.xml", card, store)
    one = open_embedder("one", store=store)
    assert one.embed(np.zeros((5, *one.card.size, 3), np.uint8)).shape == (5, 48)
    assert one.precision in precisions(openvino_core())


class Computing:
    """What OpenVINO has for every object here: core, network, input, request and tensor in one."""

    def __init__(self, seconds, number):
        self.seconds, self.data = seconds, np.full((2, 3), number, np.float32)
        self.partial_shape, self.is_dynamic = [self], True

    def get_property(self, device, name):
        return ["FP32", "BF16", "FP16"]

    def infer(self, inputs):
        time.sleep(self.seconds)

    def itself(self):
        return self

    input = create_infer_request = get_output_tensor = itself


@pytest.mark.parametrize("number", [np.inf, np.nan, 0.0, 2.0])
def test_what_is_no_vector_is_not_taken_however_fast_it_is(number):
    networks = {"f32": Computing(0.02, 1), "bf16": Computing(0.005, 0.99), "f16": Computing(0.001, number)}
    card, timings = Card(name="fake", dim=3, size=(8, 8), margin=0.0, detector="haar"), Timings("here")
    name, network = fastest_network(networks["f32"], card, networks.__getitem__, timings)
    assert (name, network) == ("bf16", networks["bf16"])
    assert timings.settled(networks)
    assert fastest_network(networks["f32"], card, networks.__getitem__, timings)[0] == "bf16"
