"""A ResNet-18 trained from scratch.

python -m pneumo_jax.main --config=configs/resnet.py --workdir=runs/resnet --config.data.dir=SHARDS

25 epochs at 256 px: 6 films/s on two CPU cores. On the 600 phantoms of run.sh at 128 px, 15 epochs
take 7 minutes and reach a test AUROC of 0.97; README.md has the protocol.
"""

from configs import base


def get_config():
    """Base config with the ResNet."""
    config = base.get_config()
    config.model.name = 'resnet18'
    return config
