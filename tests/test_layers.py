import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pneumo_jax.models.conventions import Conventions
from pneumo_jax.models.layers import Conv, ConvNorm, scaled_width, upsample_to


def test_upsampling_repeats_cells():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    up = upsample_to(x, jnp.zeros((1, 4, 4, 7)))
    np.testing.assert_array_equal(up[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 2))))


def test_scaled_width_is_mobilenets_rule():
    # From the reference implementation's channel tables for width 0.35 and 1.4.
    assert [scaled_width(c, 0.35) for c in (16, 24, 32, 64, 96, 160, 320)] == [
        8, 8, 16, 24, 32, 56, 112,
    ]  # fmt: skip
    assert [scaled_width(c, 1.4) for c in (16, 24, 32, 64, 96, 160, 320)] == [
        24, 32, 48, 88, 136, 224, 448,
    ]  # fmt: skip


# Pixels (before, after) of kernels 3 and 5 at stride 2, by the origins' own descriptions.
PADS = {
    ('symmetric', 3, 9): (1, 1),
    ('symmetric', 3, 12): (1, 1),
    ('symmetric', 5, 9): (2, 2),
    ('symmetric', 5, 12): (2, 2),
    ('same', 3, 9): (1, 1),
    ('same', 3, 12): (0, 1),
    ('same', 5, 9): (2, 2),
    ('same', 5, 12): (1, 2),
    ('late', 3, 9): (0, 1),
    ('late', 3, 12): (0, 1),
}


@pytest.mark.parametrize('depthwise', [True, False])
@pytest.mark.parametrize(('padding', 'kernel', 'size'), PADS)
def test_padding_at_stride_2_is_the_origins(padding, kernel, size, depthwise):
    pads = PADS[padding, kernel, size]
    if padding == 'late' and not depthwise:
        # As TensorFlow's.
        pads = PADS['same', kernel, size]
    groups = 8 if depthwise else 1
    layer = ConvNorm(
        8,
        8,
        kernel,
        stride=2,
        groups=groups,
        act=None,
        conventions=Conventions(padding=padding),
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    ).conv

    def theirs(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (2, 2),
            (pads, pads),
            dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
            feature_group_count=groups,
        )

    check_same_function(layer, theirs, size)


@pytest.mark.parametrize('kernel', [1, 3, 5])
@pytest.mark.parametrize('size', [9, 12])
def test_same_padding_is_xlas_at_every_stride(kernel, size):
    for stride in (1, 2):
        layer = ConvNorm(
            8,
            8,
            kernel,
            stride=stride,
            groups=8,
            act=None,
            conventions=Conventions(padding='same'),
            dtype=jnp.float32,
            rngs=nnx.Rngs(0),
        ).conv

        def theirs(x, kernel, stride=stride):
            return jax.lax.conv_general_dilated(
                x,
                kernel,
                (stride, stride),
                'SAME',
                dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                feature_group_count=8,
            )

        check_same_function(layer, theirs, size)


def check_same_function(layer, theirs, size):
    """Answers and gradients by picture and kernel."""
    x = jax.random.normal(jax.random.key(1), (2, size, size, 8))
    kernel = layer.kernel[...]

    def ours(x, kernel):
        changed = nnx.clone(layer)
        changed.kernel[...] = kernel
        return changed(x)

    @jax.jit
    def answers(x, kernel):
        return [
            (f(x, kernel), jax.grad(lambda x, k, f=f: jnp.sum(f(x, k) ** 2), (0, 1))(x, kernel))
            for f in (ours, theirs)
        ]

    for mine, other in zip(*map(jax.tree.leaves, answers(x, kernel)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('kernel', 'stride', 'groups', 'dilation'),
    [(1, 1, 1, 1), (1, 2, 1, 1), (3, 1, 8, 1), (3, 2, 8, 1), (3, 1, 8, 2), (3, 1, 1, 4)],
)
@pytest.mark.parametrize('size', [9, 12])
def test_convolutions_agree_with_xlas_own(kernel, stride, groups, dilation, size):
    pad = (kernel - 1) * dilation // 2
    arguments = (8, 8, (kernel, kernel))
    options = {
        'strides': (stride, stride),
        'padding': ((pad, pad), (pad, pad)),
        'kernel_dilation': (dilation, dilation),
        'feature_group_count': groups,
        'bias_init': nnx.initializers.normal(1.0),
    }
    ours = Conv(*arguments, **options, rngs=nnx.Rngs(0))
    theirs = nnx.Conv(*arguments, **options, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, size, size, 8))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    grad = [jax.grad(lambda x, m=m: jnp.sum(m(x) ** 2))(x) for m in (ours, theirs)]
    np.testing.assert_allclose(*grad, rtol=1e-4, atol=1e-4)
