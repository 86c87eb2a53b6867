"""The conversion of films on Apache Beam: on this machine, Flink, Spark or Dataflow.

Workers write into the spool, as they do without Beam, so a run that failed goes on where it ended
and the shards are the same to the byte. The folder of films and the output folder must be on
storage that every worker mounts under the same path; a worker where that is not so ends the run.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import pathlib
import re
import socket
from collections.abc import Sequence

from data_prep.films import RecordOptions
from data_prep.spool import Chunk, convert_chunk, make_chunks
from pneumo_jax.errors import InputError
from pneumo_jax.workers import WorkerPool

try:
    import apache_beam as beam
except ImportError as error:
    raise InputError(
        "--runner=beam needs Apache Beam: pip install 'pneumo_jax[beam]', in an environment of "
        'its own'
    ) from error
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

__all__ = ['convert_on_beam']

_SHARED = (
    'the folder of films and --output_dir must lie on storage that every worker mounts under the '
    'same absolute path'
)
_KEPT = 'what was converted is kept: the same command goes on from there'
# Runners hand on what a worker raised as a page of text; this finds our sentence in it.
_OPEN, _CLOSE = '<<<pneumo_jax: ', '>>>'
_OURS = re.compile(f'{_OPEN}(.*?){_CLOSE}', re.DOTALL)


def convert_on_beam(
    chunks: Sequence[Chunk],
    spool_dir: pathlib.Path,
    options: RecordOptions,
    *,
    item_timeout: float,
    beam_options: Sequence[str],
) -> list[None]:
    """Converts chunks into the spool by ``convert_chunk``; a crash or a hang costs one film.

    Args:
        chunks: the films.
        spool_dir: where the files go, an absolute path.
        options: for ``film_record``.
        item_timeout: seconds that a film may take.
        beam_options: flags of Beam, with ``--runner=NAME`` among them.

    Returns:
        A None for each chunk, as ``WorkerPool.map`` would yield.

    Raises:
        InputError: if an option of Beam is not right, a worker lacks the folders or has other
            versions of the decoders, or a chunk's files are not there in the end; and with the
            message of what a worker raised as InputError or OSError.
        Exception: of Beam or the runner, for any other failure.
    """
    pipeline = _make_pipeline(beam_options)
    # Of an error of ours its sentence is enough; it logs a page as well.
    logging.getLogger('apache_beam.runners.common').addFilter(_is_not_ours)
    convert = _ConvertChunk(spool_dir, options, item_timeout)
    # Create shares the chunks out between the workers.
    pipeline | 'chunks' >> beam.Create(chunks) | 'convert' >> beam.ParDo(convert)
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:
        if ours := _OURS.search(str(error)):
            raise InputError(f'{ours[1]}; {_KEPT}') from None
        raise
    if state != PipelineState.DONE:
        raise InputError(f'Beam ended as {state}; {_KEPT}')
    _check_spool(chunks, spool_dir)
    return [None] * len(chunks)


class _ConvertChunk(beam.DoFn):
    """Converts a chunk in a process of its own, which native decoders may crash."""

    def __init__(self, spool_dir, options, item_timeout):
        self._spool_dir = spool_dir
        self._options = options
        self._item_timeout = item_timeout

    def setup(self):
        self._resources = contextlib.ExitStack()
        self._pool = self._resources.enter_context(WorkerPool(1, item_timeout=self._item_timeout))

    def process(self, element):
        work = functools.partial(convert_chunk, spool_dir=self._spool_dir, options=self._options)
        try:
            _check_worker(element, self._spool_dir, self._options)
            list(self._pool.map(work, [element]))
        except InputError as error:
            raise RuntimeError(f'{_OPEN}{error}{_CLOSE}') from None
        except OSError as error:
            place = error.filename or self._spool_dir
            raise RuntimeError(f'{_OPEN}{place}: {error.strerror}{_CLOSE}') from None

    def teardown(self):
        self._resources.close()


def _is_not_ours(record):
    return _OPEN not in record.getMessage()


def _make_pipeline(beam_options):
    if not any(re.match('--?runner(=|$)', option) for option in beam_options):
        raise InputError(
            f'--beam_options={",".join(beam_options)} names no runner: add --runner=DirectRunner '
            'for this machine, or FlinkRunner, SparkRunner, DataflowRunner'
        )
    try:
        return beam.Pipeline(options=PipelineOptions(list(beam_options)))
    except (ImportError, ValueError) as error:
        raise InputError(f'--beam_options={",".join(beam_options)}: {error}') from error


def _check_worker(chunk, spool_dir, options):
    """Ends the run before films are rejected, and remembered so, for a fault of the worker."""
    host = socket.gethostname()
    if not spool_dir.is_dir():
        raise InputError(f'the worker on {host} does not see {spool_dir}: {_SHARED}')
    if not any(task.path.exists() for task in chunk.tasks):
        raise InputError(f'the worker on {host} does not see {chunk.tasks[0].path}: {_SHARED}')
    (here,) = make_chunks(chunk.tasks, options, len(chunk.tasks))
    if here.key != chunk.key:
        raise InputError(
            f'the worker on {host} has other versions of pneumo_jax, numpy or the decoders than '
            'the machine that started the run: install the same on both'
        )


def _check_spool(chunks, spool_dir):
    # Listed rather than asked for one by one: over NFS a folder is read afresh, while it may be
    # remembered for a minute that a file was not there.
    there = {path.name for path in spool_dir.iterdir()}
    for chunk in chunks:
        if f'{chunk.key}.json' not in there or f'{chunk.key}.tfrecord' not in there:
            films = f'{chunk.tasks[0].path} to {chunk.tasks[-1].path}'
            raise InputError(
                f'chunk {chunk.key} ({films}) was converted but is not in {spool_dir}: {_SHARED}'
            )
