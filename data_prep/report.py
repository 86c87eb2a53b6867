"""What a conversion tells: the counts of its splits, report.json, and the table on screen."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from data_prep.films import FilmFacts, FoundFiles
from data_prep.labels import FilmLabel, LabelTable, Rejection
from pneumo_jax.data.example import CLASS_NAMES, UNKNOWN_CLASS

__all__ = ['make_report', 'rejection_lines', 'split_counts', 'summary_lines']

_VIEWS = ('AP', 'PA')
_SHOWN_REJECTIONS = 10


def split_counts(films: Sequence[FilmLabel]) -> dict:
    """Counts of a split for the manifest; a film without a known person counts as a person."""
    positives = [film for film in films if film.label]
    return {
        'films': len(films),
        'persons': len({film.person_id or (film.patient_id,) for film in films}),
        'positives': len(positives),
        'prevalence': len(positives) / len(films),
        'classes': _count(_class_name(film.class_id) for film in films),
        'views': _count(film.view_position or 'unknown' for film in films),
        'positives_by_view': _count(film.view_position or 'unknown' for film in positives),
        'classes_by_view': _count(
            f'{_class_name(film.class_id)}, {film.view_position or "unknown"}' for film in films
        ),
        'sexes': _count(film.sex or 'unknown' for film in films),
        'label_domains': _count(film.label_domain for film in films),
        'boxes': sum(len(film.boxes) for film in films),
    }


def make_report(
    *,
    found: FoundFiles,
    table: LabelTable,
    accepted: Sequence[FilmFacts],
    rejected: Sequence[Rejection],
    missing: Sequence[str],
    unlabelled: Sequence[str],
) -> dict:
    """The content of report.json.

    Args:
        found: the files of the folder.
        table: the tables.
        accepted: the films in the shards.
        rejected: all that were not, by file or by table.
        missing: ids of labelled films without a file.
        unlabelled: ids of files without a label.
    """
    rejected = sorted(rejected, key=lambda rejection: (rejection.patient_id, rejection.code))
    return {
        'counts': {
            'files': len(found.films) + sum(map(len, found.ambiguous.values())),
            'labelled': len(table.films) + len(table.rejected),
            'accepted': len(accepted),
            'rejected': len(rejected),
            'missing': len(missing),
            'unlabelled': len(unlabelled),
            'skipped': len(found.skipped),
        },
        'rejected_by_reason': _count(rejection.code for rejection in rejected),
        'tables': table.counts,
        'transfer_syntaxes': _count(facts.transfer_syntax for facts in accepted),
        'photometric_interpretations': _count(facts.photometric for facts in accepted),
        'sizes': _count(f'{facts.height} x {facts.width}' for facts in accepted),
        'notes': _count(note for facts in accepted for note in facts.notes),
        'rejected': [dataclasses.asdict(rejection) for rejection in rejected],
        'missing': list(missing),
        'unlabelled': list(unlabelled),
        'skipped': [{'file': name, 'reason': reason} for name, reason in found.skipped],
    }


def summary_lines(splits: dict[str, dict], report: dict) -> list[str]:
    """The table that a conversion ends with.

    Args:
        splits: name -> ``split_counts``.
        report: of ``make_report``.
    """
    header = ('split', 'films', 'persons', 'positive', 'prevalence', 'AP', 'PA', 'no view')
    rows = [header]
    for name, counts in splits.items():
        views = [str(counts['views'].get(view, 0)) for view in (*_VIEWS, 'unknown')]
        numbers = [str(counts[key]) for key in ('films', 'persons', 'positives')]
        rows.append((name, *numbers, f'{counts["prevalence"]:.1%}', *views))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    counts = report['counts']
    lines.append(
        f'{counts["accepted"]} films accepted, {counts["rejected"]} rejected, '
        f'{counts["missing"]} missing, {counts["unlabelled"]} without a label'
    )
    return lines + rejection_lines(report)


def rejection_lines(report: dict) -> list[str]:
    """Rejected films by reason, and the first ones in full."""
    lines = [f'  rejected, {code}: {n}' for code, n in report['rejected_by_reason'].items()]
    return lines + [
        f'  {rejection["message"]}' for rejection in report['rejected'][:_SHOWN_REJECTIONS]
    ]


def _class_name(class_id):
    return 'unknown' if class_id == UNKNOWN_CLASS else CLASS_NAMES[class_id]


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))
