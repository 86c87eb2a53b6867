"""A VGG19 that starts from ImageNet's weights, or from nothing.

python -m pneumo_jax.main --config=configs/vgg19.py --workdir=runs/vgg19 --config.data.dir=SHARDS \
    --config.model.init_from=vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5
python -m pneumo_jax.main --config=configs/vgg19.py:scratch --workdir=runs/vgg19 \
    --config.data.dir=SHARDS

The file is Keras' own (80 MB); torchvision's and timm's VGG19 are taken as well. Where it is found,
the first command tells where it is missing. At 128 px two CPU cores train 3 films/s; on the 600
phantoms of run.sh, 15 epochs from scratch take about 35 minutes and reach a test AUROC of 0.98;
README.md has the protocol.
"""

from configs import base, transfer


def get_config(start: str = 'pretrained'):
    """Base config with the VGG19; ``start`` is ``pretrained`` or ``scratch``."""
    config = base.get_config()
    if transfer.is_pretrained(start):
        # Without batch normalisation, as in the paper: the official files have none.
        config.model.name = 'vgg19'
        config.model.init_from = 'vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5'
        transfer.set_recipe(config)
    else:
        config.model.name = 'vgg19_bn'
    return config
