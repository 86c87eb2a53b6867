"""What the configs that start from pretrained weights have in common."""

from ml_collections import ConfigDict

_STARTS = {'pretrained': True, 'scratch': False}


def is_pretrained(start: str) -> bool:
    """Reads what stands behind the colon of ``--config=FILE:START``.

    Raises:
        ValueError: for anything but ``pretrained`` and ``scratch``.
    """
    if start not in _STARTS:
        raise ValueError(f'--config=...:{start}: write one of {", ".join(_STARTS)} there')
    return _STARTS[start]


def set_recipe(config: ConfigDict) -> None:
    """Fine-tuning for few films: the heads first, then all, each stage at a tenth of the next."""
    config.batch_size = 16
    config.learning_rate = 3e-3
    config.num_epochs = 15
    config.model.dropout = 0.5
    config.transfer.head_epochs = 5.0
    config.transfer.stage_decay = 0.1
    config.transfer.batch_norm = 'frozen'
