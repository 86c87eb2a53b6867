"""Rooms import downward only, and importing a module does nothing else."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# From the roof to the cellar; a module may import from its own floor and below.
FLOORS = [
    ('cross_validate',),
    ('main', 'evaluate', 'predict', 'report', 'view', 'models.__main__', 'data.augment.__main__'),
    ('train', 'dry_run', 'viewer'),
    ('story',),
    ('narration',),
    ('plan',),
    ('initial', 'memory'),
    # A run of this project is one kind of weights; readers of files stand further below.
    ('pretrained',),
    ('answering', 'overlap', 'judged_films'),
    ('ensemble',),
    ('trained',),
    ('samples', 'checkpoint', 'batch_moments', 'data.augment.sheet', 'config_checks'),
    ('config_fields',),
    ('scoring', 'run_config', 'array_store', 'seal', 'signals', 'device_memory', 'evaluation'),
    ('localizers',),
    ('steps', 'command', 'writers', 'early_stopping', 'output_folder'),
    ('views', 'state', 'environment', 'describe', 'progress_line', 'compilation_cache'),
    ('optimizer',),
    ('losses', 'sharding', 'transfer'),
    ('detector_losses',),
    ('schedules',),
    ('models',),
    ('pretrained.weight_file',),
    ('pretrained.keras_zip', 'pretrained.torch_file', 'pretrained.safetensors_file'),
    ('pretrained.hdf5_file', 'pretrained.torch_pickle'),
    ('pretrained.archive', 'pretrained.foreign', 'pretrained.keras3'),
    ('pretrained.state_dict', 'pretrained.torch_globals'),
    ('thresholds', 'extent'),
    ('boxes', 'metrics', 'data.sampling', 'data.augment', 'data.isolated', 'data.extra_films'),
    ('data.pipeline',),
    ('data.dicom', 'data.example', 'data.shards'),
    ('data.codecs', 'data.grey_values'),
    ('data.picture', 'data.dicom_header', 'data.tfrecord'),
    ('data.jpeg', 'data.codestream', 'data.dicom_scan', 'read_flags', 'hdf5'),
    ('data.film', 'workers'),
    ('durations', 'registry'),
    # Whether weights saw the films is told in reports too, where no network is.
    ('pretrained.cards', 'pretrained.card_names', 'pretrained.card_denials'),
    ('pages',),
    ('data.geometry', 'errors', 'files', 'folds', 'config_rows', 'overlay'),
]
LEVEL = {name: i for i, floor in enumerate(FLOORS) for name in floor}
MODULES = sorted((ROOT / 'pneumo_jax').rglob('*.py'))


def floor_of(module: str) -> int | None:
    """Level of ``pneumo_jax.data.dicom`` by its longest known prefix; None for the package."""
    parts = module.split('.')[1:]
    for length in range(len(parts), 0, -1):
        if (name := '.'.join(parts[:length])) in LEVEL:
            return LEVEL[name]
    return None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downward_only(path):
    module = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    level = floor_of(module)
    if level is None:
        assert path.name == '__init__.py', f'{module} has no floor in this test: give it one'
        return
    upward = [
        name
        for name in imports(path)
        if name.startswith('pneumo_jax.')
        and (floor := floor_of(name)) is not None
        and floor < level
    ]
    assert not upward, f'{module} imports from above: {upward}'


def test_configs_import_ml_collections_only():
    for path in (ROOT / 'configs').glob('*.py'):
        roots = {name.split('.')[0] for name in imports(path)}
        assert roots <= {'ml_collections', 'configs'}, path


def test_jax_is_configured_in_one_place_and_no_device_is_named():
    for path in MODULES:
        text = path.read_text(encoding='utf-8')
        assert 'jax.config.update' not in text or path.name == 'compilation_cache.py', path
        assert 'jax.devices(' not in text, path
