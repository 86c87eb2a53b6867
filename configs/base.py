"""Every field of a run's config, once. The headline configs are this plus what differs.

Set any field by a flag: ``--config.learning_rate=3e-4 --config.optimizer.name=adamw``.

A duration has two fields, ``..._epochs`` (passes over the training films, fractions allowed where
the default has a point) and ``..._steps``: the steps hold where they are not 0, or not (). What
makes no sense, or contradicts something, is refused at the start (``pneumo_jax.config_checks``).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The defaults; ``configs/<model>.py`` say which model they train."""
    config = ConfigDict()
    # Of the initial parameters, the order of the films, augmentation and dropout.
    config.seed = 0
    # Films per step over all devices together; must divide by their number.
    config.batch_size = 32
    # A batch is worked through in so many parts, one after the other, for devices of little memory.
    # Gradients are those of the whole batch; batch norms see the parts.
    config.accumulation_steps = 1
    # Peak of the schedule.
    config.learning_rate = 1e-3
    # Length of the run at most; early stopping may end it before.
    config.num_epochs = 25
    config.num_steps = 0

    config.data = ConfigDict()
    # Folder of shards written by data_prep/convert.py. Required.
    config.data.dir = ''
    # The split whose films early stopping and the thresholds look at. 'train' shows whether a model
    # can learn its films at all; its figures mean nothing else.
    config.data.validation_split = 'validation'

    # Folders of shards of weakly labelled films: their labels, such as those mined from reports,
    # mean something else, so they teach the network through a head of their own. All their films
    # are taken but those of persons in validation and test.
    config.data.extra_dirs = ()
    # Share of a batch that these films fill. An epoch is one pass over the others.
    config.data.extra_share = 0.25

    # Which films are drawn how often. () draws each film once an epoch.
    config.sampling = ConfigDict()
    # Films of equal values in these fields form a group, and an epoch draws from each group as
    # strength says: ('label',) balances the classes, ('label_domain',) the two kinds of reading,
    # ('label', 'view_position') the classes within both views. Fields of pneumo_jax.data.sampling.
    config.sampling.by = ()
    # 1: equally many films of each group; 0: as many as there are; 0.5: between them, in proportion
    # to the square root of a group's size.
    config.sampling.strength = 1.0

    # Random changes of the training pictures; boxes and masks move with the pixels. Each strength
    # is the largest change, drawn evenly from none to it, and 0 switches it off. A look at them:
    # python -m pneumo_jax.data.augment --config=... --config.data.dir=SHARDS --out=sheet.png
    config.augment = ConfigDict()
    # Mirror left and right with probability one half.
    config.augment.flip = True
    # Turn about the centre by up to so many degrees, either way.
    config.augment.rotation = 0.0
    # Zoom by a factor from [1 - scale, 1 + scale].
    config.augment.scale = 0.1
    # Move by up to this share of the picture's side, in both directions.
    config.augment.shift = 0.05
    # Shear along the rows by up to so many degrees, either way.
    config.augment.shear = 0.0
    # Show a random square of the picture, of a side from [1 - crop, 1], in full size.
    config.augment.crop = 0.0
    # Add a value from [-brightness, brightness], grey values being in [0, 1].
    config.augment.brightness = 0.1
    # Multiply the distance from the mean by a factor from [1 - contrast, 1 + contrast].
    config.augment.contrast = 0.2
    # Raise to a power from [exp(-gamma), exp(gamma)].
    config.augment.gamma = 0.0
    # Blur by a Gaussian of a deviation of up to so many pixels.
    config.augment.blur = 0.0
    # Add Gaussian noise of a deviation of up to this grey value.
    config.augment.noise = 0.0
    # Grey out a square of a side of up to this share of the picture's.
    config.augment.cutout = 0.0
    # Blend each picture with another of the batch (Zhang et al. 2017, arXiv:1710.09412), at a share
    # from Beta(mixup, mixup); labels and masks are blended alike. 0.2 to 0.4 is usual.
    config.augment.mixup = 0.0

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
    # What boxes are made of: 'mask', the seed project's mask and its connected components, or
    # 'detector', a head that looks for the middles of boxes and tells how far their sides are, and
    # learns beside the mask.
    config.model.localizer = 'mask'
    # Width of the feature pyramid that the heads read.
    config.model.pyramid_channels = 64
    # Of the activations: float32, or bfloat16 on accelerators. Parameters and losses are float32.
    config.model.dtype = 'float32'

    config.loss = ConfigDict()
    # Of the film head, a name of pneumo_jax.losses.FILM_LOSSES, and its weight in the sum. Without
    # weight the film head learns nothing, and a film's highest mask value answers for it.
    config.loss.film = 'bce'
    config.loss.film_weight = 1.0
    # Of the head that the films of data.extra_dirs teach, by cross entropy.
    config.loss.weak_weight = 0.5
    # Of a second film head that tells the challenge's three classes apart by cross entropy; 0: no
    # such head. Films of unknown class have no such loss.
    config.loss.class_weight = 0.0
    # weighted_bce: what a positive film counts relative to a negative one; 0: as many times as
    # there are more negative films in training, so that both classes count the same.
    config.loss.positive_weight = 0.0
    # Labels of both film heads are moved by this share toward even odds, in training alone.
    config.loss.label_smoothing = 0.0
    # Weights of the mask head's losses, names of pneumo_jax.losses.MASK_LOSSES.
    config.loss.mask = ConfigDict(
        {'bce': 0.5, 'soft_iou': 0.5, 'dice': 0.0, 'tversky': 0.0, 'focal': 0.0}
    )
    # Weights of the detector's losses: where middles of boxes are, and how well the boxes fit.
    config.loss.detector = ConfigDict({'heat': 0.5, 'giou': 1.0})
    # Both focal losses (Lin et al. 2017, arXiv:1708.02002): the weight of positives against 1 -
    # alpha, and the power that plays down what is easy.
    config.loss.focal = ConfigDict({'alpha': 0.25, 'gamma': 2.0})
    # Tversky (Salehi et al. 2017, arXiv:1706.05721): the weight of false alarms, and of misses.
    config.loss.tversky = ConfigDict({'alpha': 0.3, 'beta': 0.7})

    config.optimizer = ConfigDict()
    # A name of pneumo_jax.optimizer.OPTIMIZERS.
    config.optimizer.name = 'adamw'
    # Decoupled from the gradient in adamw, nadamw, lamb, lion, adafactor and muon, an L2 penalty in
    # the others; never on biases and normalisations.
    config.optimizer.weight_decay = 1e-4
    # Gradients of a larger global norm are scaled down to it; 0 switches that off.
    config.optimizer.clip_norm = 1.0
    # Of momentum, nesterov, lars and muon.
    config.optimizer.momentum = 0.9
    # Decay of the moments in the rules of Adam's kind and in lion, and (beta2) in rmsprop; 0.0
    # means as optax has it.
    config.optimizer.beta1 = 0.0
    config.optimizer.beta2 = 0.0
    # Decay of a moving average of parameters and statistics, which is what is validated, chosen and
    # predicted with; 0 switches it off. It is (1 + step) / (10 + step) as long as that is less.
    config.optimizer.ema_decay = 0.0

    config.schedule = ConfigDict()
    # A name of pneumo_jax.schedules.SCHEDULES.
    config.schedule.name = 'cosine'
    # Linear rise before it, from zero to where it begins.
    config.schedule.warmup_epochs = 1.0
    config.schedule.warmup_steps = 0
    # linear, cosine and exponential: where they end, as a share of the peak.
    config.schedule.end_factor = 0.0
    # step: counted from the start of the run, when the rate is multiplied by factor.
    config.schedule.boundaries_epochs = ()
    config.schedule.boundaries_steps = ()
    # step, plateau: what the rate is multiplied with.
    config.schedule.factor = 0.1
    # one_cycle (Smith and Topin 2017, arXiv:1708.07120): the share of steps in which the rate rises
    # from a 25th of the peak; it ends at a 10,000th of where it began.
    config.schedule.rise = 0.3
    # plateau: validations without a better early_stopping.metric before the rate is reduced, and
    # that it rests after a reduction; and the share of the peak below which it does not go.
    config.schedule.patience = 3
    config.schedule.cooldown = 0
    config.schedule.min_factor = 1e-3

    # Which parts of the network learn when, for runs with init_from. Where two fields speak of a
    # stage, it joins in at the later time.
    config.transfer = ConfigDict()
    # The first so many of the backbone's five stages never learn (0 to 5).
    config.transfer.frozen_stages = 0
    # The heads alone learn for so long at first.
    config.transfer.head_epochs = 0.0
    config.transfer.head_steps = 0
    # When the stages join in, deepest first: (2, 4) means the deepest after 2 epochs, the next
    # after 4, the others not at all. () means all after the heads.
    config.transfer.unfreeze_epochs = ()
    config.transfer.unfreeze_steps = ()
    # Learning rate of each stage relative to the one behind it; heads have the full rate.
    config.transfer.stage_decay = 1.0
    # Batch normalisation of the backbone: 'train' takes each batch's statistics; 'frozen' keeps the
    # file's; 'reestimate' first measures them on the training films, the network's answers
    # unchanged, then as 'train'. Files with folded statistics (mean 0, variance 1) need one of the
    # latter. A stage keeps its statistics as long as it does not learn.
    config.transfer.batch_norm = 'train'

    # The films of the validation split are looked at after each epoch; the best epoch's parameters
    # are what evaluation and prediction use.
    config.early_stopping = ConfigDict()
    # A validation figure: loss, film_loss, class_loss, mask_loss, auroc, auprc, challenge_map,
    # mask_iou.
    config.early_stopping.metric = 'auroc'
    # max: more is better; min: less is.
    config.early_stopping.mode = 'max'
    # Epochs without improvement before the run stops; 0: it never does.
    config.early_stopping.patience = 8
    # A smaller gain is no improvement.
    config.early_stopping.min_delta = 0.0
    # Before that no epoch counts, neither as the best nor as one without improvement.
    config.early_stopping.warmup_epochs = 0.0
    config.early_stopping.warmup_steps = 0

    config.checkpoint = ConfigDict()
    # Saved beside those at the end of each epoch, so often; 0: no others.
    config.checkpoint.every_epochs = 0.0
    config.checkpoint.every_steps = 0

    config.logging = ConfigDict()
    # Steps between two points of the training curves in metrics.jsonl and TensorBoard; 0: only
    # the means of each epoch.
    config.logging.every_steps = 50
    # Validation films shown in TensorBoard after each epoch, truth in red, prediction in blue.
    config.logging.num_overlays = 4

    config.eval = ConfigDict()
    # Films per step in validation, evaluation and prediction.
    config.eval.batch_size = 64
    # Of the detector: a box that overlaps a surer one by more than this IoU is left out. The true
    # boxes of a film hardly ever overlap.
    config.eval.suppression_iou = 0.3
    # Of the detector: a box becomes the mean of all cells' boxes that overlap it by this IoU or
    # more, weighted by their heat. 1: it stays as its own cell tells it.
    config.eval.voting_iou = 0.6
    # How the film's probability p enters the score of its boxes: 'none', 'product' (score p) or
    # 'sqrt' (score times the root of p).
    config.eval.film_gate = 'none'
    # Boxes with less than this share of the film's surest box's score are left out.
    config.eval.faint_share = 0.0
    # Learn on validation by how much boxes should be smaller or larger for the challenge's metric.
    config.eval.learn_shrink = False
    # Answer each film also as its mirror image, and as pictures of these sizes relative to it, such
    # as (0.75, 1.25): the answers are averaged.
    config.eval.flip = False
    config.eval.scales = ()
    # Of the detector, what becomes of several answers, of views or of members of an ensemble:
    # 'average' (the maps, before boxes are made of them) or 'fusion' (each makes its boxes, which
    # are then fused).
    config.eval.merge = 'average'
    # A mask cell counts as opacity at this probability (the seed project's rule).
    config.eval.mask_threshold = 0.5
    # Components of a smaller share of the picture are no boxes. The smallest box in RSNA's table
    # covers about 0.2 % of its film.
    config.eval.min_box_area = 0.002
    return config
