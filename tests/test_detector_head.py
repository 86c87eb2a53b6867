"""The detector's head: shapes, its start, and that its maps can become those of boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from pneumo_jax.boxes.detector_targets import detector_targets
from pneumo_jax.detector_losses import giou_loss, heat_loss
from pneumo_jax.models.detector import DetectorHead

FEATURES, SIZE = 8, 64


def _head(dtype=jnp.float32):
    return DetectorHead(FEATURES, dtype=dtype, rngs=nnx.Rngs(0))


def _outputs(head, pyramid):
    return head(pyramid, jnp.zeros((*pyramid.shape[:3], 1)))


def _pyramid(batch=2, size=SIZE, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (batch, size // 4, size // 4, FEATURES), dtype)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_outputs_are_float32_maps_of_stride_8(dtype):
    head = _head(jnp.dtype(dtype))
    outputs = _outputs(head, _pyramid(dtype=jnp.dtype(dtype)))
    assert {name: (x.shape, x.dtype) for name, x in outputs.items()} == {
        'heat_logits': ((2, 8, 8, 1), jnp.float32),
        'box_sides': ((2, 8, 8, 4), jnp.float32),
    }
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(nnx.state(head, nnx.Param)))
    assert {layer.conv.dtype for layer in head.tower} == {jnp.dtype(dtype)}


def test_it_starts_with_rare_middles_and_sides_of_an_eighth_of_the_picture():
    for size in (SIZE, 2 * SIZE):
        outputs = _outputs(_head(), _pyramid(size=size))
        probs = jax.nn.sigmoid(outputs['heat_logits'])
        np.testing.assert_allclose(probs, 0.01, rtol=0.2)
        np.testing.assert_allclose(outputs['box_sides'], size / 8, rtol=0.2)


def test_extreme_features_give_finite_positive_sides():
    head = _head()
    head.sides.bias[...] = jnp.array([-1e9, 1e9, -1e9, 1e9])
    sides = _outputs(head, _pyramid())['box_sides']
    assert np.isfinite(sides).all()
    assert (sides > 0).all()
    assert (sides[..., ::2] < SIZE / 64).all()
    assert (sides[..., 1::2] > SIZE).all()


def _change(head, *, row, column, in_mask):
    """Heat [h,h] changed by a mark of one cell of the head's in the pyramid or in the mask."""
    size = 136
    pyramid = np.zeros((1, size // 4, size // 4, FEATURES), np.float32)
    mask = np.zeros((1, size // 4, size // 4, 1), np.float32)
    blank = head(pyramid, mask)['heat_logits']
    (mask if in_mask else pyramid)[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 5
    return np.abs(head(pyramid, mask)['heat_logits'] - blank)[0, :, :, 0]


@pytest.mark.parametrize('in_mask', [False, True])
def test_cells_see_15_cells_about_the_same_place(in_mask):
    """A mark on either shows about the cell of the same place, whichever layer it passes."""
    head = nnx.view(_head(), use_running_average=True)
    change = _change(head, row=8, column=7, in_mask=in_mask)
    rows, columns = np.nonzero(change)
    # Three convolutions of 3x3, dilated by 1, 2 and 4, reach seven cells far.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 15, 0, 14)


def test_the_detector_does_not_teach_the_mask():
    # With statistics at rest nothing of the module changes while it is traced.
    head, pyramid = nnx.view(_head(), use_running_average=True), _pyramid()

    def total(mask_logits):
        outputs = head(pyramid, mask_logits)
        return outputs['heat_logits'].sum() + outputs['box_sides'].sum()

    gradient = jax.grad(total)(jnp.ones((2, 16, 16, 1)))
    np.testing.assert_array_equal(gradient, 0)


def test_it_learns_boxes_from_the_features_of_their_cells():
    boxes = np.zeros((4, 8, 4), np.float32)
    boxes[:, 0] = [(4, 6, 22, 30), (30, 20, 28, 26), (34, 2, 24, 20), (8, 30, 40, 28)]
    targets = detector_targets(boxes, np.array([1, 1, 1, 1]), image_size=SIZE, map_size=8)
    graphdef, *parts = nnx.split(_head(), nnx.Param, ...)
    params, stats = map(nnx.to_pure_dict, parts)
    pyramid, tx = _pyramid(4), optax.adam(optax.cosine_decay_schedule(0.02, 500))

    def losses(params):
        outputs = _outputs(nnx.merge(graphdef, params, stats), pyramid)
        heat = heat_loss(outputs['heat_logits'], targets['heat'])
        giou = giou_loss(outputs['box_sides'], targets['sides'], targets['sides_weight'])
        return heat.mean() + giou.mean(), (heat, giou)

    def step(carry, _):
        params, opt_state = carry
        gradient, both = jax.grad(losses, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), both

    start = (params, tx.init(params))
    _, (heat, giou) = jax.jit(lambda c: jax.lax.scan(step, c, length=500))(start)
    assert heat[0].min() > 2
    assert heat[-1].max() < 0.1
    assert giou[-1].max() < 0.1
