"""What a conversion tells: the counts of its splits, report.json, and the table on screen."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from pydicom.config import IGNORE
from pydicom.uid import UID

from data_prep.audit import audit_labels, class_name, count_values
from data_prep.films import FilmFacts
from data_prep.labels import FilmLabel, LabelTable, Rejection
from pneumo_jax.data.film import ID_MISMATCH

__all__ = ['OTHERS', 'make_report', 'rejection_lines', 'split_counts', 'summary_lines']

# What stands for all values but the most frequent ones.
OTHERS = 'others'

_VIEWS = ('AP', 'PA')
_SHOWN_REJECTIONS = 10
_SHOWN_VALUES = 20
# A manufacturer's name is free text; more of it would be something else.
_MANUFACTURER_LENGTH = 40
# A difference in prevalence between splits that moves accuracy, PPV and any threshold.
_PREVALENCE_GAP = 0.05


def split_counts(films: Sequence[FilmLabel]) -> dict:
    """Counts of a split for the manifest; a film without a known person counts as a person."""
    positives = [film for film in films if film.label]
    return {
        'films': len(films),
        'persons': len({film.person_id or (film.patient_id,) for film in films}),
        'positives': len(positives),
        'prevalence': len(positives) / len(films),
        'classes': count_values(class_name(film.class_id) for film in films),
        'views': count_values(film.view_position or 'unknown' for film in films),
        'positives_by_view': count_values(film.view_position or 'unknown' for film in positives),
        'classes_by_view': count_values(
            f'{class_name(film.class_id)}, {film.view_position or "unknown"}' for film in films
        ),
        'sexes': count_values(film.sex or 'unknown' for film in films),
        'label_domains': count_values(film.label_domain for film in films),
        'boxes': sum(len(film.boxes) for film in films),
    }


def make_report(
    *,
    files: int,
    skipped: Sequence[tuple[str, str]],
    table: LabelTable,
    labels: Sequence[FilmLabel],
    facts: Sequence[FilmFacts],
    rejected: Sequence[Rejection],
    missing: Sequence[str],
    unlabelled: Sequence[str],
    duplicates: Sequence[Sequence[str]],
    left_out: Sequence[str],
    protocol: dict | None,
    splits: dict[str, dict],
    settings: dict,
) -> dict:
    """The content of report.json: what became of every file and every label.

    In ``counts`` the films add up, each counted once: candidates (all that the folder or the tables
    name) = skipped + unlabelled + labelled; labelled = missing + rejected + accepted; and where
    there are splits, accepted = left_out + the films of the splits.

    Args:
        files: in the folder, with those that were skipped; several may claim to be one film.
        skipped: (file, reason) of what was not read.
        table: the tables.
        labels: of the accepted films; view, sex and age as their files tell them.
        facts: of the same films, in any order; empty where only labels are converted.
        rejected: all that were not accepted, by file or by table.
        missing: ids of labelled films without a file.
        unlabelled: files without a label.
        duplicates: groups of ids of accepted films with the very same pixels.
        left_out: ids of accepted films that the protocol gives to no split.
        protocol: of ``SplitAssignment``; None where nothing was split.
        splits: name -> ``split_counts``; empty where nothing was split.
        settings: options of the conversion that a reader should know, plain values for JSON.

    Raises:
        ValueError: if the numbers do not add up.
    """
    counts = {
        'files': files,
        'candidates': len(skipped) + len(unlabelled) + len(table.films) + len(table.rejected),
        'skipped': len(skipped),
        'unlabelled': len(unlabelled),
        'labelled': len(table.films) + len(table.rejected),
        'missing': len(missing),
        'rejected': len(rejected),
        'accepted': len(labels),
        'left_out': len(left_out),
    }
    _check_sums(counts, splits)
    rejected = sorted(rejected, key=lambda rejection: (rejection.patient_id, rejection.code))
    audit = audit_labels(
        labels, {film.label.patient_id: (film.height, film.width) for film in facts}
    )
    mismatches = sorted(film.label.patient_id for film in facts if ID_MISMATCH in film.notes)
    report = {
        'counts': counts,
        'rejected_by_reason': count_values(rejection.code for rejection in rejected),
        'protocol': protocol,
        'splits': splits,
        'audit': audit,
        'tables': table.counts,
        **_file_figures(facts),
        'duplicates': _duplicate_figures(duplicates, labels),
        'id_mismatches': mismatches,
        'settings': settings,
        'left_out': sorted(left_out),
        'rejected': [dataclasses.asdict(rejection) for rejection in rejected],
        'missing': sorted(missing),
        'unlabelled': sorted(unlabelled),
        'skipped': [{'file': name, 'reason': reason} for name, reason in sorted(skipped)],
    }
    return {'warnings': [*_warnings(report), *audit['warnings']], **report}


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


def _check_sums(counts, splits):
    labelled = counts['missing'] + counts['rejected'] + counts['accepted']
    if labelled != counts['labelled']:
        raise ValueError(
            f'{counts["labelled"]} labelled films are not the {counts["missing"]} missing, '
            f'{counts["rejected"]} rejected and {counts["accepted"]} accepted ones'
        )
    split = counts['left_out'] + sum(split['films'] for split in splits.values())
    if splits and split != counts['accepted']:
        raise ValueError(
            f'{counts["accepted"]} accepted films, but {split} in the splits or left out of them'
        )


def _file_figures(facts):
    """What the files of the accepted films are like."""
    syntaxes = collections.Counter(film.transfer_syntax for film in facts)
    return {
        'transfer_syntaxes': [
            {'uid': uid, 'name': UID(uid, validation_mode=IGNORE).name, 'films': films}
            for uid, films in sorted(syntaxes.items(), key=_most_frequent)
        ],
        'photometric_interpretations': count_values(film.photometric for film in facts),
        'bits_stored': count_values(str(film.bits_stored) for film in facts),
        'windows': _count_frequent(film.window for film in facts),
        'manufacturers': _count_frequent(
            film.manufacturer[:_MANUFACTURER_LENGTH] or 'unknown' for film in facts
        ),
        'sizes': _count_frequent(f'{film.width} x {film.height}' for film in facts),
        'notes': count_values(note for film in facts for note in film.notes),
    }


def _count_frequent(values: Iterable[str]) -> dict[str, int]:
    """The most frequent values first, the others as one."""
    ranked = sorted(collections.Counter(values).items(), key=_most_frequent)
    others = sum(count for _, count in ranked[_SHOWN_VALUES:])
    return dict(ranked[:_SHOWN_VALUES]) | ({OTHERS: others} if others else {})


def _most_frequent(item):
    value, count = item
    return -count, value


def _duplicate_figures(duplicates, labels):
    by_id = {film.patient_id: film.label for film in labels}
    groups = [
        {'films': sorted(group), 'conflicting_labels': len({by_id[id_] for id_ in group}) > 1}
        for group in duplicates
    ]
    return {
        'films': sum(len(group['films']) for group in groups),
        'conflicting_groups': sum(group['conflicting_labels'] for group in groups),
        'groups': sorted(groups, key=lambda group: group['films']),
    }


def _warnings(report) -> Iterator[str]:
    """Sentences on the conversion; those on the labels are the audit's."""
    counts, protocol, duplicates = report['counts'], report['protocol'] or {}, report['duplicates']
    if counts['rejected']:
        yield f'Films that could not be used: {counts["rejected"]:,}. They are in no split.'
    if counts['missing']:
        yield f'Labelled films without a file: {counts["missing"]:,}.'
    if counts['left_out']:
        yield f'Films that the protocol gives to no split: {counts["left_out"]:,}.'
    if persons := protocol.get('persons_in_two_splits'):
        yield f'Persons with films in two splits: {persons:,}. Figures may flatter.'
    if groups := protocol.get('same_pixels_in_two_splits'):
        yield f'Groups of films with the same pixels in two splits: {groups:,}.'
    yield from _split_warnings(report['splits'])
    if duplicates['films']:
        yield (
            f'Films with the very same pixels as another: {duplicates["films"]:,}, in '
            f'{len(duplicates["groups"]):,} groups, of which {duplicates["conflicting_groups"]:,} '
            'have conflicting labels.'
        )
    if report['id_mismatches']:
        yield (
            f'Films whose PatientID differs from the file name: {len(report["id_mismatches"]):,}. '
            'The label was found by the file name: make sure that the files were not mixed up.'
        )


def _split_warnings(splits):
    for name, split in splits.items():
        if split['positives'] in (0, split['films']):
            yield f'The films of {name} are all of one label: AUROC is undefined there.'
    rates = {name: split['prevalence'] for name, split in splits.items()}
    if rates and max(rates.values()) - min(rates.values()) > _PREVALENCE_GAP:
        told = ', '.join(f'{name} {100 * rate:.1f} %' for name, rate in rates.items())
        yield f'Prevalence differs between the splits ({told}): so will all but ranking figures.'
