"""The detector for few films: its heads on a MobileNet V2 whose weights stay those of ImageNet.

On phantoms first, whose boxes cost nothing, then on the films (docs/localizer.md tells it in full):

python -m pneumo_jax.main --config=configs/detector.py --workdir=runs/phantoms \
    --config.data.dir=SHARDS_OF_PHANTOMS --config.model.init_from=FILE
python -m pneumo_jax.main --config=configs/detector.py --workdir=runs/detector \
    --config.data.dir=SHARDS --config.model.init_from=runs/phantoms

FILE is Keras', torchvision's or timm's MobileNet V2.
"""

from configs import base, transfer


def get_config():
    """Base config with the detector, strong augmentation, and what its boxes gain by answers."""
    config = base.get_config()
    config.model.name = 'mobilenet_v2'
    config.model.init_from = 'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5'
    config.model.localizer = 'detector'
    transfer.set_recipe(config)
    config.transfer.head_epochs = 0.0
    config.transfer.frozen_stages = 5
    config.augment.rotation = 10.0
    config.augment.scale = 0.2
    config.augment.shift = 0.1
    config.augment.gamma = 0.3
    # Watches all heads. AUROC and the challenge's metric jump from epoch to epoch on few films.
    config.early_stopping.metric = 'loss'
    config.early_stopping.mode = 'min'
    # A hundred steps or so are noisy ones.
    config.optimizer.ema_decay = 0.95
    config.eval.film_gate = 'sqrt'
    config.eval.flip = True
    return config
