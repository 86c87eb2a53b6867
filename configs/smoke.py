"""A small ResNet for a laptop: two minutes on two CPU cores with 600 phantoms. Used by run.sh.

python -m pneumo_jax.main --config=configs/smoke.py --workdir=runs/smoke --config.data.dir=SHARDS
"""

from configs import base


def get_config():
    """Base config with a ResNet of 0.8 million parameters."""
    config = base.get_config()
    config.model.name = 'resnet_small'
    config.model.pyramid_channels = 32
    config.batch_size = 16
    config.learning_rate = 3e-3
    config.num_epochs = 40
    # Watches both heads; AUROC alone is near its ceiling while the boxes still improve.
    config.early_stopping.metric = 'loss'
    config.early_stopping.mode = 'min'
    config.early_stopping.patience = 10
    return config
