import os

import numpy as np
import pytest
from PIL import Image

from facesearch.errors import StorageError
from facesearch.evaluate import plots
from facesearch.evaluate.plots import draw_cmc, draw_histograms, draw_reliability, draw_roc
from facesearch.evaluate.verification import Pairs, retrieve, verify

DRAWINGS = ("roc", "histograms", "cmc", "reliability")


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Draw few pixels where nobody looks at them."""
    monkeypatch.setattr(plots, "DPI", 40)


def model(seed, missed=0.02, n=600):
    """Return pairs and queries of one model."""
    rng = np.random.default_rng(seed)
    same, fold = np.arange(n) % 2 == 0, np.repeat((np.arange(n) % 3)[:, None], 2, axis=1)
    people = rng.integers(0, 60, (n, 2)).astype(np.int32)
    distance = rng.normal(1, 0.2, n) - 0.3 * same
    distance[rng.random(n) < missed] = np.nan
    person = np.repeat(np.arange(20, dtype=np.int32), 4)
    vectors = rng.normal(size=(20, 8))[person] + rng.normal(size=(80, 8))
    return Pairs(distance, same, people, fold.astype(np.int16), False), retrieve(np.float32(vectors), person)


def draw(kind, models, path):
    """Draw one of the pictures of models, (pairs, retrieval) by name."""
    if kind == "cmc":
        draw_cmc({name: retrieval for name, (_, retrieval) in models.items()}, path)
        return
    verified = {name: verify(pairs) for name, (pairs, _) in models.items()}
    if kind == "roc":
        draw_roc(verified, path)
    elif kind == "histograms":
        draw_histograms({name: (models[name][0], verified[name]) for name in models}, path)
    else:
        draw_reliability(verified, path)


@pytest.fixture
def written(monkeypatch):
    """Return the words of the figures that are saved."""
    words, real = [], plots.save_figure

    def spied(figure, path):
        from matplotlib.text import Text

        real(figure, path)
        words.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(plots, "save_figure", spied)
    return words


@pytest.mark.parametrize("kind", DRAWINGS)
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_picture_is_a_png_with_ink_that_is_not_cut_off(kind, count, tmp_path, monkeypatch):
    monkeypatch.undo()
    path = tmp_path / "picture.png"
    draw(kind, {f"somebody/a-model-of-a-long-name-{seed}": model(seed) for seed in range(count)}, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width == 1200
        grey = np.asarray(picture.convert("L"))
    assert (grey < 200).mean() > 0.005
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert (edge == 255).all()
    assert os.listdir(tmp_path) == ["picture.png"]


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_picture_says_what_it_is_drawn_from(kind, tmp_path, written):
    draw(kind, {"sface": model(1)}, tmp_path / "picture.png")
    text = "\n".join(written)
    assert "sface" in text
    assert ("80 photos of 20 people" if kind == "cmc" else "300 pairs of one person, 300 of two") in text


def test_figures_stand_beside_the_models_names(tmp_path, written):
    pairs, _ = one = model(2)
    draw("roc", {"sface": one, "resnet50": model(3)}, tmp_path / "picture.png")
    assert f"sface (AUC {verify(pairs).figures.auc:.3f})" in written


@pytest.mark.parametrize("kind", ["roc", "histograms", "reliability"])
@pytest.mark.parametrize("left", [0, 3])
def test_too_few_pairs_still_give_a_picture(kind, left, tmp_path):
    pairs, retrieval = model(4)
    draw(kind, {"sface": (pairs.take(np.arange(left)), retrieval)}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").is_file()


@pytest.mark.parametrize("kind", DRAWINGS)
def test_all_faces_missed_still_give_a_picture(kind, tmp_path):
    pairs, _ = model(5, missed=1.1)
    nothing = retrieve(np.full((4, 2), np.nan, np.float32), np.int32([0, 0, 1, 1]))
    draw(kind, {"sface": (pairs, nothing)}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").is_file()


def test_twenty_models_have_looks_of_their_own():
    looks = [look for _, _, look in plots._styled(dict.fromkeys(map(str, range(20))))]
    assert len(set(looks)) == 20


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(StorageError, match="cannot be written") as caught:
        draw("cmc", {"sface": model(6)}, tmp_path / "nowhere" / "picture.png")
    assert caught.value.hint


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        draw("cmc", {"sface": model(7)}, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["picture.png"]
