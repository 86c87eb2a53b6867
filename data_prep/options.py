"""What to convert and how: a field for each flag of ``data_prep/convert.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from data_prep.films import RecordOptions
from data_prep.splits import DEFAULT_FRACTIONS
from pneumo_jax.data.dicom import ReadOptions

__all__ = ['Options', 'record_options']

# Up to this side a picture is stored as it is, fastest to read; above, as PNG.
_RAW_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of the same names say more."""

    output_dir: str
    source: str = 'rsna'
    images_dir: str | None = None
    labels_csv: str | None = None
    class_info_csv: str | None = None
    columns: Sequence[str] = ()
    positive_labels: Sequence[str] = ()
    person_csv: str | None = None
    id_column: str | None = None
    person_column: str | None = None
    person_pattern: str | None = None
    split: str = 'auto'
    split_csv: str | None = None
    split_fractions: Sequence[float] = DEFAULT_FRACTIONS
    split_seed: int = 0
    labels_only: bool = False
    image_size: int = 256
    encoding: str = 'auto'
    fast: bool = False
    num_shards: int = 4
    max_bad: int = 0
    allow_missing: bool = False
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    film_timeout: float = 60.0
    overwrite: bool = False
    num_workers: int = 0
    runner: str = 'local'
    beam_options: Sequence[str] = ()


def record_options(options: Options) -> RecordOptions:
    """What of the options decides how a record is made."""
    encoding = options.encoding
    if encoding == 'auto':
        encoding = 'raw' if options.image_size <= _RAW_SIZE else 'png'
    return RecordOptions(
        image_size=options.image_size,
        encoding=encoding,
        read=dataclasses.replace(options.read, reduce_to=options.image_size if options.fast else 0),
    )
