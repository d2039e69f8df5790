import csv
import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO

import numpy as np
import pytest

from facesearch.errors import StorageError, TrainingError
from facesearch.siamese.run import CONFIG, HISTORY, STATE, Epoch, Run, TrainingState

CONFIG_OF = {
    **{"format": 1, "base": "cnn", "margin": None, "seed": 3, "validation": 0.2},
    **{"base_digest": "", "photos": "sha256:0"},
}


def state_of(*areas, seed=0):
    """Return a state after so many epochs, with these areas under the curve."""
    rng = np.random.default_rng(seed)

    def network():
        return [rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (4,), (2, 2, 3))]

    history = [Epoch(number, 1 / number, 0.5 + area / 3, area, 0.125) for number, area in enumerate(areas, 1)]
    return TrainingState(network(), network(), [np.int64(17), *network()], history)


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "runs" / "one")
    run.start(CONFIG_OF)
    return run


def same_arrays(one, other):
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert np.asarray(first).dtype == np.asarray(second).dtype
        np.testing.assert_array_equal(first, second)


def test_what_was_kept_is_read_again_to_the_last_bit(run):
    kept = state_of(0.5, 0.75, 0.625)
    run.save(kept)

    found = run.resume(CONFIG_OF)

    for name in ("weights", "best", "optimizer"):
        same_arrays(getattr(kept, name), getattr(found, name))
    assert found.history == kept.history


def test_a_later_state_takes_the_place_of_an_earlier_one_and_nothing_is_left_beside_it(run):
    run.save(state_of(0.5, seed=1))
    run.save(state_of(0.5, 0.6, seed=2))
    assert [epoch.number for epoch in run.resume(CONFIG_OF).history] == [1, 2]
    assert sorted(os.listdir(run.folder)) == sorted([CONFIG, STATE, *HISTORY])


@pytest.mark.parametrize("name", ["config.json", "history.csv", "report.json", "model/weights.txt"])
def test_a_folder_with_files_of_others_is_refused_and_they_stay(tmp_path, name):
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text('{"of": "others"}')
    with pytest.raises(TrainingError, match="holds files that are not a run's"):
        Run(folder).start(CONFIG_OF)
    assert (folder / name).read_text() == '{"of": "others"}'


def test_the_best_epoch_is_the_last_of_the_largest_area():
    assert state_of(0.5, 0.75, 0.75, 0.7).best_epoch.number == 3


def test_history_is_the_same_in_both_forms(run):
    kept = state_of(0.5, 0.1 + 0.2, 1 / 3)
    run.save(kept)

    told = json.loads((run.folder / "history.json").read_text())
    with open(run.folder / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert told == [asdict(epoch) for epoch in kept.history]
    assert [{name: float(value) for name, value in row.items()} for row in rows] == told
    assert list(rows[0]) == ["number", "loss", "accuracy", "auc", "seconds"]


def test_the_state_holds_no_pickle(run):
    run.save(state_of(0.5))
    with np.load(run.folder / STATE, allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
    with zipfile.ZipFile(run.folder / STATE) as archive:
        assert {os.path.splitext(name)[1] for name in archive.namelist()} == {".npy"}


def test_a_pickle_in_the_place_of_the_state_is_not_run(run, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    with open(run.folder / STATE, "wb") as file:
        np.savez(file, weights_0=np.array([Trap()], dtype=object), history="[]")
    with pytest.raises(TrainingError, match="is damaged, or not a run"):
        run.resume(CONFIG_OF)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 4}, "seed"),
        ({"margin": 1.0, "base": "sface"}, "base, margin"),
        ({"added": 1}, "added"),
        ({"validation": 0.25}, "validation"),
    ],
)
def test_a_run_that_was_asked_for_other_things_is_not_gone_on_with(run, changed, named):
    run.save(state_of(0.5))
    with pytest.raises(TrainingError) as caught:
        run.resume({**CONFIG_OF, **changed})
    assert caught.value.message == f"The run in {str(run.folder)!r} was started with other settings: {named}."
    assert caught.value.hint == "Use the same settings as before, or leave out --resume to start again."


def test_what_json_changes_is_no_difference(tmp_path):
    config = {"size": (64, 64), "share": 0.1}
    run = Run(tmp_path)
    run.start(config)
    run.save(state_of(0.5))
    assert len(run.resume(config).history) == 1


@pytest.mark.parametrize("missing", [CONFIG, STATE])
def test_no_run_to_go_on_with_is_said(run, missing):
    run.save(state_of(0.5))
    (run.folder / missing).unlink()
    with pytest.raises(TrainingError) as caught:
        run.resume(CONFIG_OF)
    assert caught.value.message == f"There is no run to resume in {str(run.folder)!r}."
    assert caught.value.hint == "Leave out --resume."


def test_a_folder_that_is_not_there_is_no_run(tmp_path):
    with pytest.raises(TrainingError, match="There is no run to resume"):
        Run(tmp_path / "nowhere").resume(CONFIG_OF)
    assert not (tmp_path / "nowhere").exists()


def history_of(**changes):
    return json.dumps([{"number": 1, "loss": 0.1, "accuracy": 0.5, "auc": 0.5, "seconds": 1.0, **changes}])


def damaged(kind):
    """Return what stands in a file instead of what should."""
    if kind == "text":
        return b"no archive"
    if kind == "nothing":
        return b""
    arrays = {
        "no history": {"weights_0": np.zeros(2)},
        "a gap": {"weights_1": np.zeros(2), "history": "[]"},
        "no json": {"history": "[{"},
        "a number": {"history": "3"},
        "another key": {"history": history_of(colour=1)},
        "a missing key": {"history": '[{"number": 1}]'},
    }[kind]
    stream = BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["text", "nothing", "no history", "a gap", "no json", "a number", "another key", "a missing key"],
)
def test_a_damaged_state_is_refused_with_a_way_out(run, kind):
    (run.folder / STATE).write_bytes(damaged(kind))
    with pytest.raises(TrainingError) as caught:
        run.resume(CONFIG_OF)
    assert caught.value.message.startswith(f"The run in {str(run.folder)!r} is damaged, or not a run: ")
    assert caught.value.hint == "Leave out --resume to start again."


@pytest.mark.parametrize("text", ["", "{", "\xff", "[]", "3", '"text"'])
def test_a_damaged_config_is_refused(run, text):
    run.save(state_of(0.5))
    (run.folder / CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(TrainingError, match=r"is damaged, or not|with other settings: everything"):
        run.resume(CONFIG_OF)


def test_a_state_that_is_cut_off_is_refused(run):
    run.save(state_of(0.5))
    whole = (run.folder / STATE).read_bytes()
    for length in range(1, len(whole), 97):
        (run.folder / STATE).write_bytes(whole[:length])
        with pytest.raises(TrainingError, match="is damaged, or not a run"):
            run.resume(CONFIG_OF)


@pytest.mark.slow
def test_no_flipped_bit_in_the_table_of_a_state_is_a_fault(run):
    run.save(state_of(0.5))
    whole = (run.folder / STATE).read_bytes()
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        for bit in (0, 3, 6):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            (run.folder / STATE).write_bytes(content)
            with suppress(TrainingError):
                assert len(run.resume(CONFIG_OF).history) == 1


def test_a_new_run_in_the_same_folder_begins_with_nothing(run):
    run.save(state_of(0.5))
    run.write_report({"accuracy": 1.0}, "<p>")
    run.start({**CONFIG_OF, "seed": 9})
    assert os.listdir(run.folder) == [CONFIG]
    assert json.loads((run.folder / CONFIG).read_text())["seed"] == 9


def test_the_report_is_json_and_a_page(run):
    run.write_report({"accuracy": 0.5, "path": "caf\xe9"}, "<p>caf\xe9")
    assert (run.folder / "report.html").read_text(encoding="utf-8") == "<p>caf\xe9"
    assert json.loads((run.folder / "report.json").read_text()) == {"accuracy": 0.5, "path": "caf\xe9"}


FILL_UP = """
import resource, sys
from pathlib import Path
import numpy as np
from facesearch.errors import StorageError
from facesearch.siamese.run import Epoch, Run, TrainingState

run, large = Run(Path(sys.argv[1])), [np.ones(100_000, np.float32)]
run.start({})
run.save(TrainingState([], [], [], [Epoch(1, 1.0, 0.5, 0.5, 1.0)]))
sys.dont_write_bytecode = True  # it would be cut short, too
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    run.save(TrainingState(large, large, large, []))
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_the_state_before_is_kept(tmp_path):
    """A limit on the size of files stands in for the disk."""
    done = subprocess.run(
        [sys.executable, "-c", FILL_UP, tmp_path / "run"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"'{tmp_path}/run' cannot be written: File too large. Free some space")
    assert len(Run(tmp_path / "run").resume({}).history) == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        Run(tmp_path / "file" / "run").start({})
