"""What differs between origins of one network, and what weights alone do not tell."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from pneumo_jax.errors import InputError

__all__ = ['NORMALISATIONS', 'OWN', 'PADDINGS', 'VERSIONS', 'Conventions', 'normalise']

# Of convolutions with stride 2; at stride 1 all are equal.
PADDINGS = (
    # (kernel - 1) / 2 on every side, as PyTorch's networks have it.
    'symmetric',
    # TensorFlow's SAME: what makes ceil(size / stride) pixels, the odd one below and right.
    'same',
    # As Keras' MobileNet V1: SAME in the first convolution, then one row below and one column
    # right whatever the size. It differs from SAME at odd sizes.
    'late',
)
# Where the stride of a bottleneck block of a ResNet stands: in its first 1x1 convolution, as in
# the paper and in Keras (v1), or in its 3x3 convolution, as in PyTorch's networks (v1.5).
VERSIONS = ('v1', 'v1.5')
# name -> (means, deviations, channels reversed), of RGB pictures in [0, 1].
NORMALISATIONS = {
    # To [-1, 1]: Keras' and TensorFlow's MobileNets.
    'tf': ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False),
    # ImageNet's mean and deviation: torchvision, most of timm.
    'torch': ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
    # BGR in [0, 255] less ImageNet's mean: Keras' VGG and ResNet, from Caffe.
    'caffe': (
        (123.68 / 255, 116.779 / 255, 103.939 / 255),
        (1 / 255, 1 / 255, 1 / 255),
        True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Conventions:
    """How a network is computed.

    Attributes:
        padding: one of ``PADDINGS``.
        epsilon: added to the variance in batch normalisation.
        version: one of ``VERSIONS``; matters to bottleneck blocks only.
        normalisation: of the input, a name of ``NORMALISATIONS``.

    Raises:
        InputError: for a name that is none of these.
    """

    padding: str = 'symmetric'
    epsilon: float = 1e-5
    version: str = 'v1.5'
    normalisation: str = 'tf'

    def __post_init__(self):
        for name, choices in (
            ('padding', PADDINGS),
            ('version', VERSIONS),
            ('normalisation', tuple(NORMALISATIONS)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise InputError(
                    f'config.model.conventions.{name}={value!r} is unknown; choose one of '
                    f'{", ".join(choices)}'
                )
        if not self.epsilon > 0:
            raise InputError(f'config.model.conventions.epsilon={self.epsilon} must be more than 0')


# Of networks that start from nothing.
OWN = Conventions()


def normalise(pictures, normalisation: str, channels: int):
    """What a network takes.

    Args:
        pictures: float [B,H,W,1] or RGB [B,H,W,3], in [0, 1].
        normalisation: a name of ``NORMALISATIONS``.
        channels: of the network's input; a grey picture is repeated to 3 before it is normalised,
            so that borders are padded as the network was trained.

    Returns:
        float [B,H,W,channels].

    Raises:
        InputError: for one channel and a normalisation that differs between channels.
    """
    means, deviations, reverse = NORMALISATIONS[normalisation]
    if channels == 1 and (len(set(means)) > 1 or reverse):
        raise InputError(
            f'config.model.conventions.normalisation={normalisation!r} is for networks of 3 '
            'channels: set --config.model.in_channels=3, or choose tf'
        )
    if pictures.shape[-1] != channels:
        pictures = jnp.broadcast_to(pictures, (*pictures.shape[:-1], channels))
    pictures = (pictures - jnp.array(means[:channels])) / jnp.array(deviations[:channels])
    return pictures[..., ::-1] if reverse else pictures
