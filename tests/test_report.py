import dataclasses
import html.parser
import json
import re

import numpy as np
import pytest

from data_prep.films import FilmFacts
from data_prep.labels import LabelTable, Rejection
from data_prep.report import (
    OTHERS,
    make_report,
    rejection_lines,
    split_counts,
    summary_lines,
)
from data_prep.report_page import report_page
from tests.test_audit import make_film, random_films

SPLITS = ('train', 'validation', 'test')
SECTIONS = {
    'warnings',
    'protocol',
    'figures',
    'flow',
    'splits',
    'labels',
    'persons',
    'boxes',
    'files',
    'rejected',
    'duplicates',
    'lists',
    'settings',
}


def facts_of(label, **fields):
    known = {
        'height': 1024,
        'width': 1000,
        'transfer_syntax': '1.2.840.10008.1.2.4.50',
        'photometric': 'MONOCHROME2',
        'bits_stored': 8,
        'manufacturer': 'Maker',
        'window': 'full range',
        'notes': (),
        'picture_crc': 0,
    }
    return FilmFacts(label=label, **(known | fields))


def report_of(labels, **inputs):
    """The report of a conversion in which nothing was lost, but for what ``inputs`` tell."""
    usual = {
        'files': len(labels),
        'skipped': [],
        'table': LabelTable(tuple(labels), (), {}),
        'labels': labels,
        'facts': [facts_of(label) for label in labels],
        'rejected': [],
        'missing': [],
        'unlabelled': [],
        'duplicates': [],
        'left_out': [],
        'protocol': None,
        'splits': {},
        'settings': {'image_size': 256},
    }
    return make_report(**(usual | inputs))


def random_inputs(rng):
    """The inputs of a conversion in which anything may have gone wrong."""
    films = random_films(rng, 60, side=30)
    fates = ['missing', 'rejected', 'left_out', *SPLITS]
    fate = {film.patient_id: str(rng.choice(fates)) for film in films}
    ids = {name: [id_ for id_ in fate if fate[id_] == name] for name in fates}
    by_table = [Rejection(f'row{i}', 'bad_box', 'a box') for i in range(rng.integers(4))]
    by_file = [Rejection(id_, str(rng.choice(('a', 'b'))), id_) for id_ in ids['rejected']]
    labels = [film for film in films if fate[film.patient_id] not in ('missing', 'rejected')]
    splits = {
        name: split_counts(members)
        for name in SPLITS
        if (members := [film for film in films if fate[film.patient_id] == name])
    }
    return {
        'files': 100,
        'skipped': [(f'skip{i}', 'other_file') for i in range(rng.integers(4))],
        'table': LabelTable(tuple(films), tuple(by_table), {}),
        'labels': labels,
        'facts': [facts_of(label) for label in labels],
        'rejected': by_file + by_table,
        'missing': ids['missing'],
        'unlabelled': [f'extra{i}.dcm' for i in range(rng.integers(4))],
        'left_out': ids['left_out'],
        'protocol': {'name': 'person', 'sentence': 'person-grouped split'},
        'splits': splits,
    }


class PageReader(html.parser.HTMLParser):
    """Tags, attributes and texts of a page; a tag that is not closed in order is an error."""

    def __init__(self, page):
        super().__init__()
        self.open_tags, self.ids, self.attributes, self.texts = [], set(), [], []
        self.feed(page)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self.ids.add(dict(attrs).get('id'))
        if tag != 'meta':
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def flow_numbers(page):
    """Stage -> films, as the picture of the flow shows it."""
    picture = page[page.index('<svg') : page.index('</svg>')]
    texts = re.findall('<text[^>]*>([^<]*)</text>', picture)
    return dict(zip(texts[::2], (int(text.replace(',', '')) for text in texts[1::2]), strict=True))


@pytest.mark.parametrize('seed', range(20))
def test_films_add_up_at_every_stage_in_the_report_and_in_its_picture(seed):
    report = report_of(**random_inputs(np.random.default_rng(seed)))
    counts, splits = report['counts'], report['splits']
    assert counts['candidates'] == counts['skipped'] + counts['unlabelled'] + counts['labelled']
    assert counts['labelled'] == counts['missing'] + counts['rejected'] + counts['accepted']
    assert counts['accepted'] == counts['left_out'] + sum(s['films'] for s in splits.values())
    assert counts['rejected'] == sum(report['rejected_by_reason'].values())
    assert counts['accepted'] == report['audit']['films']
    for name in ('rejected', 'missing', 'unlabelled', 'skipped', 'left_out'):
        assert counts[name] == len(report[name])
    for name in ('bits_stored', 'windows', 'manufacturers', 'sizes', 'photometric_interpretations'):
        assert sum(report[name].values()) == counts['accepted']

    shown = flow_numbers(report_page(report))
    get = shown.get
    not_labelled = get('without a label', 0) + get('skipped', 0)
    assert shown['files and labels'] == shown['labelled'] + not_labelled
    assert shown['labelled'] == shown['accepted'] + get('rejected', 0) + get('without a file', 0)
    assert shown['accepted'] == get('in no split', 0) + sum(get(name, 0) for name in SPLITS)
    assert shown['accepted'] == counts['accepted']


@pytest.mark.parametrize('name', ['missing', 'rejected', 'labels', 'left_out'])
def test_a_film_that_got_lost_is_an_error(name):
    inputs = random_inputs(np.random.default_rng(0))
    with pytest.raises(ValueError, match='films'):
        report_of(**(inputs | {name: inputs[name][1:]}))


def test_only_the_most_frequent_values_are_told_apart():
    labels = [make_film(f'film{i:03d}') for i in range(90)]
    facts = [
        facts_of(label, window=f'LINEAR {i} at 0' if i < 30 else 'full range')
        for i, label in enumerate(labels)
    ]
    windows = report_of(labels, facts=facts)['windows']
    assert len(windows) == 21
    assert next(iter(windows.items())) == ('full range', 60)
    assert windows[OTHERS] == 30 - 19


def test_films_are_described_by_their_files():
    labels = [make_film(str(i)) for i in range(3)]
    facts = [
        facts_of(labels[0], manufacturer='m' * 99, bits_stored=16, notes=('a', 'b')),
        facts_of(labels[1], manufacturer='', bits_stored=8, notes=('b',)),
        facts_of(labels[2], transfer_syntax='PNG', bits_stored=12, height=5, width=7),
    ]
    report = report_of(labels, facts=facts)
    assert report['manufacturers'] == {'Maker': 1, 'm' * 40: 1, 'unknown': 1}
    assert list(report['bits_stored']) == ['8', '12', '16']
    assert report['notes'] == {'a': 1, 'b': 2}
    assert report['sizes'] == {'1000 x 1024': 2, '7 x 5': 1}
    assert report['transfer_syntaxes'] == [
        {
            'uid': '1.2.840.10008.1.2.4.50',
            'name': 'JPEG Baseline (Process 1)',
            'films': 2,
        },
        {'uid': 'PNG', 'name': 'PNG', 'films': 1},
    ]


def test_fault_22_ids_that_differ_from_the_file_name_are_listed():
    labels = [make_film(name) for name in 'cab']
    note = 'PatientID differs from the file name'
    facts = [facts_of(label, notes=(note,) if label.patient_id != 'b' else ()) for label in labels]
    report = report_of(labels, facts=facts)
    assert report['id_mismatches'] == ['a', 'c']
    assert report['notes'] == {note: 2}
    assert 'differs from the file name: 2.' in ' '.join(report['warnings'])


def test_fault_38_films_of_the_same_pixels_are_reported_with_conflicts():
    labels = [make_film(name) for name in 'abc'] + [make_film('d', [(0, 0, 9, 9)])]
    report = report_of(labels, duplicates=[['d', 'c'], ['a', 'b']])
    assert report['duplicates'] == {
        'films': 4,
        'conflicting_groups': 1,
        'groups': [
            {'films': ['a', 'b'], 'conflicting_labels': False},
            {'films': ['c', 'd'], 'conflicting_labels': True},
        ],
    }
    assert '4, in 2 groups, of which 1' in ' '.join(report['warnings'])
    page = report_page(report)
    assert 'c, d' in page
    assert 'conflicting' in page


def test_splits_that_differ_or_have_one_label_are_warned_of():
    positive = [make_film(f'p{i}', [(0, 0, 9, 9)]) for i in range(2)]
    negative = [make_film(f'n{i}') for i in range(3)]
    splits = {
        'train': split_counts(positive + negative[:2]),
        'test': split_counts(negative[2:]),
    }
    protocol = {
        'sentence': 'image-level split',
        'persons_in_two_splits': 7,
        'same_pixels_in_two_splits': 3,
    }
    warnings = report_of(positive + negative, splits=splits, protocol=protocol)['warnings']
    assert 'The films of test are all of one label: AUROC is undefined there.' in warnings
    assert any('train 50.0 %, test 0.0 %' in text for text in warnings)
    assert any(text.startswith('Persons with films in two splits: 7') for text in warnings)
    assert any('the same pixels in two splits: 3' in text for text in warnings)


@pytest.mark.parametrize('read', [True, False], ids=['films', 'labels only'])
def test_page_has_every_section_and_survives_json(read):
    inputs = random_inputs(np.random.default_rng(1))
    report = report_of(**(inputs if read else inputs | {'facts': []}))
    page = report_page(report)
    assert page == report_page(json.loads(json.dumps(report, allow_nan=False)))
    reader = PageReader(page)
    assert reader.ids >= SECTIONS
    assert ('No film was read.' in reader.texts) == (not read)
    assert 'person-grouped split' in reader.texts
    assert 'Research software, not a medical device.' in page
    for warning in report['warnings']:
        assert warning in reader.texts


def test_page_of_a_conversion_that_was_refused():
    rejected = [Rejection('a', 'not_dicom', 'a is not DICOM')]
    report = report_of([], table=LabelTable((make_film('a'),), (), {}), rejected=rejected)
    reader = PageReader(report_page(report))
    assert 'Nothing was split.' in reader.texts
    assert 'a is not DICOM' in reader.texts
    assert flow_numbers(report_page(report))['rejected'] == 1


def test_page_refers_to_nothing_outside_and_runs_nothing():
    page = report_page(report_of(**random_inputs(np.random.default_rng(2))))
    for word in ('http:', 'https:', '//', 'url(', '@import', '<script', '<link', '<img', '<iframe'):
        assert word not in page
    for _, name, _ in PageReader(page).attributes:
        assert name not in ('src', 'href', 'data', 'action')
        assert not name.startswith('on')


def test_all_texts_of_a_page_are_escaped():
    evil = '<script>alert("&")</script>'
    film = make_film('a', person_id='p')
    fields = ('manufacturer', 'window', 'photometric', 'transfer_syntax')
    facts = [facts_of(film, notes=(evil,), **dict.fromkeys(fields, evil))]
    names = [evil]
    report = report_of(
        [film],
        files=1,
        table=LabelTable((film, make_film(evil)), (make_film(evil),), {evil: 1}),
        facts=facts,
        rejected=[Rejection(evil, evil, evil)],
        missing=names,
        unlabelled=names,
        skipped=[(evil, evil)],
        protocol={'name': evil, 'sentence': evil, 'seed': evil},
        splits={evil: split_counts([film])},
        settings={evil: evil},
    )
    page = report_page(report)
    assert '<script' not in page
    assert page.count('&lt;script&gt;') > 15
    assert sum(evil[:20] in text for text in PageReader(page).texts) > 15


def test_a_file_name_that_is_no_text_is_shown_all_the_same():
    report = report_of([make_film('a')], skipped=[('caf\udce9.txt', 'other_file')])
    assert 'caf\\udce9.txt' in report_page(report).encode('utf-8').decode('utf-8')


def test_long_lists_of_a_page_end_with_how_many_more_there_are():
    rejected = [Rejection(f'film{i:03d}', 'not_dicom', f'message {i:03d}') for i in range(205)]
    table = LabelTable(tuple(make_film(r.patient_id) for r in rejected), (), {})
    report = report_of([], table=table, rejected=rejected, unlabelled=[f'x{i}' for i in range(21)])
    page = report_page(report)
    assert 'message 199' in page
    assert 'message 200' not in page
    assert 'and 5 more in report.json' in page
    assert 'and 1 more in report.json' in page


def test_no_person_and_no_exact_age_is_in_report_or_page():
    films = [
        dataclasses.replace(film, person_id=f'Secret^{film.person_id}', age=90 + i)
        for i, film in enumerate(random_films(np.random.default_rng(3), 30, side=30))
    ]
    splits = {'train': split_counts(films)}
    report = report_of(films, splits=splits, protocol={'sentence': 'a split'})
    for text in (json.dumps(report), report_page(report)):
        assert 'Secret' not in text
    assert report['audit']['ages']['90 and over'] == 30


def test_summary_and_rejections_as_lines():
    films = [make_film('a'), make_film('b', [(0, 0, 9, 9)], view_position='AP')]
    rejected = [Rejection(f'r{i:02d}', 'not_dicom', f'message {i:02d}') for i in range(12)]
    table = LabelTable(tuple(films), tuple(rejected), {})
    splits = {'train': split_counts(films)}
    report = report_of(films, table=table, rejected=rejected, splits=splits)
    lines = summary_lines(splits, report)
    assert lines[1].split() == ['train', '2', '2', '1', '50.0%', '1', '1', '0']
    assert lines[2] == '2 films accepted, 12 rejected, 0 missing, 0 without a label'
    assert lines[3:] == rejection_lines(report)
    assert rejection_lines(report)[0] == '  rejected, not_dicom: 12'
    assert len(rejection_lines(report)) == 11
