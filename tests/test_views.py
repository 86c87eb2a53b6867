import types

import jax.numpy as jnp
import numpy as np
import pytest

from pneumo_jax.views import answer_views

SIZE = 64
CELLS = SIZE // 8


def settings(**changes):
    return types.SimpleNamespace(**{'flip': False, 'scales': (), 'merge': 'average'} | changes)


def blob_answer(images):
    """A model that sees one bright box: its mask, its middle and its sides, at any size."""
    size, cells = images.shape[1], images.shape[1] // 8
    bright = np.asarray(images[0, :, :, 0]) > 0.5
    rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    points = (np.arange(cells) + 0.5) * 8
    heat = np.exp(-((points[:, None] - (top + bottom) / 2) ** 2) / 200) * np.exp(
        -((points - (left + right) / 2) ** 2) / 200
    )
    x, y = np.meshgrid(points, points)
    sides = np.stack([x - left, y - top, right - x, bottom - y], axis=-1)
    mask = bright.reshape(size // 4, 4, size // 4, 4).mean(axis=(1, 3))
    return {
        'film_prob': jnp.array([mask.max()]),
        'class_probs': jnp.array([[0.2, 0.3, 0.5]]),
        'mask_probs': jnp.array(mask[None, :, :, None], jnp.float32),
        'heat_probs': jnp.array(heat[None, :, :, None], jnp.float32),
        'box_sides': jnp.array(sides[None], jnp.float32),
    }


def film():
    image = np.zeros((1, SIZE, SIZE, 1), np.float32)
    image[0, 16:48, 8:32] = 1
    return jnp.array(image)


def test_one_view_is_the_answer_itself():
    alone, answer = blob_answer(film()), answer_views(blob_answer, film(), settings())
    for name in ('film_prob', 'class_probs', 'mask_probs'):
        np.testing.assert_array_equal(answer[name], alone[name])
    for name in ('heat_probs', 'box_sides'):
        np.testing.assert_array_equal(answer[name][:, 0], alone[name])


@pytest.mark.parametrize('views', [{'flip': True}, {'scales': (2.0,)}, {'scales': (0.5, 2.0)}])
def test_views_of_one_film_agree(views):
    """What is left of the mirror image is right on the film, and sizes are those of the film."""
    alone, answer = blob_answer(film()), answer_views(blob_answer, film(), settings(**views))
    middle = np.unravel_index(np.asarray(alone['heat_probs'])[0, :, :, 0].argmax(), (CELLS, CELLS))
    np.testing.assert_allclose(
        answer['box_sides'][0, 0][middle], alone['box_sides'][0][middle], atol=0.5
    )
    np.testing.assert_allclose(answer['mask_probs'], alone['mask_probs'], atol=0.3)
    found = np.asarray(answer['heat_probs'])[0, 0, :, :, 0]
    assert np.unravel_index(found.argmax(), found.shape) == middle


def test_a_model_that_knows_only_one_side_is_evened_out():
    def left_only(images):
        answer = blob_answer(images)
        side = jnp.arange(CELLS * 2) < CELLS
        return answer | {'mask_probs': answer['mask_probs'] * side[:, None]}

    image = film()
    mirrored = image[:, :, ::-1]
    one = answer_views(left_only, image, settings(flip=True))['mask_probs']
    other = answer_views(left_only, mirrored, settings(flip=True))['mask_probs']
    np.testing.assert_allclose(one, other[:, :, ::-1])


def test_views_to_be_fused_stand_side_by_side():
    answer = answer_views(blob_answer, film(), settings(flip=True, scales=(2.0,), merge='fusion'))
    assert answer['heat_probs'].shape == (1, 4, CELLS, CELLS, 1)
    assert answer['box_sides'].shape == (1, 4, CELLS, CELLS, 4)
    # All else is averaged.
    assert answer['mask_probs'].shape == (1, 16, 16, 1)
    assert answer['film_prob'].shape == (1,)
