"""A MobileNet V2, from scratch.

python -m pneumo_jax.main --config=configs/mobilenet.py --workdir=runs/mobilenet \
    --config.data.dir=SHARDS
"""

from configs import base


def get_config():
    """Base config with the MobileNet V2."""
    config = base.get_config()
    config.model.name = 'mobilenet_v2'
    return config
