"""Whose film it is, with view, sex and age: from a table of persons, and from the films' paths.

The table is a CSV with a row a film, or the RSNA's own mapping of the challenge's films to those of
NIH ChestX-ray14, ``pneumonia-challenge-dataset-mappings_2018.json``.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from data_prep.labels import RejectError, group_by, posix_path
from data_prep.tables import LabelError, find_columns, read_table, read_text
from pneumo_jax.data.example import UNKNOWN_AGE
from pneumo_jax.errors import InputError

__all__ = [
    'FACT_ALIASES',
    'Person',
    'PersonSource',
    'merged_person',
    'person_from_cells',
    'read_persons',
    'read_spacings',
]

# Usual names of columns, as in ``find_columns``.
FACT_ALIASES = {
    'view': ('view', 'viewposition'),
    'sex': ('sex', 'gender', 'patientsex', 'patientgender'),
    'age': ('age', 'patientage'),
}
_KEY_ALIASES = {
    'id': ('patientid', 'imageid', 'filmid', 'id', 'path', 'file', 'filename', 'imagepath'),
    'person': ('personid', 'nihpatient', 'person', 'subjectid', 'subject', 'nihpatientid'),
}
_KEY_FLAGS = {'id': '--id_column', 'person': '--person_column'}

_VIEWS = ('AP', 'PA')
_SEXES = {'m': 'M', 'male': 'M', 'f': 'F', 'female': 'F'}


@dataclasses.dataclass(frozen=True)
class Person:
    """Of whom a film is, and how it was taken.

    Attributes:
        person_id: '' unknown.
        view_position: ``AP``, ``PA``, or '' unknown.
        sex: ``M``, ``F``, or '' unknown.
        age: years, -1 unknown.
    """

    person_id: str = ''
    view_position: str = ''
    sex: str = ''
    age: int = UNKNOWN_AGE


def read_persons(path, *, id_column=None, person_column=None) -> dict[str, list[Person]]:
    """Reads a table of persons.

    Args:
        path: a CSV with columns of film ids (or paths) and of persons, and view, sex and age
            where it has them; or the RSNA's JSON, a list of objects that map ``subset_img_id``,
            the film id, to ``img_id``, ``<person>_<film>.png``.
        id_column: the CSV's column of film ids, if it has no usual name.
        person_column: the CSV's column of persons, if it has no usual name.

    Returns:
        Film id, or path as in ``posix_path`` -> what each of its rows tells.

    Raises:
        LabelError: if the file is no such table, or it is not clear which columns are meant.
    """
    text = read_text(path)
    if _is_json(path, text):
        return _read_mapping(path, text)
    rows = read_table(path)
    header = list(rows[0].cells)
    named = {'id': id_column, 'person': person_column}
    keys = find_columns(
        path,
        header,
        _KEY_ALIASES,
        named={name: column for name, column in named.items() if column},
        required=tuple(_KEY_ALIASES),
        flags=_KEY_FLAGS,
    )
    facts = find_columns(path, header, FACT_ALIASES, named={}, required=(), flags={})
    columns = {'person': keys['person'], **facts}
    return {
        film: [
            person_from_cells({name: row[column] for name, column in columns.items()})
            for row in film_rows
        ]
        for film, film_rows in group_by(rows, lambda row: posix_path(row[keys['id']])).items()
    }


def read_spacings(path, *, id_column=None) -> dict[str, float]:
    """Millimetres between pixels, as far as a table of persons has them in a column for that.

    Args:
        path: as in ``read_persons``.
        id_column: as in ``read_persons``.

    Returns:
        Film id, or path as in ``posix_path`` -> mm; what is no length is left out.

    Raises:
        LabelError: as ``read_persons``.
    """
    text = read_text(path)
    if _is_json(path, text):
        return {}
    rows = read_table(path)
    header = list(rows[0].cells)
    aliases = {'id': _KEY_ALIASES['id'], 'spacing': ('pixelspacing',)}
    named = {'id': id_column} if id_column else {}
    columns = find_columns(path, header, aliases, named=named, required=('id',), flags=_KEY_FLAGS)
    spacings = {}
    if 'spacing' in columns:
        for row in rows:
            try:
                spacing = row.number_in(columns['spacing'])
            except ValueError:
                continue
            if 0 < spacing < math.inf:
                spacings[posix_path(row[columns['id']])] = spacing
    return spacings


def person_from_cells(cells: Mapping[str, str]) -> Person:
    """A person from text under ``person``, ``view``, ``sex`` and ``age``, as far as it is there.

    ``045Y``, ``45`` and ``45.0`` are ages; what is no view, sex or age is unknown.
    """
    view = cells.get('view', '').upper()
    years = re.fullmatch(r'(\d{1,3})(?:[.,]0+)?Y?', cells.get('age', '').upper())
    return Person(
        person_id=cells.get('person', ''),
        view_position=view if view in _VIEWS else '',
        sex=_SEXES.get(cells.get('sex', '').casefold(), ''),
        age=int(years[1]) if years else UNKNOWN_AGE,
    )


def merged_person(persons: Iterable[Person]) -> Person:
    """What several rows tell of one film: one person; of the rest, what is told first.

    Raises:
        RejectError: if they name two persons.
    """
    persons = list(persons)
    names = sorted({person.person_id for person in persons} - {''})
    if len(names) > 1:
        raise RejectError('conflicting_person', f'it has the persons {names}')
    told = {}
    for field in dataclasses.fields(Person):
        values = (getattr(person, field.name) for person in persons)
        told[field.name] = next((v for v in values if v != field.default), field.default)
    return Person(**told)


class PersonSource:
    """The persons of films that are known by their paths.

    A film's own row of labels and the table of persons tell them; where they do not, an expression
    finds them in the path.

    Args:
        person_csv: as in ``read_persons``.
        id_column: as in ``read_persons``.
        person_column: as in ``read_persons``.
        person_pattern: a regular expression to search in paths. Its first group is the person, or
            all that it matches where it has no group.

    Raises:
        InputError: if a table or the expression cannot be used.
    """

    def __init__(
        self, *, person_csv=None, id_column=None, person_column=None, person_pattern: str | None
    ):
        self._persons = {}
        if person_csv:
            self._persons = read_persons(
                person_csv, id_column=id_column, person_column=person_column
            )
        self._pattern = _compile(person_pattern) if person_pattern else None

    def person_of(
        self, film_id: str, path: str, own: Sequence[Person], counts: collections.Counter
    ) -> Person:
        """The person of a film.

        Args:
            film_id: of the film.
            path: of its file.
            own: what the film's own rows of labels tell.
            counts: a film without person is counted as ``films_without_person``.

        Raises:
            RejectError: if the film has two persons.
        """
        listed = [*self._persons.get(film_id, ()), *self._persons.get(path, ())]
        person = merged_person([*own, *listed])
        if not person.person_id and self._pattern and (match := self._pattern.search(path)):
            name = match[1] if self._pattern.groups else match[0]
            person = dataclasses.replace(person, person_id=name or '')
        counts['films_without_person'] += not person.person_id
        return person

    def rows_without_film(self, names: Iterable[str]) -> int:
        """How many films the table of persons lists under none of ``names``, ids and paths."""
        return len(self._persons.keys() - set(names))


def _is_json(path, text):
    return pathlib.Path(path).suffix.lower() == '.json' or text.lstrip().startswith(('[', '{'))


def _read_mapping(path, text):
    """The RSNA's mapping in JSON."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabelError(f'{path} is damaged JSON ({error}): download it anew') from error
    if not isinstance(entries, list) or not entries:
        raise LabelError(
            f'{path} is no mapping of the RSNA: it must be a list of objects with subset_img_id '
            'and img_id'
        )
    persons = collections.defaultdict(list)
    for index, entry in enumerate(entries):
        film, person = _mapping_entry(path, index, entry)
        persons[film].append(Person(person))
    return dict(persons)


def _mapping_entry(path, index, entry):
    """(film id, person) of one entry of the mapping."""
    names = ('subset_img_id', 'img_id')
    if not isinstance(entry, dict) or not all(isinstance(entry.get(n), str) for n in names):
        raise LabelError(
            f'{path}, entry {index}: no object with the texts subset_img_id and img_id: correct it'
        )
    film, image = (entry[name] for name in names)
    match = re.fullmatch(r'(\w+)_\d+\.png', image)
    if not film or not match:
        raise LabelError(
            f'{path}, entry {index}: subset_img_id {film!r} or img_id {image!r} is no film id or '
            'no <person>_<film>.png: correct it'
        )
    return film, match[1]


def _compile(person_pattern):
    try:
        return re.compile(person_pattern)
    except re.error as error:
        raise InputError(
            f'--person_pattern={person_pattern} is no regular expression: {error}'
        ) from error
