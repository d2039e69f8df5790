import gc
import io
import os
import threading
import time
import weakref

import cv2
import numpy as np
import pytest
from PIL import Image
from support.command import LIBRARY
from support.fakes import (
    BLUE,
    CARD,
    GREEN,
    RED,
    YELLOW,
    ColourEmbedder,
    SquareDetector,
    coloured,
    encoded,
    photo,
    picture,
    pipeline,
)

from facesearch.detect import Detector, open_detector
from facesearch.detect.crop import TEMPLATE
from facesearch.embed import BackgroundEmbedder, open_embedder
from facesearch.errors import FacesearchError, ModelError
from facesearch.faces import Box, Face, Status
from facesearch.index.meta import Meta
from facesearch.model import DetectionSettings, Runtime, make_meta, make_pipeline
from facesearch.models.card import Card
from facesearch.photos.content import fingerprint, picture_digest
from facesearch.pipeline import Pipeline, largest_face
from facesearch.ranking import unit_vectors


def run(paths, **options):
    return list(pipeline(**options).run([str(path) for path in paths]))


def colour(bgr):
    return np.float32(bgr) / 255


def test_a_photo_becomes_faces_and_vectors(tmp_path):
    path = photo(tmp_path / "a.png", (5, 5, 20, RED), (50, 30, 40, BLUE))
    (found,) = run([path])
    assert (found.path, found.status, found.reason) == (str(path), Status.OK, "")
    assert (found.file.size, found.file.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert found.file.file_digest == fingerprint(path.read_bytes())
    assert found.file.digest == picture_digest(path.read_bytes())
    assert [face.box for face in found.faces] == [Box(50, 30, 40, 40), Box(5, 5, 20, 20)]
    np.testing.assert_allclose(found.vectors, [colour(BLUE), colour(RED)], atol=1e-6)


def test_a_photo_without_a_face(tmp_path):
    (found,) = run([photo(tmp_path / "a.png")])
    assert found.status is Status.NO_FACE
    assert found.faces == ()
    assert found.vectors is None
    assert found.file.digest


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_results_come_in_the_order_of_the_paths(tmp_path, jobs, batch):
    class Dawdling(SquareDetector):
        def detect(self, image, scale):
            faces = super().detect(image, scale)
            time.sleep(0.004 * (int(image[15, 15, 0]) % 3))
            return faces

    paths = []
    for number in range(30):
        if number % 7 == 3:
            paths.append(photo(tmp_path / f"{number}.png"))
        elif number % 7 == 5:
            paths.append(tmp_path / f"{number}.png")
            paths[-1].write_bytes(b"broken")
        else:
            paths.append(coloured(tmp_path / f"{number}.png", number))
    found = list(Pipeline(Dawdling(), ColourEmbedder(), jobs=jobs, batch=batch).run(map(str, paths)))
    assert [one.path for one in found] == [str(path) for path in paths]
    for number, one in enumerate(found):
        if one.status is Status.OK:
            wanted = [130 + number % 10, 130 + number // 10 % 10, 130]
            np.testing.assert_allclose(one.vectors, [colour(wanted)], atol=1e-6)


def test_batches_are_filled_across_photos(tmp_path):
    paths = [coloured(tmp_path / f"{number:02}.png", number) for number in range(20)]
    paths[3:3] = [photo(tmp_path / f"none{number}.png") for number in range(5)]
    embedder = ColourEmbedder()
    found = run(paths, embedder=embedder, batch=8)
    assert embedder.calls == [8, 8, 4]
    assert [one.status for one in found].count(Status.OK) == 20


def test_a_photo_of_many_faces_is_one_batch(tmp_path):
    squares = [(x * 12 + 2, y * 12 + 2, 8, GREEN) for x in range(9) for y in range(7)]
    embedder = ColourEmbedder()
    (found,) = run([photo(tmp_path / "a.png", *squares)], embedder=embedder, batch=8)
    assert len(found.faces) == len(found.vectors) == 63
    assert sum(embedder.calls) == 63


@pytest.mark.parametrize("count", [0, 1, 4, 5, 13])
def test_in_one_thread_it_is_the_same(tmp_path, count):
    paths = [str(coloured(tmp_path / f"{number}.png", number)) for number in range(count)]
    paths += [str(tmp_path / "missing.png"), str(photo(tmp_path / "empty.png"))]
    known = {fingerprint(encoded(picture())): b""}
    embedder = ColourEmbedder()
    one = pipeline(embedder, jobs=1)
    threads = threading.active_count()
    found = []
    for looked in one.run_in_turn(paths, known=known):
        assert threading.active_count() == threads
        found.append(looked)
    for alone, other in zip(found, one.run(paths, known=known), strict=True):
        np.testing.assert_array_equal(alone.vectors, other.vectors)
        assert (alone.path, alone.status, alone.faces) == (other.path, other.status, other.faces)


def test_nothing_to_look_at_embeds_nothing(tmp_path):
    embedder = ColourEmbedder()
    assert run([], embedder=embedder) == []
    run([photo(tmp_path / "a.png")], embedder=embedder)
    assert embedder.calls == []


def test_known_content_is_not_looked_at(tmp_path):
    class Refusing(SquareDetector):
        def detect(self, image, scale):
            raise AssertionError("it was looked at")

    path = photo(tmp_path / "a.png", (5, 5, 20, RED))
    known = {fingerprint(path.read_bytes()): b""}
    (found,) = Pipeline(Refusing(), ColourEmbedder()).run([str(path)], known=known)
    assert found.file.file_digest in known
    assert (found.faces, found.vectors, found.status) == ((), None, Status.OK)


def test_a_bad_photo_never_ends_a_run(tmp_path):
    class Failing(SquareDetector):
        def detect(self, image, scale):
            if image.shape[1] == 77:
                raise cv2.error("OpenCV(4.x) a.cpp:1:\n error: it is too strange\n")
            if image.shape[1] == 78:
                raise MemoryError
            return super().detect(image, scale)

    good = photo(tmp_path / "good.png", (5, 5, 20, RED))
    bad = {
        "text.jpg": b"Dear diary",
        "empty.jpg": b"",
        "half.png": good.read_bytes()[:60],
        "strange.png": encoded(picture(width=77)),
        "huge.png": encoded(picture(width=78)),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [*bad, "folder.jpg", "pipe.jpg", "gone.jpg"]
    paths = [str(path) for name in names for path in (tmp_path / name, good)]
    found = list(Pipeline(Failing(), ColourEmbedder(), batch=3).run(paths))
    assert [one.path for one in found] == paths
    for one in found[1::2]:
        assert one.status is Status.OK
        np.testing.assert_allclose(one.vectors, [colour(RED)], atol=1e-6)
    for one, name in zip(found[::2], names, strict=True):
        assert one.status is Status.UNREADABLE
        assert one.reason.endswith(".")
        assert "\n" not in one.reason
        assert "[" not in one.reason
        assert (one.faces, one.vectors) == ((), None)
        # What could not even be read is tried again; what is no picture is known by its content.
        assert (one.file.mtime_ns == -1) == (name in ("folder.jpg", "pipe.jpg", "gone.jpg"))
        assert bool(one.file.digest) == (one.file.mtime_ns != -1)
    assert "too strange" in found[6].reason


def test_only_the_chosen_faces_are_embedded(tmp_path):
    path = photo(tmp_path / "a.png", (5, 5, 20, RED), (50, 30, 40, BLUE))
    (found,) = run([path], choose=largest_face)
    assert [face.box for face in found.faces] == [Box(50, 30, 40, 40)]
    np.testing.assert_allclose(found.vectors, [colour(BLUE)], atol=1e-6)
    (found,) = run([path], choose=lambda faces: [])
    assert found.status is Status.NO_FACE


def test_without_a_detector_the_photo_is_the_face(tmp_path):
    image = picture((0, 0, 90, RED), (60, 0, 90, RED))
    (tmp_path / "a.png").write_bytes(encoded(image))
    (found,) = Pipeline(None, ColourEmbedder()).run([str(tmp_path / "a.png")])
    assert [face.box for face in found.faces] == [Box(0, 0, 120, 90)]
    np.testing.assert_allclose(found.vectors, [colour(RED)], atol=1e-6)


def jpeg(image, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(image[:, :, ::-1]).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_small_face_in_a_large_photo_is_cut_from_the_full_pixels(tmp_path, orientation):
    # Stripes two pixels wide: at an eighth of the size they are one even grey.
    image = picture(width=2400, height=1600)
    image[800:864, 1600:1664] = 255
    image[800:864, 1602:1664:4] = 130
    image[800:864, 1603:1664:4] = 130
    (tmp_path / "a.jpg").write_bytes(jpeg(image, orientation))
    card = CARD.__class__(name="c", dim=3, size=(64, 64), margin=0.0, detector="squares")
    embedder = ColourEmbedder(card)
    (found,) = Pipeline(SquareDetector(side=300), embedder).run([str(tmp_path / "a.jpg")])
    box = found.faces[0].box
    wanted = Box(1600, 800, 64, 64) if orientation == 1 else Box(1600 - 864, 1600, 64, 64)
    assert box.overlap(wanted) > 0.8
    assert embedder.crops[0].std() > 40


def test_a_file_that_does_not_fit_into_memory_is_unreadable_and_ends_no_run(tmp_path, monkeypatch):
    from facesearch import pipeline as module

    paths = [str(coloured(tmp_path / f"{number}.png", number)) for number in range(3)]
    original = module.read_content

    def limited(path, pictures):
        if path == paths[1]:
            raise MemoryError
        return original(path, pictures)

    monkeypatch.setattr(module, "read_content", limited)
    found = list(pipeline().run(paths))
    assert [one.status for one in found] == [Status.OK, Status.UNREADABLE, Status.OK]
    assert (found[1].reason, found[1].file.mtime_ns) == ("It does not fit into memory.", -1)


def test_a_large_face_needs_no_second_look(tmp_path, monkeypatch):
    from facesearch import pipeline as module

    sides = []
    real = module.decode
    monkeypatch.setattr(
        module, "decode", lambda data, side: (sides.append(side(2400, 1600)), real(data, side=side))[1]
    )
    (tmp_path / "a.jpg").write_bytes(jpeg(picture((400, 200, 1200, RED), width=2400, height=1600)))
    (found,) = Pipeline(SquareDetector(side=300), ColourEmbedder()).run([str(tmp_path / "a.jpg")])
    assert sides == [300]
    assert found.faces[0].box.overlap(Box(400, 200, 1200, 1200)) > 0.97
    np.testing.assert_allclose(found.vectors, [colour(RED)], atol=0.02)


@pytest.mark.parametrize("detector", ["haar", "yunet"])
def test_the_smallest_face_is_in_pixels_of_the_photo_whatever_its_format(tmp_path, detector, model_store):
    """A JPEG is decoded at half its size, a PNG is not."""
    astronaut = cv2.resize(cv2.imread(str(LIBRARY / "astronaut.png")), (480, 480))
    canvas = np.full((1800, 2600, 3), 127, np.uint8)
    for left in (100, 900, 1700):
        canvas[600:1080, left : left + 480] = astronaut
    (tmp_path / "a.jpg").write_bytes(jpeg(canvas))
    cv2.imwrite(str(tmp_path / "a.png"), canvas)
    counts = {}
    for least in (60, 300):
        made = Pipeline(
            open_detector(detector, {"min_face": least}, store=model_store), ColourEmbedder(), jobs=1
        )
        found = made.run([str(tmp_path / "a.jpg"), str(tmp_path / "a.png")])
        counts[least] = [len(one.faces) for one in found]
    assert all(count >= 2 for count in counts[60])
    assert counts[300] == [0, 0]


def test_a_face_in_a_dark_photo_is_found_and_is_like_itself(tmp_path, model_store):
    image = cv2.resize(cv2.imread(str(LIBRARY / "astronaut.png")), (250, 250))
    for name, share in (("bright", 1.0), ("dark", 0.1)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), (image * share).astype(np.uint8))
    made = Pipeline(open_detector("yunet", store=model_store), open_embedder("sface", store=model_store))
    bright, dark = (
        one.vectors for one in made.run([str(tmp_path / "bright.png"), str(tmp_path / "dark.png")])
    )
    assert len(bright) == len(dark) == 1
    assert float((unit_vectors(bright) @ unit_vectors(dark).T)[0, 0]) > 0.9  # 0.78 as it is


def test_boxes_stay_inside_the_photo(tmp_path):
    image = picture((0, 0, 800, YELLOW), width=800, height=533)
    (tmp_path / "a.jpg").write_bytes(jpeg(image))
    (found,) = Pipeline(SquareDetector(side=90), ColourEmbedder()).run([str(tmp_path / "a.jpg")])
    assert found.faces[0].box == Box(0, 0, 800, 533)


def test_landmarks_are_in_pixels_of_the_photo(tmp_path):
    marks = tuple((10.0 * n, 5.0 * n) for n in range(1, 6))

    class Marking(SquareDetector):
        def detect(self, image, scale):
            return [Face(face.box, 1.0, marks, turns=1) for face in super().detect(image, scale)]

    (tmp_path / "a.jpg").write_bytes(jpeg(picture((400, 200, 1200, RED), width=2400, height=1600)))
    (found,) = Pipeline(Marking(side=300), ColourEmbedder()).run([str(tmp_path / "a.jpg")])
    np.testing.assert_allclose(found.faces[0].landmarks, [(8 * x, 8 * y) for x, y in marks])
    assert found.faces[0].turns == 1


ALIGNED = Card(name="aligned", dim=3, size=(112, 112), margin=0.0, detector="dots", landmarks=True)
DOTS = [RED, GREEN, BLUE, YELLOW, (250, 250, 250)]


def dotted(turn=lambda points: points, width=400, height=300):
    """Draw a face of five coloured dots, placed as `turn` moves the template; give photo and landmarks."""
    points = turn(np.array(TEMPLATE))
    image = picture(width=width, height=height)
    for (x, y), dot in zip(points, DOTS, strict=True):
        cv2.circle(image, (round(x), round(y)), 12, dot, -1)
    return image, tuple((float(x), float(y)) for x, y in points)


def lying_down(points):
    """Turn a quarter clockwise, make twice as large and shift."""
    return np.column_stack([300 - 2 * points[:, 1], 2 * points[:, 0] + 20])


class DotDetector(Detector):
    """Gives one face with these landmarks, told in pixels of a photo of this width."""

    landmarks = True

    def __init__(self, marks, width, side=1280):
        self.marks, self.width, self.side = marks, width, side

    def working_side(self, width, height):
        return self.side

    def detect(self, image, scale):
        scale = image.shape[1] / self.width
        marks = tuple((x * scale, y * scale) for x, y in self.marks)
        box = Box(*(round(value * scale) for value in (60, 40, 240, 240)))
        return [Face(box, 1.0, marks)]


def dots_seen(crop):
    return [crop[round(y), round(x)] for x, y in TEMPLATE]


def test_a_model_that_wants_landmarks_is_given_aligned_faces(tmp_path):
    image, marks = dotted(lying_down)
    (tmp_path / "a.png").write_bytes(encoded(image))
    embedder = ColourEmbedder(ALIGNED)

    (found,) = Pipeline(DotDetector(marks, 400), embedder).run([str(tmp_path / "a.png")])

    [crop] = embedder.crops
    assert crop.shape == (112, 112, 3)
    np.testing.assert_allclose(dots_seen(crop), DOTS, atol=3)
    assert found.faces[0].landmarks == marks


def test_aligned_faces_are_cut_from_the_full_pixels(tmp_path):
    image, marks = dotted(lying_down, width=1600, height=1200)
    (tmp_path / "a.jpg").write_bytes(jpeg(image))
    embedder = ColourEmbedder(ALIGNED)

    # At an eighth of the size the dots are three pixels wide.
    (found,) = Pipeline(DotDetector(marks, 1600, side=200), embedder).run([str(tmp_path / "a.jpg")])

    np.testing.assert_allclose(dots_seen(embedder.crops[0]), DOTS, atol=40)
    np.testing.assert_allclose(found.faces[0].landmarks, marks, atol=0.01)


def test_a_margin_shows_more_around_an_aligned_face(tmp_path):
    image, marks = dotted(lying_down)
    (tmp_path / "a.png").write_bytes(encoded(image))
    embedder = ColourEmbedder(ALIGNED)

    list(Pipeline(DotDetector(marks, 400), embedder, margin=0.5).run([str(tmp_path / "a.png")]))

    places = (np.array(TEMPLATE) - 56) / 2 + 56
    seen = [embedder.crops[0][round(y), round(x)] for x, y in places]
    np.testing.assert_allclose(seen, DOTS, atol=3)


def test_a_model_that_wants_none_is_given_the_box_as_it_is(tmp_path):
    image, marks = dotted(lying_down)
    (tmp_path / "a.png").write_bytes(encoded(image))
    embedder = ColourEmbedder(Card(name="c", dim=3, size=(240, 240), margin=0.0, detector="dots"))

    list(Pipeline(DotDetector(marks, 400), embedder).run([str(tmp_path / "a.png")]))

    np.testing.assert_array_equal(embedder.crops[0], image[40:280, 60:300])


def test_without_landmarks_a_whole_photo_is_still_a_face(tmp_path):
    image = picture((0, 0, 90, RED), (60, 0, 90, RED))
    (tmp_path / "a.png").write_bytes(encoded(image))
    embedder = ColourEmbedder(ALIGNED)

    list(Pipeline(None, embedder).run([str(tmp_path / "a.png")]))

    np.testing.assert_allclose(embedder.crops[0].mean(axis=(0, 1)), RED, atol=1)


def meta_for(card, detector):
    return Meta(card.name, card.digest, card.dim, detector, {"margin": card.margin})


def test_a_detector_without_landmarks_is_refused_for_a_model_that_wants_them():
    embedder = ColourEmbedder(ALIGNED)

    with pytest.raises(ModelError, match=r"aligned wants faces aligned .* haar gives none") as raised:
        make_pipeline(meta_for(ALIGNED, "haar"), embedder, Runtime())

    assert raised.value.hint == "Leave out --detector, for dots."
    # Where each photo is the face there is no detector to ask.
    assert make_pipeline(meta_for(ALIGNED, "haar"), embedder, Runtime(), whole=True).detector is None


def test_a_detector_with_landmarks_serves_every_model(model_store):
    for card in (ALIGNED, CARD):
        made = make_pipeline(
            meta_for(card, "yunet"), ColourEmbedder(card), Runtime(jobs=3, batch=5), store=model_store
        )
        assert made.detector.landmarks
        assert (made.jobs, made.batch, made.margin) == (3, 5, card.margin)


def test_a_detector_that_is_not_there_is_refused_for_every_model():
    for card in (ALIGNED, CARD):
        with pytest.raises(FacesearchError, match="no detector named 'eyes'"):
            make_pipeline(meta_for(card, "eyes"), ColourEmbedder(card), Runtime())


def test_the_settings_of_an_index_reach_its_detector(model_store):
    for detector in ("haar", "yunet"):
        looking = DetectionSettings(detector=detector, min_face=70, faces="largest", rotations=True)
        made = make_pipeline(make_meta(CARD, looking, None), ColourEmbedder(), Runtime(), store=model_store)
        assert (made.detector.min_face, made.detector.rotations) == (70, True)
        assert made.choose is largest_face


def test_decoded_photos_are_not_kept(tmp_path):
    """However many photos wait for the network, only those in the threads' hands are decoded."""
    held, most, lock = [], [0], threading.Lock()

    class Counting(SquareDetector):
        def detect(self, image, scale):
            pixels = image if image.base is None else image.base
            with lock:
                held.append(weakref.ref(pixels))
                most[0] = max(most[0], sum(ref() is not None for ref in held))
            return super().detect(image, scale)

    class Slow(ColourEmbedder):
        def embed(self, crops):
            time.sleep(0.02)  # the threads run ahead as far as they may
            return super().embed(crops)

    paths = [str(coloured(tmp_path / f"{number}.png", number)) for number in range(60)]
    found = list(Pipeline(Counting(), Slow(), jobs=2, batch=8).run(paths))
    assert len(found) == len(held) == 60
    assert most[0] <= 3
    gc.collect()
    assert not any(ref() is not None for ref in held)


def test_photos_are_read_only_some_way_ahead(tmp_path):
    read = []

    def paths():
        for number in range(200):
            read.append(number)
            yield str(coloured(tmp_path / f"{number}.png", number))

    results = pipeline(batch=4, jobs=2).run(paths())
    for _ in range(8):
        next(results)
    assert len(read) < 60
    results.close()


def test_a_run_that_is_given_up_stops(tmp_path):
    looked = []

    class Noting(SquareDetector):
        def detect(self, image, scale):
            looked.append(1)
            time.sleep(0.002)
            return super().detect(image, scale)

    paths = [str(coloured(tmp_path / f"{number}.png", number)) for number in range(200)]
    results = Pipeline(Noting(), ColourEmbedder(), jobs=2, batch=40).run(paths)
    next(results)
    before = threading.active_count()
    done = len(looked)
    results.close()
    assert len(looked) < done + 40  # what waits is dropped: up to 80 were handed out
    assert threading.active_count() < before


def test_cv2_keeps_its_threads():
    before = cv2.getNumThreads()
    run([])
    assert cv2.getNumThreads() == before


def test_a_model_is_opened_once_when_the_first_photo_has_to_be_looked_at(tmp_path):
    opened = []

    def opening():
        opened.append(threading.current_thread())
        return ColourEmbedder()

    known, new = (coloured(tmp_path / f"{number}.png", number) for number in (1, 2))
    embedder = BackgroundEmbedder(CARD, opening)
    one = pipeline(embedder)
    digest = picture_digest(known.read_bytes())
    assert [found.faces for found in one.run([str(known)], known={digest: b""})] == [()]
    assert opened == []
    assert [len(found.faces) for found in one.run([str(known), str(new)] * 4)] == [1] * 8
    assert len(opened) == 1
    assert opened[0] is not threading.main_thread()
