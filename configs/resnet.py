"""A ResNet-18 trained from scratch.

python -m pneumo_jax.main --config=configs/resnet.py --workdir=runs/resnet --config.data.dir=SHARDS
"""

from configs import base


def get_config():
    """Base config with the ResNet."""
    config = base.get_config()
    config.model.name = 'resnet18'
    return config
