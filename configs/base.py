"""Every field of a run's config, once. The headline configs are this plus what differs.

Set any field by a flag: ``--config.learning_rate=3e-4 --config.optimizer.name=adamw``.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The defaults; ``configs/<model>.py`` say which model they train."""
    config = ConfigDict()
    config.seed = 0
    # Films per step over all devices together; must divide by their number.
    config.batch_size = 32
    # Peak of the schedule.
    config.learning_rate = 1e-3
    # Passes over the training films at most; early stopping may end the run before.
    config.num_epochs = 25

    config.data = ConfigDict()
    # Folder of shards written by data_prep/convert.py. Required.
    config.data.dir = ''
    # The split whose films early stopping and the thresholds look at. 'train' shows whether a model
    # can learn its films at all; its figures mean nothing else.
    config.data.validation_split = 'validation'

    # Random changes of the training pictures; boxes move with the pixels.
    config.augment = ConfigDict()
    # Mirror left and right with probability one half.
    config.augment.flip = True
    # Zoom by a factor from [1 - scale, 1 + scale].
    config.augment.scale = 0.1
    # Move by up to this share of the picture's side, in both directions.
    config.augment.shift = 0.05
    # Add a value from [-brightness, brightness], grey values being in [0, 1].
    config.augment.brightness = 0.1
    # Multiply the distance from the mean by a factor from [1 - contrast, 1 + contrast].
    config.augment.contrast = 0.2

    config.model = ConfigDict()
    # A name of pneumo_jax.models.BACKBONES.
    config.model.name = 'resnet18'
    # Multiplies the number of channels everywhere.
    config.model.width = 1.0
    # Of the network's input, 1 or 3; a film's one channel is repeated. With init_from as its file
    # has it.
    config.model.in_channels = 1
    # Weights to start from: a file of Keras, torchvision or timm (.h5, .keras, .safetensors, .pth),
    # or the workdir of a run; '' starts from random ones.
    config.model.init_from = ''
    # How the network is computed; '' and 0.0 mean as the origin of init_from has it, else as
    # pneumo_jax.models.conventions.OWN. To be said where a file cannot tell: timm's tf_ networks
    # (padding=same, epsilon=1e-3, normalisation=tf), or v1 for a ResNet of PyTorch's names.
    config.model.conventions = ConfigDict(
        {'padding': '', 'epsilon': 0.0, 'version': '', 'normalisation': ''}
    )
    # Residual blocks start as the identity: the scale of their last batch norm starts at zero.
    config.model.zero_init = True
    # Rate of dropout before the film head's dense layer.
    config.model.dropout = 0.2
    # Width of the feature pyramid that the heads read.
    config.model.pyramid_channels = 64
    # Of the activations: float32, or bfloat16 on accelerators. Parameters and losses are float32.
    config.model.dtype = 'float32'

    config.loss = ConfigDict()
    # Of the film head, a name of pneumo_jax.losses.FILM_LOSSES, and its weight in the sum.
    config.loss.film = 'bce'
    config.loss.film_weight = 1.0
    # Weights of the mask head's losses, names of pneumo_jax.losses.MASK_LOSSES.
    config.loss.mask = ConfigDict({'bce': 0.5, 'soft_iou': 0.5, 'dice': 0.0})

    config.optimizer = ConfigDict()
    # A name of pneumo_jax.optimizer.OPTIMIZERS.
    config.optimizer.name = 'adamw'
    # Decoupled from the gradient in adamw and lion, an L2 penalty in the others; never on biases
    # and normalisations.
    config.optimizer.weight_decay = 1e-4
    # Gradients of a larger global norm are scaled down to it; 0 switches that off.
    config.optimizer.clip_norm = 1.0

    config.schedule = ConfigDict()
    # A name of pneumo_jax.optimizer.SCHEDULES.
    config.schedule.name = 'cosine'
    # Linear rise from zero before it.
    config.schedule.warmup_epochs = 1.0

    # Which parts of the network learn when, for runs with init_from. All durations are in epochs,
    # fractions allowed; where two fields speak of a stage, it joins in at the later time.
    config.transfer = ConfigDict()
    # The first so many of the backbone's five stages never learn (0 to 5).
    config.transfer.frozen_stages = 0
    # The heads alone learn for so many epochs at first.
    config.transfer.head_epochs = 0.0
    # When the stages join in, deepest first: (2, 4) means the deepest after 2 epochs, the next
    # after 4, the others not at all. () means all after head_epochs.
    config.transfer.unfreeze_epochs = ()
    # Learning rate of each stage relative to the one behind it; heads have the full rate.
    config.transfer.stage_decay = 1.0
    # Batch normalisation of the backbone: 'train' takes each batch's statistics; 'frozen' keeps the
    # file's; 'reestimate' first measures them on the training films, the network's answers
    # unchanged, then as 'train'. Files with folded statistics (mean 0, variance 1) need one of the
    # latter. A stage keeps its statistics as long as it does not learn.
    config.transfer.batch_norm = 'train'

    config.early_stopping = ConfigDict()
    # A validation figure: loss, film_loss, mask_loss, auroc, auprc, challenge_map, mask_iou.
    config.early_stopping.metric = 'auroc'
    # max: more is better; min: less is.
    config.early_stopping.mode = 'max'
    # Epochs without improvement before the run stops.
    config.early_stopping.patience = 8
    # A smaller gain is no improvement.
    config.early_stopping.min_delta = 0.0

    config.eval = ConfigDict()
    # Films per step in validation, evaluation and prediction.
    config.eval.batch_size = 64
    # A mask cell counts as opacity at this probability (the seed project's rule).
    config.eval.mask_threshold = 0.5
    # Components of a smaller share of the picture are no boxes. The smallest box in RSNA's table
    # covers about 0.2 % of its film.
    config.eval.min_box_area = 0.002
    return config
