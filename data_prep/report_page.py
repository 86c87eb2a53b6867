"""report.json as a page that a person can read: one file, without scripts, good offline."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from data_prep.page_flow import FLOW_STYLE, Node, flow
from pneumo_jax.pages.parts import (
    bars,
    element,
    note,
    number,
    page,
    percent,
    range_bars,
    section,
    stacked_bars,
    table,
    tiles,
)

__all__ = ['report_page']

_SHOWN_REJECTIONS = 200
_SHOWN_GROUPS = 50
_SHOWN_NAMES = 20
_CLASS_TITLES = {
    'normal': 'normal',
    'no_lung_opacity_not_normal': 'not normal, no lung opacity',
    'lung_opacity': 'lung opacity',
    'unknown': 'unknown',
}

# Of long tables of texts, which a narrow screen shows entry by entry.
_STYLE = """
.listing td:first-child { white-space: nowrap; }
@media (max-width: 640px) {
  .listing thead { display: none; }
  .listing td { display: block; padding: 0; border: 0; }
  .listing td:first-child { padding-top: 8px; font-weight: 600; }
  .listing td:last-child { padding-bottom: 8px; border-bottom: 1px solid var(--line); }
}
"""


def report_page(report: dict) -> str:
    """The page of a report, as HTML that refers to nothing outside it; all texts are escaped.

    Args:
        report: of ``report.make_report``, or as read from report.json.
    """
    return page(
        'Conversion report',
        _content(report),
        footer='Research software, not a medical device.',
        style=FLOW_STYLE + _STYLE,
    )


def _content(report) -> Iterator[ElementTree.Element]:
    if report['warnings']:
        sentences = [element('li', sentence) for sentence in report['warnings']]
        yield section('warnings', 'Please read', element('ul', *sentences), class_='notice')
    protocol = report['protocol'] or {'sentence': 'Nothing was split.'}
    yield element('p', protocol['sentence'], class_='sentence', id='protocol')
    yield _tiles(report)
    yield _flow(report)
    if report['splits']:
        yield _splits(report['splits'], protocol)
    yield _labels(report['audit'])
    yield _persons(report['audit']['persons'])
    yield _boxes(report['audit']['boxes'])
    yield _files(report)
    yield _rejected(report)
    yield _duplicates(report)
    yield _lists(report)
    yield _settings(report)


def _tiles(report):
    counts, audit = report['counts'], report['audit']
    figures = {
        'films accepted': number(counts['accepted']),
        'known persons': number(audit['persons']['persons']),
        'positive': number(audit['positives']),
        'prevalence': percent(audit['prevalence']),
        'boxes': number(audit['boxes']['boxes']),
        'films rejected': number(counts['rejected']),
    }
    return tiles((figure, name) for name, figure in figures.items())


def _flow(report):
    counts = report['counts']
    after = [Node(name, split['films']) for name, split in report['splits'].items()]
    after.append(Node('in no split', counts['left_out'], lost=True))
    labelled = (
        Node('accepted', counts['accepted'], to=tuple(after)),
        Node('rejected', counts['rejected'], lost=True),
        Node('without a file', counts['missing'], lost=True),
    )
    candidates = (
        Node('labelled', counts['labelled'], to=labelled),
        Node('without a label', counts['unlabelled'], lost=True),
        Node('skipped', counts['skipped'], lost=True),
    )
    return section(
        'flow',
        'From files and tables to splits',
        *flow(Node('files and labels', counts['candidates'], to=candidates)),
        note(
            f'Files that were found: {number(counts["files"])}. A film counts once, whether it has '
            'a file, a label, or both.'
        ),
    )


def _splits(splits, protocol):
    header = ('split', 'films', 'persons', 'positive', 'prevalence', 'AP', 'PA', 'no view', 'boxes')
    rows = []
    for name, split in splits.items():
        views = [split['views'].get(view, 0) for view in ('AP', 'PA', 'unknown')]
        films = [split[key] for key in ('films', 'persons', 'positives', 'prevalence')]
        rows.append((name, *films, *views, split['boxes']))
    details = ('name', 'fractions', 'seed', 'list_source', 'id_hash')
    return section(
        'splits',
        'Splits',
        table(header, rows),
        note(' · '.join(f'{k} {protocol[k]}' for k in details if protocol.get(k) is not None)),
    )


def _labels(audit):
    charts = [_class_bars('Classes by view', audit['by_view'])]
    if audit['by_label_domain'].keys() != {'unknown'}:
        charts.append(_class_bars('Classes by label domain', audit['by_label_domain']))
    charts += [bars('Sex', audit['sexes']), bars('Age in years', audit['ages'])]
    area = audit['view_alone_auroc']
    told = 'undefined' if area is None else f'{area:.3f}'
    return section(
        'labels',
        'Labels',
        _charts(*charts),
        note(f'AUROC of a predictor that knows the view and sees no pixel: {told}.'),
    )


def _class_bars(title, groups):
    any_unknown = any('unknown' in group['classes'] for group in groups.values())
    classes = dict(list(_CLASS_TITLES.items())[: None if any_unknown else -1])
    rows = []
    for name, group in groups.items():
        remark = f'{number(group["films"])} · {percent(group["prevalence"])} positive'
        rows.append((name, remark, [group['classes'].get(class_, 0) for class_ in classes]))
    return stacked_bars(title, list(classes.values()), rows)


def _persons(persons):
    median, most = persons['films_per_person_median'], persons['films_per_person_max']
    counts = {
        'with one film': persons['persons_with_one_film'],
        'with several films': persons['persons'] - persons['persons_with_one_film'],
    }
    spread = '' if median is None else f'Films of a person: median {median:g}, at most {most:,}. '
    return section(
        'persons',
        'Persons',
        _charts(bars('Known persons', counts)),
        note(f'{spread}Films without a known person: {persons["films_without_person"]:,}.'),
    )


def _boxes(boxes):
    charts = []
    notes = [
        f'Positive films without a box: {boxes["positives_without_boxes"]:,}.',
        f'Films with overlapping boxes: {boxes["films_with_overlap"]:,}.',
    ]
    if boxes['boxes']:
        charts.append(bars('Films by number of boxes', boxes['films_by_boxes']))
        longest = max(boxes['width']['p75'], boxes['height']['p75'])
        sides = {
            'width, px': _range(boxes['width'], longest, number),
            'height, px': _range(boxes['height'], longest, number),
            'area, px²': _range(boxes['area'], boxes['area']['p75'], number),
        }
        if boxes['share_of_film']:
            sides['covered share of film'] = _range(boxes['share_of_film'], 1, percent)
            notes.append(
                f'Films with boxes on both halves: {boxes["films_on_both_halves"]:,} of '
                f'{boxes["films_of_known_size"]:,}.'
            )
        charts.append(range_bars('Size of boxes: median (quartiles)', sides))
    return section('boxes', 'Boxes', _charts(*charts), note(' '.join(notes)))


def _range(quartiles, axis, text):
    low, middle, high = (quartiles[name] for name in ('p25', 'p50', 'p75'))
    remark = f'{text(middle)} ({text(low)} to {text(high)})'
    return remark, [value / axis for value in (low, middle, high)]


def _files(report):
    if not report['sizes']:
        return section('files', 'Files of the accepted films', note('No film was read.'))
    syntaxes = {
        f'{syntax["name"]} ({syntax["uid"]})': syntax['films']
        for syntax in report['transfer_syntaxes']
    }
    charts = [
        bars('Width x height in pixels', report['sizes']),
        bars('Bits stored', report['bits_stored']),
        bars('Transfer syntax', syntaxes),
        bars('Photometric interpretation', report['photometric_interpretations']),
        bars('Window', report['windows']),
        bars('Manufacturer', report['manufacturers']),
    ]
    if report['notes']:
        charts.append(bars('Notes', report['notes'], total=report['counts']['accepted']))
    return section('files', 'Files of the accepted films', _charts(*charts))


def _charts(*charts):
    return element('div', *charts, class_='charts')


def _rejected(report):
    if not report['rejected']:
        return section('rejected', 'Rejected films', note('None.'))
    ordered = sorted(report['rejected'], key=lambda film: (film['code'], film['patient_id']))
    rows = [(film['code'], film['patient_id'], film['message']) for film in ordered]
    return section(
        'rejected',
        'Rejected films',
        _charts(bars('By reason', report['rejected_by_reason'])),
        table(('reason', 'film', 'in words'), rows[:_SHOWN_REJECTIONS]),
        *_more(len(rows) - _SHOWN_REJECTIONS),
        class_='listing',
    )


def _duplicates(report):
    groups = report['duplicates']['groups']
    if not groups:
        return section('duplicates', 'Films with the very same pixels', note('None.'))
    rows = [
        (', '.join(group['films']), 'conflicting' if group['conflicting_labels'] else 'equal')
        for group in groups
    ]
    return section(
        'duplicates',
        'Films with the very same pixels',
        table(('films', 'labels'), rows[:_SHOWN_GROUPS]),
        *_more(len(groups) - _SHOWN_GROUPS),
    )


def _lists(report):
    """Ids and files that a reader may want to look up, folded."""
    lists = {
        'PatientID differs from the file name': report['id_mismatches'],
        'Labelled films without a file': report['missing'],
        'Without a label': report['unlabelled'],
        'In no split': report['left_out'],
        'Skipped files': [f'{skip["file"]} ({skip["reason"]})' for skip in report['skipped']],
    }
    folded = (
        element(
            'details',
            element('summary', f'{title}: {number(len(names))}'),
            element('p', ', '.join(names[:_SHOWN_NAMES]), class_='soft'),
            *_more(len(names) - _SHOWN_NAMES),
        )
        for title, names in lists.items()
    )
    return section('lists', 'Other films and files', *folded)


def _more(left):
    return [note(f'and {number(left)} more in report.json')] if left > 0 else []


def _settings(report):
    remarks = {f'tables: {name}': count for name, count in report['tables'].items()}
    rows = [(k, str(v)) for k, v in (report['settings'] | remarks).items()]
    return section('settings', 'Settings', table(('setting', 'value'), rows))
