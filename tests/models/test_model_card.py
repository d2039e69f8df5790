import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.errors import ModelBroken
from facesearch.models.calibration import Calibration
from facesearch.models.card import Card, DetectorCard, StoredCard, StoredFile, check_name

CALIBRATION = Calibration(
    0.4, 12.5, 5.0, ((1e-4, 0.2), (0.5, 0.6), (1.0, 1.9)), "300 pairs of somebody", "2026-11-22", own=True
)

CARD = Card(
    name="keras/MobileNet",
    dim=1024,
    size=(224, 160),
    margin=0.4,
    detector="haar",
    landmarks=True,
    metric="euclidean",
    identity=True,
    calibration={"cosine": CALIBRATION},
    measured_on="lfw-dev-pairs, 2026-11",
    digest="sha256:" + "0a" * 32,
    color="rgb",
    mean=(1.0, 2.0, 3.5),
    scale=(127.5, 127.5, 1.0),
    files={"network.xml": StoredFile(12, "ab" * 32)},
)


CALIBRATION_JSON = json.loads(CARD.to_json())["calibration"]["cosine"]


def test_a_card_comes_back_from_json_as_it_was():
    assert Card.from_json(CARD.to_json()) == CARD
    assert StoredCard.from_json(CARD.to_json()) == CARD


def test_a_detectors_card_is_told_from_a_models():
    card = DetectorCard(name="eyes", licence="MIT", digest="sha256:" + "0a" * 32)

    assert DetectorCard.from_json(card.to_json()) == card
    assert StoredCard.from_json(card.to_json()) == card
    with pytest.raises(ModelBroken, match="of another kind than is wanted: 'detector'"):
        Card.from_json(card.to_json())
    with pytest.raises(ModelBroken, match="of another kind than is wanted: 'embedder'"):
        DetectorCard.from_json(CARD.to_json())
    with pytest.raises(ModelBroken, match="does not know: 'dim'"):
        DetectorCard.from_json(json.dumps({**json.loads(card.to_json()), "dim": 3}))


def test_a_card_that_says_only_what_it_must_is_read():
    text = '{"format": 1, "name": "a", "dim": 4, "size": [8, 8], "margin": 0, "detector": "haar"}'

    assert Card.from_json(text) == Card(name="a", dim=4, size=(8, 8), margin=0.0, detector="haar")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../../etc"),
        ("name", ".hidden"),
        ("name", "a/b/c"),
        ("name", 3),
        ("dim", 0),
        ("dim", True),
        ("dim", 1.5),
        ("dim", 1 << 40),
        ("size", [224]),
        ("size", [224, 1]),
        ("size", "22"),
        ("margin", -0.1),
        ("margin", float("nan")),
        ("margin", 10**400),
        ("margin", "0.4"),
        ("detector", "../haar"),
        ("landmarks", 1),
        ("metric", "hamming"),
        ("identity", "yes"),
        ("calibration", {"cosine": [1.0]}),
        ("calibration", [CALIBRATION_JSON]),
        ("calibration", {"other": CALIBRATION_JSON}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "threshold": float("inf")}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "slope": 0}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "slope": -1.0}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "strangers": [[0.5, 0.6]]}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "strangers": [[0.5, 0.6], [0.4, 0.7]]}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "strangers": [[0.5, 0.6], [1.0, 0.6]]}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "strangers": [[0.0, 0.6], [1.0, 0.7]]}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "strangers": [[0.5, 0.6], [1.5, 0.7]]}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "date": "yesterday"}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "data": "a\x1b[2J"}}),
        ("calibration", {"cosine": {**CALIBRATION_JSON, "more": 1}}),
        ("calibration", {"cosine": {"threshold": 0.4}}),
        ("licence", "MIT\x1b[2J"),
        ("source", "x" * 5000),
        ("digest", "sha256:xyz"),
        ("color", "grey"),
        ("mean", [1.0, 2.0]),
        ("scale", [1.0, 0.0, 1.0]),
        ("files", {"../../x": {"size": 1, "sha256": "ab" * 32}}),
        ("files", {"network.xml": {"size": -1, "sha256": "ab" * 32}}),
        ("files", {"network.xml": {"sha256": "ab" * 32}}),
        ("files", {"network.xml": {"size": 1, "sha256": "short"}}),
    ],
)
def test_a_card_with_an_unusable_value_is_refused_by_its_key(key, value):
    data = {**json.loads(CARD.to_json()), key: value}

    with pytest.raises(ModelBroken, match=f"no usable {key}"):
        Card.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{" * 5000, "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "a format that this version does not know"),
        ('{"format": 2}', "a format that this version does not know"),
        ('{"format": 1}', "does not say its name"),
        ('{"format": 1, "rotate": true}', "does not know: 'rotate'"),
    ],
)
def test_what_is_no_card_is_refused_with_a_reason(text, said):
    with pytest.raises(ModelBroken, match=said):
        Card.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(key=st.sampled_from(sorted(json.loads(CARD.to_json()))), value=JSON)
def test_any_value_of_any_key_gives_a_card_or_a_refusal(key, value):
    text = json.dumps({**json.loads(CARD.to_json()), key: value})
    try:
        card = Card.from_json(text)
    except ModelBroken:
        return
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize(
    "name", ["", "..", "a/..", "/a", "a\\b", "a b", "a/b/c", "é", "a" * 64, "x=y", "x\n"]
)
def test_a_name_that_could_leave_the_store_is_none(name):
    with pytest.raises(ModelBroken, match="cannot be a model's name"):
        check_name(name)
