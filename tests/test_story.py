"""The page of one run: every kind of workdir, figures, films, and what it must never hold."""

import dataclasses
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import base
from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.data.shards import load_manifest
from pneumo_jax.errors import InputError
from pneumo_jax.evaluation.film_table import read_films, write_films
from pneumo_jax.metrics import classification
from pneumo_jax.report import tell
from pneumo_jax.run_config import load_run
from pneumo_jax.story import read_story, story_text
from pneumo_jax.story.card import stale_texts
from pneumo_jax.story.card_facts import card_facts
from pneumo_jax.story.films import error_sheet, grid_of_story
from pneumo_jax.trained import load_trained
from tests.conftest import run_command
from tests.made_results import THRESHOLDS
from tests.made_runs import PARTS, evaluate_made, make_run
from tests.test_evaluation_page import Reader

LOSSES = [0.9, 0.7, 0.8, 0.75, 0.72]
CHANGES = {'model__name': 'resnet_tiny', 'early_stopping__patience': 3, 'num_epochs': 9}
TRAINING = {'notice', 'sentence', 'data', 'model', 'config', 'learning', 'environment', 'card'}
EVALUATION = {'evaluation', 'film', 'calibration', 'boxes', 'strata', 'errors', 'making'}


@pytest.fixture(scope='module')
def whole(phantom_shards, tmp_path_factory):
    """A run that was trained and evaluated, with its report."""
    workdir = make_run(tmp_path_factory.mktemp('runs') / 'whole', phantom_shards, LOSSES, **CHANGES)
    evaluate_made(workdir, phantom_shards)
    tell(workdir)
    return workdir


@pytest.fixture
def copy(whole, tmp_path):
    return pathlib.Path(shutil.copytree(whole, tmp_path / 'copy'))


def page_of(workdir):
    return (workdir / 'report.html').read_text()


def table_rows(page, section):
    """Texts of the cells of each table row of a section, shown or folded away."""
    part = page[page.index(f'id="{section}"') :]
    part = part[: part.index('</section>')]
    return [
        [re.sub('<[^>]*>', '', cell) for cell in re.findall('<td[^>]*>(.*?)</td>', line)]
        for line in re.findall('<tr.*?</tr>', part)
    ]


def test_a_run_that_was_evaluated_has_every_section_and_file(whole):
    reader = Reader(page_of(whole))
    assert reader.ids >= TRAINING | EVALUATION | {'warnings', 'figures'}
    order = re.findall(r'<(?:section|h2)[^>]* id="([a-z-]+)"', page_of(whole))
    wanted = ['data', 'model', 'config', 'learning', 'evaluation', 'errors', 'environment', 'card']
    assert [name for name in order if name in wanted] == wanted
    pictures = {path.name for path in (whole / 'pictures-report').iterdir()}
    assert pictures == {
        f'curve_{name}.png' for name in ('loss', 'auroc', 'challenge_map', 'learning_rate')
    }
    card = (whole / 'model_card.md').read_text()
    facts = json.loads((whole / 'model_card.json').read_text())
    assert all(f'## {title}' in card for title in facts['card'])
    assert facts['notice'] in card and facts['notice'] in reader.text


def test_figures_are_those_of_the_films(whole, phantom_shards):
    films = read_films(whole / 'films-test.csv')
    auroc = classification.auroc(films.labels, films.probs)
    results = json.loads((whole / 'results.json').read_text())['film']['auroc']
    told = f'{auroc:.3f}'
    text = Reader(page_of(whole)).text
    head = text[text.index('AUROC') - 400 : text.index('Data')]
    assert f'AUROC {told}' in head
    assert told in (whole / 'model_card.md').read_text()
    facts = json.loads((whole / 'model_card.json').read_text())['evaluation']
    assert facts['figures']['auroc']['value'] == pytest.approx(auroc, abs=1e-6)
    assert facts['figures']['auroc'] == results
    assert facts['prevalence'] == films.labels.mean()
    assert facts['views']['AP'] == np.sum(films.view_position == 'AP')
    rows = {row[0]: row for row in table_rows(page_of(whole), 'data') if len(row) == 8}
    for name, split in load_manifest(phantom_shards)['splits'].items():
        views = [view for (view,) in FilmSplit(phantom_shards, name).columns(['view_position'])]
        assert rows[name][1] == str(len(views)) == str(split['films'])
        assert f'{views.count("PA")} PA' in rows[name][5]


def test_the_page_tells_the_best_epoch_and_the_parameters(whole):
    text = Reader(page_of(whole)).text
    assert 'Stopped early after epoch 5 of 9: for 3 epochs' in text
    assert 'no better than in epoch 2 (patience 3)' in text
    assert '2 of 5best epoch' in text
    rows = {row[0]: row for row in table_rows(page_of(whole), 'model') if len(row) == 4}
    for name, (parameters, statistics) in PARTS.items():
        assert rows[name][1::2] == [str(parameters), str(statistics)]
    assert rows['all'][1] == str(sum(parameters for parameters, _ in PARTS.values()))


def test_exactly_the_changed_fields_of_the_config_are_marked(whole):
    run = load_run(whole)

    def flat(section, prefix=''):
        for name, value in section.items():
            if isinstance(value, dict):
                yield from flat(value, f'{prefix}{name}.')
            else:
                yield f'{prefix}{name}', value

    default, here = dict(flat(base.get_config().to_dict())), dict(flat(run.config.to_dict()))
    differs = {name for name in default if here[name] != default[name]}
    page = page_of(whole)
    rows = table_rows(page, 'config')
    assert {row[0] for row in rows if len(row) == 3} == differs
    assert {row[0] for row in rows if len(row) == 2} == default.keys() - differs
    patience = next(row for row in rows if row[:1] == ['early_stopping.patience'])
    assert patience[1:] == ['3', '8']
    assert 'model.name' in differs and 'seed' not in differs


def test_nothing_leads_outside_and_nobody_is_named(whole, phantom_shards):
    page = page_of(whole)
    for word in ('://', '@import', '<script', '<link', '<iframe', '<object', '<foreign'):
        assert word not in page
    reader = Reader(page)
    for _, name, value in reader.attributes:
        assert not name.startswith('on') and name not in ('action', 'srcset', 'xlink:href')
        if name in ('href', 'src'):
            assert value.startswith(('data:image/jpeg;base64,', 'data:image/png;base64,')) or (
                value[0] == '#' and value[1:] in reader.ids
            )
    ids = [value for _, name, value in reader.attributes if name == 'id']
    assert len(ids) == len(set(ids))
    persons = FilmSplit(phantom_shards, 'test').columns(['person_id'])
    for path in whole.glob('*.*'):
        if path.name.startswith(('report', 'model_card')):
            text = path.read_text()
            assert not [person for (person,) in persons if person in text]
            assert str(phantom_shards.parent) not in text and str(whole.parent) not in text


def films_shown(workdir):
    return [v for t, n, v in Reader(page_of(workdir)).attributes if (t, n) == ('img', 'width')]


def test_films_come_from_the_shards(whole, phantom_shards):
    grid = grid_of_story(read_story(whole, 'test'))
    assert [row.name for row in grid] == ['best', 'quiet', 'missed', 'false_alarms', 'worst_boxes']
    count = sum(len(row.films) for row in grid)
    assert films_shown(whole) == ['448'] * count and count > 3
    # The first missed film is drawn from its own record: what no box touches is as there.
    films = read_films(whole / 'films-test.csv')
    split = FilmSplit(phantom_shards, 'test')
    records = {split[i]['patient_id']: split[i]['image'][:, :, 0] for i in range(len(split))}
    missed = next(row for row in grid if row.name == 'missed').films[0]
    lowest = films.ids[np.argmin(np.where(films.labels == 1, films.probs, 2))]
    wanted = Image.fromarray(records[lowest]).resize((448, 448), Image.Resampling.BICUBIC)
    assert np.mean(np.asarray(missed.picture)[..., 1] == np.asarray(wanted)) > 0.8


@pytest.mark.parametrize('moved', ['dir', 'fingerprint'])
def test_without_the_shards_films_are_what_evaluation_drew(copy, moved):
    config = json.loads((copy / 'config.json').read_text())
    section = config['config']['data'] if moved == 'dir' else config['data']
    section[moved] = 'other'
    (copy / 'config.json').write_text(json.dumps(config))
    sheet = copy / 'pictures-test' / 'films.jpg'
    Image.new('RGB', (60, 30)).save(sheet)
    story = read_story(copy, 'test')
    assert grid_of_story(story) == [] and error_sheet(story).size == (60, 30)
    if moved == 'dir':
        tell(copy)
        assert films_shown(copy) == ['60']
        assert 'The shards are not where the config names them' in page_of(copy)
    sheet.write_bytes(b'no picture')
    with pytest.raises(InputError, match=r'films\.jpg is damaged'):
        error_sheet(story)
    sheet.unlink()
    assert error_sheet(story) is None


def test_the_errors_are_the_surest_wrong_answers(whole):
    films = read_films(whole / 'films-test.csv')
    called = films.probs >= 0.4
    missed = [i for i in np.argsort(films.probs) if films.labels[i] and not called[i]]
    alarms = [i for i in np.argsort(-films.probs) if called[i] and not films.labels[i]]
    rows = [row for row in table_rows(page_of(whole), 'errors') if row]
    assert [row[0] for row in rows] == [films.ids[i] for i in (*missed[:10], *alarms[:10])]
    assert missed and alarms
    assert [row[2] for row in rows] == [f'{films.probs[i]:.3f}' for i in (*missed, *alarms)]


def test_a_run_without_an_evaluation_says_how_to_get_one(trained_workdir, tmp_path):
    # Another test may have evaluated the run that all share.
    evaluated = shutil.ignore_patterns('results*.json', 'films-*.csv', 'pictures-*')
    workdir = pathlib.Path(shutil.copytree(trained_workdir, tmp_path / 'run', ignore=evaluated))
    tell(workdir)
    reader = Reader(page_of(workdir))
    assert reader.ids >= TRAINING | {'evaluation'} and not reader.ids & {'film', 'errors'}
    assert 'python -m pneumo_jax.evaluate --workdir=run --split=test' in reader.text
    assert 'It was not evaluated: nothing is known' in reader.text
    model = load_trained(workdir)
    count = sum(leaf.size for leaf in leaves(model.params))
    rows = {row[0]: row for row in table_rows(page_of(workdir), 'model') if len(row) == 4}
    assert rows['all'][1] == f'{count:,}'
    # What training itself called the best.
    assert f'{model.epoch} of 12best epoch' in reader.text


def leaves(tree):
    for value in tree.values():
        yield from leaves(value) if isinstance(value, dict) else [value]


def test_a_run_at_work_and_one_that_has_hardly_begun_are_told(phantom_shards, tmp_path):
    workdir = make_run(tmp_path / 'open', phantom_shards, [0.9, None, 0.8], **CHANGES)
    with (workdir / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 17, "epo')
    tell(workdir)
    text = Reader(page_of(workdir)).text
    assert 'open: The training is not at its end: epoch 3 of 9 is over' in text
    (workdir / 'metrics.jsonl').unlink()
    shutil.rmtree(workdir / 'checkpoints')
    tell(workdir)
    text = Reader(page_of(workdir)).text
    assert 'No epoch is over yet' in text and 'No checkpoint is at hand' in text
    assert not list((workdir / 'pictures-report').iterdir())


def test_an_evaluation_alone_and_a_cross_validation_are_told(whole, phantom_shards, tmp_path):
    alone = tmp_path / 'alone'
    shutil.copytree(whole, alone, ignore=shutil.ignore_patterns('con*', 'met*', 'che*', 'ten*'))
    tell(alone)
    reader = Reader(page_of(alone))
    assert reader.ids >= EVALUATION | {'data', 'card'} and not reader.ids & {'model', 'learning'}
    assert 'Evaluated: resnet_tiny, epoch 2' in reader.text
    for number, losses in enumerate(([0.9, 0.8], [0.7, 0.8, 0.9])):
        make_run(alone / f'fold{number}', phantom_shards, losses, **CHANGES)
    tell(alone)
    reader = Reader(page_of(alone))
    assert reader.ids >= TRAINING | EVALUATION
    rows = {row[0]: row for row in table_rows(page_of(alone), 'learning')[1:]}
    assert rows['fold0'][1:3] == ['2', '2 (loss 0.8000)']
    assert rows['fold1'][1:3] == ['3', '1 (loss 0.7000)']
    labels = [v for t, n, v in reader.attributes if (t, n) == ('svg', 'aria-label')]
    assert 'Loss of 2 folds by epoch; best epochs 2, 1.' in labels


HOSTILE = '"><img src=x onerror=alert(1)><script>alert("$\\frac{1}{2}$ _a_")</script>'


def test_hostile_texts_stay_texts(whole, copy, phantom_shards):
    config = json.loads((copy / 'config.json').read_text())
    config['config']['model']['name'] = HOSTILE
    config['config']['optimizer']['name'] = HOSTILE
    config['config']['data']['dir'] = f'shards/{HOSTILE}'
    config['data']['source'] = HOSTILE
    config['data']['protocol']['sentence'] = HOSTILE
    config['environment']['device'] = HOSTILE
    (copy / 'config.json').write_text(json.dumps(config))
    results = json.loads((copy / 'results.json').read_text())
    results |= {'protocol': HOSTILE, 'model': HOSTILE}
    (copy / 'results.json').write_text(json.dumps(results))
    films = read_films(copy / 'films-test.csv')
    films = dataclasses.replace(films, ids=[f'{HOSTILE}{i}' for i in range(len(films))])
    write_films(copy / 'films-test.csv', films, THRESHOLDS)
    tell(copy)
    page = page_of(copy)
    assert '<script' not in page and '<img src=x' not in page and 'onerror=alert' in page
    reader = Reader(page)
    assert not [name for _, name, _ in reader.attributes if name.startswith('on')]
    assert reader.text.count(HOSTILE) > 8
    card = (copy / 'model_card.md').read_text()
    assert '<script' not in card and '&lt;script&gt;' in card
    assert not re.search(r'(?<!\\)\$', card)


def test_the_name_of_a_folder_may_be_no_text(phantom_shards, tmp_path):
    name = os.fsdecode(b'\xff"><b>$x$')
    workdir = make_run(tmp_path / 'run', phantom_shards, [0.5], **CHANGES).rename(tmp_path / name)
    story = tell(workdir)
    page = page_of(workdir)
    assert '"&gt;&lt;b&gt;$x$' in page or '&quot;&gt;&lt;b&gt;$x$' in page
    assert '<b>$x' not in page and Reader(page)
    assert '&lt;b&gt;\\$x\\$' in (workdir / 'model_card.md').read_text()
    assert story_text(story).startswith('\\udcff"><b>$x$: ')


def test_an_evaluation_that_is_older_than_the_training_is_told(copy):
    lines = (copy / 'metrics.jsonl').read_text().splitlines()
    better = json.loads(lines[-1]) | {'epoch': 6, 'step': 30, 'validation/loss': 0.1}
    (copy / 'metrics.jsonl').write_text('\n'.join([*lines, json.dumps(better), '']))
    story = read_story(copy, 'test')
    (text,) = stale_texts(card_facts(story))
    assert 'is of epoch 2, and the best epoch by now is 6' in text


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('config.json', '{', r'config\.json is damaged'),
        ('config.json', '{"config": {}}', r'config\.json is damaged'),
        ('config.json', '[' * 100000, r'config\.json is damaged'),
        ('metrics.jsonl', '{"step": 5}\nno line\n', r'metrics\.jsonl is damaged in line 2'),
        ('metrics.jsonl', '{"step": 5, "epoch": 0}\n', r'metrics\.jsonl is damaged in line 1'),
        ('metrics.jsonl', '{"epoch": 1}\n', r'metrics\.jsonl is damaged in line 1'),
        ('results.json', '{', r'results\.json cannot be read'),
        ('films-test.csv', 'id\n1\n', r'films-test\.csv'),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(copy, name, content, message):
    (copy / name).write_text(content)
    before = page_of(copy)
    with pytest.raises(InputError, match=message):
        tell(copy)
    assert page_of(copy) == before


def test_a_damaged_checkpoint_or_curve_costs_no_more_than_it_told(copy):
    (next((copy / 'checkpoints').iterdir()) / 'checkpoint.json').write_text('{}')
    next((copy / 'tensorboard').iterdir()).write_bytes(b'\xff' * 100)
    story = read_story(copy, 'test')
    assert story.runs[0].parts == {} and story.runs[0].course.seconds is None


def test_a_folder_with_nothing_to_tell_is_refused(tmp_path, copy):
    for folder in (tmp_path / 'none', tmp_path):
        with pytest.raises(InputError, match='no training and no evaluation'):
            tell(folder)
    shutil.copy(copy / 'results.json', tmp_path)
    with pytest.raises(InputError, match='it has test: give --split'):
        tell(tmp_path, split='validation')


def test_an_output_folder_is_replaced_only_if_it_is_a_report(phantom_shards, tmp_path):
    out, workdir = tmp_path / 'out', make_run(tmp_path / 'run', phantom_shards, [0.5], **CHANGES)
    tell(workdir, output_dir=out)
    assert sorted(path.name for path in out.iterdir()) == [
        'model_card.json',
        'model_card.md',
        'pictures-report',
        'report.html',
    ]
    assert not (workdir / 'report.html').exists()
    with pytest.raises(InputError, match='--overwrite'):
        tell(workdir, output_dir=out)
    (out / 'report.html').write_text('old')
    tell(workdir, output_dir=out, overwrite=True)
    assert (out / 'report.html').read_text() != 'old'
    # It has a report too, and a run that must not be lost.
    tell(workdir)
    with pytest.raises(InputError, match='holds a run'):
        tell(workdir, output_dir=workdir, overwrite=True)
    assert (workdir / 'checkpoints').is_dir()


def test_the_command_prints_what_it_found_and_uses_no_device(copy):
    (copy / 'pictures-report' / 'curve_old.png').write_bytes(b'')
    code = (
        'import atexit, runpy, sys; atexit.register(lambda: print({"jax"} & set(sys.modules)));'
        f'sys.argv = ["report", {str(copy)!r}]; runpy.run_module("pneumo_jax.report", '
        'run_name="__main__")'
    )
    done = run_command('-c', code)
    assert done.returncode == 0, done.stderr
    auroc = json.loads((copy / 'results.json').read_text())['film']['auroc']['value']
    assert re.search(rf'^AUROC +{auroc:.3f} \(', done.stdout, flags=re.MULTILINE)
    assert 'no better than in epoch 2' in done.stdout and 'report.html' in done.stderr
    assert done.stdout.endswith('set()\n')
    assert not (copy / 'pictures-report' / 'curve_old.png').exists()
