"""Proof that a conversion is as it was written: every byte, every record, against the manifest."""

from __future__ import annotations

import pathlib

from tqdm import tqdm

from data_prep.splits import id_hash
from pneumo_jax import command
from pneumo_jax.data.example import decode_example
from pneumo_jax.data.shards import load_manifest, refuse_extra_shards
from pneumo_jax.data.tfrecord import RecordFile, ShardError, ShardInfo
from pneumo_jax.errors import InputError

__all__ = ['verify_conversion']


def verify_conversion(data_dir) -> None:
    """Reads and decodes every record, and says what was found.

    Raises:
        ShardError: naming the first shard, and record, that is not as the manifest says.
    """
    data_dir = pathlib.Path(data_dir)
    manifest = load_manifest(data_dir)
    splits: dict[str, str] = {}
    total = sum(counts['films'] for counts in manifest['splits'].values())
    with tqdm(total=total, desc='records', unit='record') as bar:
        for split, counts in manifest['splits'].items():
            infos = [ShardInfo(**shard) for shard in counts['shards']]
            refuse_extra_shards(data_dir, split, {info.name for info in infos})
            positives = 0
            for info in infos:
                for record in _records(data_dir / info.name, info, manifest):
                    positives += record['label']
                    _note_split(splits, record['patient_id'], split, data_dir / info.name)
                    bar.update()
            if positives != counts['positives']:
                raise ShardError(
                    f'{split} of {data_dir} has {positives} positive films, the manifest says '
                    f'{counts["positives"]}: convert the films anew'
                )
    if id_hash(splits) != manifest['protocol']['id_hash']:
        raise ShardError(
            f'the ids in the shards of {data_dir} are not those of the manifest: convert the films '
            'anew'
        )
    command.say(f'{len(splits)} records of {data_dir} are whole and as the manifest says')


def _records(path, info: ShardInfo, manifest):
    """Every record of a shard, decoded; the frames first, so that an error names the record."""
    file = RecordFile(path)
    for i in range(len(file)):
        try:
            record = decode_example(file[i], manifest['encoding'])
        except ShardError:
            raise
        except InputError as error:
            raise ShardError(f'{path}, record {i}: {error}') from error
        size = (manifest['image_size'],) * 2
        if record['image'].shape[:2] != size:
            raise ShardError(
                f'{path}, record {i}: a picture of {record["image"].shape[:2]} pixels, the '
                f'manifest says {size}: convert the films anew'
            )
        yield record
    for what, found, expected in (
        ('records', len(file), info.records),
        ('bytes', file.num_bytes, info.bytes),
        ('checksums', file.index_sha256, info.index_sha256),
    ):
        if found != expected:
            raise ShardError(
                f'{path} has {what} {found}, the manifest says {expected}: copy it anew, or '
                'convert the films anew'
            )


def _note_split(splits, film_id, split, path):
    if film_id in splits:
        raise ShardError(
            f'{path}: film {film_id!r} is here and in {splits[film_id]}: convert the films anew'
        )
    splits[film_id] = split
