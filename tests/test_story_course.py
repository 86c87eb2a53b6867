"""How a training went: the best epoch, the end, the starts, and the curves of them."""

import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.pages.inline_svg import inline_svg
from pneumo_jax.pages.style import drawing, new_picture
from pneumo_jax.run_config import load_run
from pneumo_jax.story.course import read_course
from pneumo_jax.story.curves import course_text, draw_curves
from pneumo_jax.story.facts import read_story
from tests.made_runs import STEPS, make_run, run_config, write_epochs

LOSSES = [0.9, 0.7, 0.8, 0.75, 0.72]


def course_of(folder, losses, **changes):
    """The course of a run with these losses; the shards are not asked for."""
    folder.mkdir(parents=True)
    write_epochs(folder, losses)
    return read_course(folder, run_config('none', **changes))


def read_independently(path, metric, better, warmup=0, patience=0, min_delta=0.0):
    """(best epoch, epochs without a better one) by a plain reading of metrics.jsonl."""
    best, best_epoch, since = None, 0, 0
    for line in path.read_text().splitlines():
        content = json.loads(line)
        value = content.get(f'validation/{metric}')
        if value is None or content['epoch'] <= warmup:
            continue
        if best is None or better * (value - best) > min_delta:
            best, best_epoch, since = value, content['epoch'], 0
        else:
            since += 1
    return best_epoch, since, 0 < patience <= since


@pytest.mark.parametrize('seed', range(30))
def test_the_best_epoch_and_the_end_are_those_of_the_log(tmp_path, seed):
    rng = np.random.default_rng(seed)
    losses = [None if rng.random() < 0.2 else float(x) for x in rng.random(rng.integers(1, 15))]
    warmup, patience = int(rng.integers(0, 3)), int(rng.integers(0, 5))
    metric, mode = [('loss', 'min'), ('auroc', 'max')][seed % 2]
    delta = float(rng.choice([0.0, 0.05]))
    course = course_of(
        tmp_path / 'run',
        losses,
        early_stopping__metric=metric,
        early_stopping__mode=mode,
        early_stopping__patience=patience,
        early_stopping__min_delta=delta,
        early_stopping__warmup_epochs=float(warmup),
        num_epochs=15,
    )
    better = {'max': 1, 'min': -1}[mode]
    path = tmp_path / 'run' / 'metrics.jsonl'
    best, since, stopped = read_independently(path, metric, better, warmup, patience, delta)
    assert (course.best.best_epoch, course.best.epochs_since_best) == (best, since)
    assert course.ending == ('stopped_early' if stopped else 'open')
    assert [math.isnan(epoch.figures['validation/loss']) for epoch in course.epochs] == [
        loss is None for loss in losses
    ]


@pytest.mark.parametrize(
    ('changes', 'ending', 'text'),
    [
        ({'num_epochs': 5}, 'all_epochs', 'All epochs were done: 5 of 5.'),
        ({'num_epochs': 6}, 'open', 'epoch 5 of 6 is over'),
        ({'num_epochs': 0, 'num_steps': 25}, 'all_epochs', 'All epochs were done: 5.'),
        ({'num_epochs': 0, 'num_steps': 26}, 'open', 'epoch 5 is over'),
    ],
)
def test_a_run_is_over_when_its_length_is_reached(tmp_path, changes, ending, text):
    course = course_of(tmp_path / 'run', LOSSES, early_stopping__patience=0, **changes)
    assert course.ending == ending
    assert text in course_text(course)


def test_every_start_of_a_run_is_known_by_its_events(tmp_path):
    folder = tmp_path / 'run'
    course = course_of(folder, LOSSES[:2], num_epochs=9)
    assert [start.step for start in course.starts] == [0]
    write_epochs(folder, LOSSES[2:], first=3)
    course = read_course(folder, run_config('none', num_epochs=9))
    assert [start.step for start in course.starts] == [0, 2 * STEPS]
    assert course.seconds > 0 and [epoch.number for epoch in course.epochs] == [1, 2, 3, 4, 5]
    # A run at its end that is started again does nothing.
    write_epochs(folder, [], first=6)
    assert len(read_course(folder, run_config('none', num_epochs=9)).starts) == 2
    # Cut by a kill, a file tells what it holds.
    events = sorted((folder / 'tensorboard').iterdir())[0]
    events.write_bytes(events.read_bytes()[:-7])
    assert len(read_course(folder, run_config('none', num_epochs=9)).starts) == 2


def test_a_line_under_way_is_no_damage_and_any_other_is(tmp_path):
    folder = tmp_path / 'run'
    course_of(folder, LOSSES)
    path = folder / 'metrics.jsonl'
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 30, "ep')
    assert len(read_course(folder, run_config('none')).epochs) == 5
    for damaged in (whole[:50] + b'\n', b'[]\n', b'{"step": 5, "epoch": "a"}\n', b'\xff\n'):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match='damaged in line 1'):
            read_course(folder, run_config('none'))


def axes_of(picture):
    return picture.axes[0]


def test_curves_show_the_log_with_the_best_epoch_and_the_span_of_patience(phantom_shards, tmp_path):
    losses = [0.9, 0.7, None, 0.75, 0.8, 0.72]
    workdir = make_run(
        tmp_path / 'run', phantom_shards, losses[:4], early_stopping__patience=3, num_epochs=9
    )
    write_epochs(workdir, losses[4:], first=5)
    pictures = draw_curves(read_story(workdir, 'test').runs, crossed=False)
    # The figure that decides comes first.
    assert next(iter(pictures)) == f'curve_{load_run(workdir).config.early_stopping.metric}'
    axes = axes_of(pictures['curve_loss'])
    lines = {line.get_label(): line for line in axes.lines}
    drawn = lines['validation'].get_ydata()
    assert np.array_equal(drawn, [math.nan if x is None else x for x in losses], equal_nan=True)
    assert lines['best epoch 2: 0.700'].get_xdata()[0] == 2
    assert lines['resumed'].get_xdata()[0] == 4
    (span,) = axes.patches
    assert (span.get_x(), span.get_x() + span.get_width()) == (2, 6)
    for name, value in (
        ('auroc', '0.520'),
        ('challenge_map', '0.100'),
        ('learning_rate', '0.0005'),
    ):
        axes = axes_of(pictures[f'curve_{name}'])
        assert f'best epoch 2: {value}' in {line.get_label() for line in axes.lines}
        assert axes.get_xlabel() == 'epoch' and axes.get_ylabel()


def test_a_point_between_gaps_has_a_mark_however_many_epochs_there_are(phantom_shards, tmp_path):
    losses = [0.5] * 60
    losses[29] = losses[31] = None
    workdir = make_run(tmp_path / 'run', phantom_shards, losses, early_stopping__patience=0)
    picture = draw_curves(read_story(workdir, 'test').runs, crossed=False)['curve_loss']
    line = next(line for line in axes_of(picture).lines if line.get_label() == 'validation')
    assert np.flatnonzero(line.get_markevery()).tolist() == [30]


def test_one_epoch_is_a_picture_and_none_is_none(phantom_shards, tmp_path):
    workdir = make_run(tmp_path / 'run', phantom_shards, [0.5])
    pictures = draw_curves(read_story(workdir, 'test').runs, crossed=False)
    assert list(axes_of(pictures['curve_loss']).get_xticks()).count(1) == 1
    # Undefined in the first epoch: nothing is to be drawn.
    assert 'curve_challenge_map' not in pictures
    (workdir / 'metrics.jsonl').unlink()
    assert draw_curves(read_story(workdir, 'test').runs, crossed=False) == {}


def test_the_name_of_the_figure_that_decides_leads_to_no_other_folder(phantom_shards, tmp_path):
    workdir = make_run(tmp_path / 'run', phantom_shards, LOSSES, early_stopping__metric='../../a')
    with pytest.raises(InputError, match=r"config\.json is damaged .*'../../a' is no name"):
        read_story(workdir, 'test')


def test_a_text_with_dollars_is_no_formula(tmp_path):
    with drawing():
        picture, (axes,) = new_picture(2, 2)
        axes.set_title('$\\frac{1}{$')
    assert '$\\frac{1}{$' in ElementTree.tostring(inline_svg(picture, 'a'), encoding='unicode')
