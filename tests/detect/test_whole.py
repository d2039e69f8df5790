import numpy as np

from facesearch.detect import open_detector
from facesearch.faces import Box


def test_the_photo_is_the_face_whatever_it_shows():
    (face,) = open_detector("whole").detect(np.zeros((30, 40, 3), np.uint8), 1.0)
    assert (face.box, face.landmarks, face.turns) == (Box(0, 0, 40, 30), None, 0)


def test_a_photo_smaller_than_the_smallest_face_holds_none():
    detector = open_detector("whole", {"min_face": 41})
    assert detector.detect(np.zeros((30, 40, 3), np.uint8), 1.0) == []
    assert len(detector.detect(np.zeros((41, 40, 3), np.uint8), 1.0)) == 1
