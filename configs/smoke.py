"""A small ResNet for a laptop: minutes on two CPU cores with 600 phantoms. Used by run.sh.

python -m pneumo_jax.main --config=configs/smoke.py --workdir=runs/smoke --config.data.dir=SHARDS
"""

from configs import base


def get_config():
    """Base config with a ResNet of 0.8 million parameters and short training."""
    config = base.get_config()
    config.model.name = 'resnet_small'
    config.batch_size = 16
    config.num_epochs = 14
    return config
