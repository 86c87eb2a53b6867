import pytest

from pneumo_jax.dry_run import describe_run
from pneumo_jax.errors import InputError
from pneumo_jax.train import train
from tests.conftest import run_command, train_command


def test_a_dry_run_says_what_would_be_and_leaves_nothing(phantom_shards, tmp_path):
    workdir = tmp_path / 'workdir'
    flags = ('--config.optimizer.ema_decay=0.9', '--config.num_epochs=2', '--dry_run')
    done = run_command(*train_command(phantom_shards, workdir, *flags))
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    for line in (
        '* optimizer.ema_decay',
        '(default 0.0)',
        ' training and ',
        '2 epochs, 11 steps',
        'pictures [8,64,64,1] at a time, masks [8,16,16,1]',
        'activations',
        'nothing was computed or written',
    ):
        assert line in done.stdout, line


@pytest.mark.slow
def test_a_dry_run_refuses_what_training_would(tiny_config, tmp_path):
    tiny_config.num_epochs = 1
    train(tiny_config, tmp_path)
    said = describe_run(tiny_config, tmp_path)
    assert 'resnet_tiny' in said
    tiny_config.learning_rate = 0.5
    with pytest.raises(InputError, match=r'config.learning_rate: 0.003 -> 0.5'):
        describe_run(tiny_config, tmp_path)
    tiny_config.batch_size = 1000
    with pytest.raises(InputError, match='larger than'):
        describe_run(tiny_config, tmp_path / 'new')
