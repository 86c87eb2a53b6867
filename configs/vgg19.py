"""A VGG19 with batch normalisation, from scratch.

python -m pneumo_jax.main --config=configs/vgg19.py --workdir=runs/vgg19 --config.data.dir=SHARDS
"""

from configs import base


def get_config():
    """Base config with the VGG19."""
    config = base.get_config()
    config.model.name = 'vgg19_bn'
    return config
