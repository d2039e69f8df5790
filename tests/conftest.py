import pytest


@pytest.fixture(scope="session")
def model_store():
    """The store of this machine with the models and detectors in it: fetched once and kept between runs."""
    from facesearch.catalogue import fetch
    from facesearch.models.store import ModelStore

    store = ModelStore()
    # A model brings the detector that it was measured with: SFace brings YuNet.
    for name in ("resnet50", "sface"):
        fetch(name, store)
    return store


@pytest.fixture(scope="session")
def crops():
    """Give square pieces of the sample photos as (n, 224, 224, 3) BGR uint8; faces are in most."""
    from pathlib import Path

    import cv2
    import numpy as np

    samples = Path(__file__).parents[1] / "samples"
    pieces = []
    for name in ("queries/obama", "queries/marie_curie", "library/obama_2009", "library/obama_2010"):
        photo = cv2.imread(str(samples / f"{name}.jpg"))
        side = min(photo.shape[:2])
        for part in (side, side // 2):
            pieces.append(cv2.resize(photo[:part, :part], (224, 224), interpolation=cv2.INTER_AREA))
    return np.stack(pieces)
