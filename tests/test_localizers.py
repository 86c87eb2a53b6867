import numpy as np
import pytest

from configs import base
from pneumo_jax.localizers import Localizer

SIZE = 64


def settings(**changes):
    config = base.get_config().eval
    config.update(changes)
    return config


def peak(heat, sides, row, column, score, box_sides):
    heat[row, column, 0] = score
    sides[row, column] = box_sides


def answers(num_views=1, prob=0.5):
    """Of two films: the first has a sure and a faint box, the second nothing."""
    heat = np.zeros((2, num_views, 8, 8, 1), np.float32)
    sides = np.full((2, num_views, 8, 8, 4), 4, np.float32)
    for view in range(num_views):
        peak(heat[0, view], sides[0, view], 2, 2, 0.8, (12, 16, 8, 4))
        peak(heat[0, view], sides[0, view], 6, 6, 0.2, (4, 4, 4, 4))
    mask = np.zeros((2, 16, 16, 1), np.float32)
    mask[0, 4:8, 4:12] = 0.9
    return {
        'film_prob': np.array([prob, 0.1], np.float32),
        'mask_probs': mask,
        'heat_probs': heat,
        'box_sides': sides,
    }


def test_the_detector_gives_boxes_in_film_pixels():
    localizer = Localizer('detector', settings(), SIZE)
    (boxes, scores), (nothing, none) = localizer.boxes(answers(), [(1024, 1024)] * 2)
    # Cell (2, 2) stands for the point (20, 20); the film is 16 times the picture.
    np.testing.assert_allclose(boxes[0], np.array([8, 4, 20, 20]) * 16)
    np.testing.assert_allclose(scores, [0.8, 0.2])
    assert len(nothing) == len(none) == 0
    # A wide film: the picture has margins above and below.
    (boxes, _), _ = localizer.boxes(answers(), [(512, 1024), (1024, 1024)])
    np.testing.assert_allclose(boxes[0], [8 * 16, 0, 20 * 16, 8 * 16])


def test_the_mask_gives_its_components():
    localizer = Localizer('mask', settings(), SIZE)
    (boxes, scores), (nothing, _) = localizer.boxes(answers(), [(64, 64)] * 2)
    np.testing.assert_allclose(boxes, [[16, 16, 32, 16]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.9])
    assert len(nothing) == 0


@pytest.mark.parametrize('kind', ['mask', 'detector'])
def test_the_film_gates_its_boxes(kind):
    plain, gated, root = (
        Localizer(kind, settings(film_gate=how), SIZE).boxes(answers(prob=0.25), [(64, 64)] * 2)[0]
        for how in ('none', 'product', 'sqrt')
    )
    np.testing.assert_allclose(gated[1], 0.25 * plain[1])
    np.testing.assert_allclose(root[1], 0.5 * plain[1])
    np.testing.assert_array_equal(gated[0], plain[0])


def test_faint_boxes_are_left_out():
    boxes, scores = Localizer('detector', settings(faint_share=0.5), SIZE).boxes(
        answers(), [(64, 64)]
    )[0]
    np.testing.assert_allclose(scores, [0.8])
    assert boxes.shape == (1, 4)


def test_boxes_of_several_views_are_fused():
    views = answers(num_views=2)
    # The second view sees the sure box a little lower and not the faint one.
    views['box_sides'][0, 1, 2, 2] = (12, 12, 8, 8)
    views['heat_probs'][0, 1, 6, 6] = 0
    (boxes, scores), _ = Localizer('detector', settings(), SIZE).boxes(views, [(64, 64)] * 2)
    np.testing.assert_allclose(boxes[0], [8, 6, 20, 20])
    # What one of two sees counts half.
    np.testing.assert_allclose(scores, [0.8, 0.1])


def test_rows_of_padding_have_no_boxes():
    assert len(Localizer('detector', settings(), SIZE).boxes(answers(), [(64, 64)])) == 1
