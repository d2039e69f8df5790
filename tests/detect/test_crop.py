import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.detect.crop import crop_face, widened
from facesearch.faces import Box, Face

# Red grows with x and green with y, so that a crop says where it was taken.
IMAGE = np.zeros((100, 200, 3), np.uint8)
IMAGE[..., 2] = np.arange(200)
IMAGE[..., 1] = np.arange(100)[:, None]


def crop(box, *, size=(50, 50), margin=0.0, turns=0, image=IMAGE):
    return crop_face(image, Face(Box(*box), 1.0, turns=turns), size=size, margin=margin)


def test_a_box_is_cut_out_as_it_is():
    np.testing.assert_array_equal(crop((30, 20, 50, 50)), IMAGE[20:70, 30:80])


def test_the_margin_is_added_on_each_side():
    np.testing.assert_array_equal(crop((40, 30, 20, 20), size=(36, 36), margin=0.4), IMAGE[22:58, 32:68])
    assert widened(Box(40, 30, 20, 10), 0.5) == Box(30, 25, 40, 20)
    assert widened(Box(40, 30, 20, 10), 0.0) == Box(40, 30, 20, 10)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0, 0, 20, 20), range(-10, 30), range(-10, 30)),
        ((180, 80, 20, 20), range(70, 110), range(170, 210)),
        ((0, 40, 20, 20), range(30, 70), range(-10, 30)),
    ],
)
def test_beyond_the_photo_its_edge_is_repeated(box, rows, columns):
    found = crop(box, size=(40, 40), margin=0.5)
    ys, xs = np.clip(list(rows), 0, 99), np.clip(list(columns), 0, 199)
    np.testing.assert_array_equal(found, IMAGE[np.ix_(ys, xs)])


@pytest.mark.parametrize("size", [(20, 20), (100, 100), (160, 96)])
def test_the_crop_has_the_size_that_is_wanted(size):
    found = crop((30, 20, 50, 50), size=size)
    assert found.shape == (*size, 3)
    assert found.dtype == np.uint8
    # It shows the same whatever its size.
    assert found[..., 2].mean() == pytest.approx(54.5, abs=1)
    assert found[..., 1].mean() == pytest.approx(44.5, abs=1)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_face_is_brought_upright(turns):
    upright = crop((30, 20, 50, 50))
    np.testing.assert_array_equal(crop((30, 20, 50, 50), turns=turns), np.rot90(upright, turns))


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    margin=st.floats(0, 3),
    turns=st.integers(0, 3),
)
def test_every_box_in_a_photo_gives_a_crop(data, width, height, margin, turns):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (x, y, data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y)))
    image = np.full((height, width, 3), 77, np.uint8)
    found = crop(box, size=(24, 16), margin=margin, turns=turns, image=image)
    assert found.shape == (24, 16, 3)
    assert np.all(found == 77)


def test_a_large_face_is_averaged_and_not_sampled():
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.all(np.abs(crop((0, 0, 200, 200), size=(20, 20), image=stripes).astype(int) - 100) <= 1)
