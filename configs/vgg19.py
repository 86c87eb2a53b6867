"""A VGG19 with batch normalisation, from scratch.

python -m pneumo_jax.main --config=configs/vgg19.py --workdir=runs/vgg19 --config.data.dir=SHARDS

At 128 px on the 600 phantoms of run.sh, 15 epochs take about 35 minutes on two CPU cores and reach
a test AUROC of 0.98; README.md has the protocol.
"""

from configs import base


def get_config():
    """Base config with the VGG19."""
    config = base.get_config()
    config.model.name = 'vgg19_bn'
    return config
