import json
import math

from pneumo_jax.files import write_csv
from pneumo_jax.writers import MetricsWriter


def lines(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def test_a_resumed_run_leaves_no_line_twice(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        for step in (10, 20, 30):
            writer.write(step, {'validation/auroc': step / 100}, epoch=step // 10)
    with MetricsWriter(tmp_path, resume_step=20) as writer:
        writer.write(30, {'validation/auroc': 0.9}, epoch=3)
    assert [(x['step'], x['validation/auroc']) for x in lines(tmp_path)] == [
        (10, 0.1),
        (20, 0.2),
        (30, 0.9),
    ]


def test_a_line_cut_short_by_a_kill_goes(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(10, {'loss': 1.0})
    with (tmp_path / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 20, "lo')
    with MetricsWriter(tmp_path, resume_step=20):
        pass
    assert [x['step'] for x in lines(tmp_path)] == [10]


def test_nan_is_null_in_the_lines(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {'auroc': math.nan})
    assert lines(tmp_path) == [{'step': 1, 'auroc': None}]


def test_csv_quotes_what_needs_it(tmp_path):
    write_csv(tmp_path / 't.csv', ('id', 'message'), [('a', 'x, "y"')])
    assert (tmp_path / 't.csv').read_text() == 'id,message\na,"x, ""y"""\n'
    assert [p.name for p in tmp_path.iterdir()] == ['t.csv']
