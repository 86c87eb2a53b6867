import numpy as np
import pytest

from pneumo_jax.thresholds import Thresholds, thresholds_of

BOX = np.array([[100.0, 100, 200, 300]])
LARGER = np.array([[70.0, 55, 260, 390]])
NOTHING = np.zeros((0, 4))


def test_boxes_from_the_threshold_on_are_drawn_and_shrunk():
    boxes = np.concatenate([BOX, LARGER])
    scores = np.array([0.6, 0.5])
    drawn, kept = Thresholds(film=0.5, box=0.6).select(boxes, scores)
    np.testing.assert_array_equal(drawn, BOX)
    assert kept.tolist() == [0.6]
    drawn, _ = Thresholds(film=0.5, box=0.5, shrink=0.5).select(boxes, scores)
    np.testing.assert_allclose(drawn[0], [150, 175, 100, 150])
    np.testing.assert_allclose(Thresholds(film=0.5, box=0, shrink=0.5).resized(NOTHING), NOTHING)


def located(predicted):
    """30 films with a box each, and as many without."""
    scores = np.array([0.7])
    return (
        [BOX] * 30 + [NOTHING] * 30,
        [predicted] * 30 + [NOTHING] * 30,
        [scores] * 30 + [np.zeros(0)] * 30,
    )


def test_shrinking_is_learned_where_it_is_asked_for():
    labels, probs = np.repeat([1, 0], 30), np.repeat([0.8, 0.2], 30)
    plain = thresholds_of(labels, probs, located(LARGER), learn_shrink=False)
    assert (plain.shrink, plain.box_chosen, plain.film) == (1.0, True, pytest.approx(0.5))
    learned = thresholds_of(labels, probs, located(LARGER), learn_shrink=True)
    assert learned.shrink < 1
    assert learned.box == pytest.approx(plain.box)
    # Boxes that fit stay as they are.
    assert thresholds_of(labels, probs, located(BOX), learn_shrink=True).shrink == 1


@pytest.mark.parametrize('learn_shrink', [False, True])
def test_without_a_hit_nothing_is_chosen(learn_shrink):
    labels, probs = np.repeat([1, 0], 30), np.repeat([0.8, 0.2], 30)
    for boxes in (located(BOX + 500), ([], [], [])):
        found = thresholds_of(labels, probs, boxes, learn_shrink=learn_shrink)
        assert (found.box, found.box_chosen, found.shrink) == (0.0, False, 1.0)
