"""A MobileNet V2, from scratch or from ImageNet's weights.

python -m pneumo_jax.main --config=configs/mobilenet.py --workdir=runs/mobilenet \
    --config.data.dir=SHARDS
python -m pneumo_jax.main --config=configs/mobilenet.py:pretrained --workdir=runs/mobilenet \
    --config.data.dir=SHARDS --config.model.init_from=FILE

FILE is Keras', torchvision's or timm's MobileNet V2. From it, 119 real films at 256 px and 15
epochs take 3 minutes on two CPU cores and reach a test AUROC of 0.80 (from scratch 0.41). At 128 px
on the 600 phantoms of run.sh, 15 epochs from scratch take 5 minutes and reach 0.80; README.md has
both protocols.
"""

from configs import base, transfer


def get_config(start: str = 'scratch'):
    """Base config with the MobileNet V2; ``start`` is ``scratch`` or ``pretrained``."""
    config = base.get_config()
    config.model.name = 'mobilenet_v2'
    if transfer.is_pretrained(start):
        config.model.init_from = 'mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5'
        transfer.set_recipe(config)
    return config
