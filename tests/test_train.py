import csv
import importlib
import json

import pytest

from pneumo_jax.checkpoint import Checkpoints
from pneumo_jax.errors import InputError
from pneumo_jax.evaluate import evaluate
from pneumo_jax.train import train
from tests.conftest import run_command, train_command


def sha(stderr):
    return stderr.split('final parameters sha256 ')[1].split()[0]


def figures(workdir):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if 'films_per_second' not in k} for line in lines
    ]


def test_early_stopping_ends_the_run_and_keeps_the_best(tiny_config, tmp_path):
    tiny_config.num_epochs = 9
    # No step is small enough to improve the loss by this much after the first epoch.
    tiny_config.early_stopping.update(
        {'metric': 'loss', 'mode': 'min', 'patience': 2, 'min_delta': 100.0}
    )
    last = train(tiny_config, tmp_path)
    assert len(figures(tmp_path)) == 3
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        _, meta = checkpoints.restore_best(last)
    assert meta['epoch'] == 1
    assert set(meta['thresholds']) == {'film', 'box', 'film_chosen', 'box_chosen', 'shrink'}
    # A finished run is not trained further.
    assert int(train(tiny_config, tmp_path).step) == int(last.step)


@pytest.fixture(scope='module')
def weak_shards(phantom_download, tmp_path_factory):
    """Shards of the phantom films from a table that has labels and no boxes."""
    folder = tmp_path_factory.mktemp('weak')
    with (phantom_download / 'stage_2_train_labels.csv').open() as file:
        labels = {row['patientId']: row['Target'] for row in csv.DictReader(file)}
    rows = [f'{film}.dcm,{label}' for film, label in labels.items()]
    (folder / 'labels.csv').write_text('\n'.join(['path,label', *rows]) + '\n')
    converted = run_command(
        'data_prep/convert.py',
        '--source=csv',
        f'--labels_csv={folder}/labels.csv',
        f'--images_dir={phantom_download}/stage_2_train_images',
        f'--output_dir={folder}/shards',
        '--image_size=64',
        '--num_shards=2',
    )
    assert converted.returncode == 0, converted.stderr
    return folder / 'shards'


def test_films_without_boxes_train_and_evaluate_with_nulls(
    tiny_config, weak_shards, tmp_path, caplog
):
    tiny_config.data.dir = str(weak_shards)
    tiny_config.num_epochs = 1
    train(tiny_config, tmp_path)
    assert 'no training film has a box' in caplog.text
    (line,) = figures(tmp_path)
    assert line['validation/challenge_map'] is line['validation/mask_iou'] is None
    assert all(value is not None for name, value in line.items() if name.endswith('loss'))
    content = evaluate([str(tmp_path)])
    negatives = round((1 - content['prevalence']) * content['num_films'])
    assert content['num_films_with_known_boxes'] == negatives < content['num_films']
    for figure in (content['boxes']['challenge_map'], content['mask']['dice']):
        assert figure['value'] is None
        assert figure['undefined'] == 'no film has a known true box'
    assert content['film']['accuracy']['value'] is not None


@pytest.mark.parametrize('metric', ['challenge_map', 'mask_iou'])
def test_early_stopping_cannot_watch_boxes_that_are_not_there(
    tiny_config, weak_shards, tmp_path, metric
):
    tiny_config.data.dir = str(weak_shards)
    tiny_config.early_stopping.update({'metric': metric, 'mode': 'max'})
    with pytest.raises(InputError, match=f"metric='{metric}' is undefined.* has no box: choose"):
        train(tiny_config, tmp_path)


def test_fault_56_batch_larger_than_the_data(tiny_config, tmp_path):
    tiny_config.batch_size = 1000
    with pytest.raises(InputError, match=r'batch_size=1000 is larger than the \d+ films'):
        train(tiny_config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'start'), [('resnet', ()), ('vgg19', ('scratch',)), ('mobilenet', ('scratch',))]
)
def test_headline_configs_train_by_the_same_command(phantom_shards, tmp_path, config, start):
    model = importlib.import_module(f'configs.{config}').get_config(*start).model.name
    command = train_command(phantom_shards, tmp_path, config=config, model=model)
    result = run_command(
        *(
            f'{part}:{start[0]}' if start and part.endswith(f'{config}.py') else part
            for part in command
        ),
        '--config.num_epochs=1',
        '--config.model.width=0.125',
    )
    assert result.returncode == 0, result.stderr
    assert len(sha(result.stderr)) == 64


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--config.data.dir='], 'no data: give --config.data.dir'),
        (['--config.optimizer.name=adamx'], "config.optimizer.name='adamx' must be one of"),
        (['extra'], 'unknown arguments'),
    ],
)
def test_bad_flags_end_with_one_line_and_exit_code_2(phantom_shards, tmp_path, flags, message):
    result = run_command(*train_command(phantom_shards, tmp_path, *flags))
    assert result.returncode == 2
    assert message in result.stderr
    assert 'Traceback' not in result.stderr
