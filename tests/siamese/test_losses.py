import math

import numpy as np
import pytest

pytestmark = pytest.mark.slow

NAMES = ["contrastive", "logistic", "supcon", "triplet"]


def vectors_of(n, seed=0, dim=5):
    """Return rows of length 2."""
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (2 * rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def mean(values):
    return sum(values) / len(values) if values else 0.0


def kinds(person):
    """Return the pairs of one person and those of two, each in both orders."""
    n = len(person)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    return [p for p in pairs if person[p[0]] == person[p[1]]], [
        p for p in pairs if person[p[0]] != person[p[1]]
    ]


def far(vectors, i, j):
    return math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(vectors[i], vectors[j], strict=True)))


def cosine(vectors, i, j):
    return sum(float(a) * float(b) for a, b in zip(vectors[i], vectors[j], strict=True)) / 4


def contrastive(vectors, person, margin):
    same, different = kinds(person)
    return mean([far(vectors, i, j) ** 2 for i, j in same]) + mean(
        [max(margin - far(vectors, i, j), 0) ** 2 for i, j in different]
    )


def logistic(vectors, person, margin):
    same, different = kinds(person)

    def odds(i, j):
        return (cosine(vectors, i, j) - margin) / 0.1

    return mean([math.log1p(math.exp(-odds(i, j))) for i, j in same]) + mean(
        [math.log1p(math.exp(odds(i, j))) for i, j in different]
    )


def triplet(vectors, person, margin):
    found = []
    for i in range(len(person)):
        own = [far(vectors, i, j) for j in range(len(person)) if j != i and person[j] == person[i]]
        strange = [far(vectors, i, j) for j in range(len(person)) if person[j] != person[i]]
        if own:
            # Where there are no strangers, none is too near.
            found.append(max(margin + max(own) - min(strange), 0) if strange else 0.0)
    return mean(found)


def supcon(vectors, person, temperature):
    found = []
    for i in range(len(person)):
        others = [j for j in range(len(person)) if j != i]
        total = sum(math.exp(cosine(vectors, i, j) / temperature) for j in others)
        found += [
            -math.log(math.exp(cosine(vectors, i, j) / temperature) / total)
            for j in others
            if person[j] == person[i]
        ]
    return mean(found)


PLAINLY = {"contrastive": contrastive, "logistic": logistic, "triplet": triplet, "supcon": supcon}

PERSONS = {
    "pairs": [0, 0, 1, 1, 2, 2],
    "threes and strangers": [5, 5, 5, 9, 9, 9, 100, 101, 102],
    "two people": [1, 0, 1, 0],
    "one person": [4, 4, 4],
    "strangers only": [0, 1, 2, 3],
}


@pytest.fixture(scope="module")
def losses():
    from facesearch.siamese.keras_networks import LOSSES

    return LOSSES


def given_by(losses, name, vectors, person, margin=None):
    """Return a loss, and its gradient by the vectors."""
    import tensorflow as tf

    loss, default = losses[name]
    rows = tf.constant(vectors)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = loss(rows, tf.constant(person, tf.int64), default if margin is None else margin)
    return float(value), tf.convert_to_tensor(tape.gradient(value, rows)).numpy()


def test_there_is_a_plain_loop_for_each_loss_and_a_choice_of_it_on_the_command_line(losses):
    from facesearch.cli.train import LOSSES

    assert sorted(losses) == sorted(PLAINLY) == NAMES == sorted(LOSSES)


@pytest.mark.parametrize("factor", [None, 0.4, 1.3])
@pytest.mark.parametrize("kind", PERSONS)
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_what_plain_loops_give(losses, name, kind, factor):
    person = PERSONS[kind]
    vectors = vectors_of(len(person), seed=len(person))
    margin = losses[name][1] * (factor or 1.0)

    value, gradient = given_by(losses, name, vectors, person, None if factor is None else margin)

    assert value == pytest.approx(PLAINLY[name](vectors, person, margin), rel=1e-4, abs=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_is_what_small_steps_give(losses, name):
    person, vectors = PERSONS["threes and strangers"], vectors_of(9, seed=3).astype(np.float64)
    margin = losses[name][1]
    _, gradient = given_by(losses, name, vectors.astype(np.float32), person)
    for row, column in [(0, 0), (4, 2), (8, 4)]:
        step = np.zeros_like(vectors)
        step[row, column] = 1e-5
        slope = (
            PLAINLY[name](vectors + step, person, margin) - PLAINLY[name](vectors - step, person, margin)
        ) / 2e-5
        assert gradient[row, column] == pytest.approx(slope, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_rows_does_not_matter(losses, name):
    person, vectors = np.array(PERSONS["threes and strangers"]), vectors_of(9)
    value, gradient = given_by(losses, name, vectors, person)
    order = np.random.default_rng(0).permutation(9)

    again, turned = given_by(losses, name, vectors[order], person[order])

    assert again == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(turned, gradient[order], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("person", [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
@pytest.mark.parametrize("name", NAMES)
def test_equal_vectors_have_a_finite_loss_and_gradient(losses, name, person):
    vectors = np.repeat(vectors_of(1), 4, axis=0)
    value, gradient = given_by(losses, name, vectors, person)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_opposite_vectors_have_a_finite_loss_and_gradient(losses, name):
    one = vectors_of(1)
    value, gradient = given_by(losses, name, np.concatenate([one, -one, one, -one]), [0, 0, 1, 1])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", NAMES)
def test_people_apart_cost_less_than_people_mixed(losses, name):
    close = np.repeat(vectors_of(4, dim=8), 2, axis=0)
    apart, _ = given_by(losses, name, close, [0, 0, 1, 1, 2, 2, 3, 3])
    mixed, _ = given_by(losses, name, close, [0, 1, 2, 3, 0, 1, 2, 3])
    assert apart < 0.5 * mixed


def test_distances_are_euclidean_symmetric_and_zero_for_a_face_with_itself():
    from facesearch.siamese.keras_networks import distances

    vectors = vectors_of(7)
    found = distances(vectors).numpy()

    assert found.dtype == np.float32
    plain = np.array([[far(vectors, i, j) for j in range(7)] for i in range(7)])
    np.testing.assert_allclose(found, plain, atol=2e-3)
    np.testing.assert_allclose(found, found.T, atol=1e-6)
    assert (found <= 4.001).all()
    one = vectors[:1]
    assert distances(np.concatenate([one, -one])).numpy()[0, 1] == pytest.approx(4)
