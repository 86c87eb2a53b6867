"""Reads HDF5 files that nobody has checked: arrays and strings, in a process of its own.

The HDF5 library is native code that damaged files can crash, hang or make ask for any memory, and
a file may point at other files. Hence a worker process with a limit of time and of memory, and no
step through anything but the hard links of the file itself.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import resource
from collections.abc import Sequence

import h5py
import ml_dtypes
import numpy as np

from pneumo_jax.errors import InputError
from pneumo_jax.workers import Lost, WorkerPool, map_isolated

__all__ = ['MAX_BYTES', 'Hdf5File', 'read_hdf5']

# Of all arrays of a file together: VGG19 with its top has 0.57e9.
MAX_BYTES = 2 << 30
_MAX_OBJECTS = 50_000
_MAX_DEPTH = 16
_MAX_ATTRIBUTE_BYTES = 16 << 20
# What the arrays, their pickled copy and the library's buffers take together, and the code.
_WORKER_BYTES = 4 * MAX_BYTES
# A small file in seconds, a large one from a slow disk in its time.
_SECONDS = 20
_SLOW_BYTES_PER_SECOND = 5e6
# Built into the library or h5py; any other would be looked for among the plug-ins of the machine.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: 'deflate',
    h5py.h5z.FILTER_SHUFFLE: 'shuffle',
    h5py.h5z.FILTER_FLETCHER32: 'fletcher32',
    h5py.h5z.FILTER_LZF: 'lzf',
}
# As Keras stores bfloat16, which HDF5 does not know.
_OPAQUE = np.dtype('V2')
_DTYPES = frozenset(
    np.dtype(f'{order}{kind}') for order in '<>' for kind in ('f2', 'f4', 'f8', 'i4', 'i8', 'u4')
) | {_OPAQUE}


@dataclasses.dataclass(frozen=True)
class Hdf5File:
    """The content of a file; paths without a leading slash, '' for the root.

    Attributes:
        arrays: path -> array of floats or integers; of an opaque type of two bytes, of bfloat16.
        attributes: path of a group -> name -> strings; attributes of other kinds are left out. An
            array without elements has no strings, whatever its type. A single string is a list of
            one.
    """

    arrays: dict[str, np.ndarray]
    attributes: dict[str, dict[str, list[str]]]


def read_hdf5(path: pathlib.Path, skipped: Sequence[str] = ()) -> Hdf5File:
    """Reads a whole file, some groups aside.

    Args:
        path: of the file.
        skipped: names of groups of the root that are not looked into.

    Raises:
        InputError: if it cannot be read as a whole, crashes the library or occupies it for too
            long, holds more than ``MAX_BYTES``, or points out of itself (external and soft links,
            external storage, virtual datasets). The message does not name the file.
    """
    seconds = _SECONDS + path.stat().st_size / _SLOW_BYTES_PER_SECOND
    try:
        with WorkerPool(1, item_timeout=seconds) as pool:
            (result,) = map_isolated(read_task, [(path, tuple(skipped))], pool=pool, chunk_size=1)
    except MemoryError as error:
        raise InputError('there is not the memory for the arrays of this HDF5 file') from error
    if isinstance(result, Lost):
        words = 'took it too long' if result.reason == 'timed_out' else 'crashed it'
        raise InputError(f'the HDF5 library could not read this file, which {words}: get it anew')
    if isinstance(result, str):
        raise InputError(result)
    return result


def read_task(task: tuple[pathlib.Path, Sequence[str]]) -> Hdf5File | str:
    """What a worker does: reads a file, or says why it cannot.

    Args:
        task: path and skipped groups.
    """
    path, skipped = task
    _limit_memory()
    try:
        # Without the lock, which needs leave to write on some network disks.
        with h5py.File(path, 'r', locking=False) as file:
            walk = _Walk(skipped)
            walk.enter(file, '', 0)
    except InputError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - h5py raises of any kind on damaged files
        return f'this HDF5 file is cut or damaged: {_short(error)}; get it anew'
    return Hdf5File(walk.arrays, walk.attributes)


class _Walk:
    """Goes through the groups of a file and gathers."""

    def __init__(self, skipped):
        self.arrays: dict[str, np.ndarray] = {}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        self._skipped = skipped
        self._bytes = 0
        self._seen = set()

    def enter(self, group, path, depth):
        if depth > _MAX_DEPTH:
            raise InputError(f'groups are nested deeper than {_MAX_DEPTH} at {path!r}')
        self.attributes[path] = _string_attributes(group, path)
        for name in group:
            child_path = f'{path}/{name}' if path else name
            if depth or name not in self._skipped:
                self._visit(group, name, child_path, depth + 1)

    def _visit(self, group, name, path, depth):
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise InputError(
                f'{path!r} is a {type(link).__name__}, and may lead to another file: copy the '
                'weights into one file'
            )
        child = group[name]
        # An object with two names is read once, or a group inside itself would have no end.
        address = h5py.h5o.get_info(child.id).addr
        if address in self._seen:
            raise InputError(f'{path!r} is a second name of an object: copy it instead')
        self._seen.add(address)
        if len(self._seen) > _MAX_OBJECTS:
            raise InputError(f'it holds more than {_MAX_OBJECTS} groups and arrays')
        if isinstance(child, h5py.Group):
            self.enter(child, path, depth)
        elif isinstance(child, h5py.Dataset):
            self._read(child, path)

    def _read(self, dataset, path):
        _check_storage(dataset, path)
        size = math.prod(dataset.shape) * dataset.dtype.itemsize
        self._bytes += size
        if self._bytes > MAX_BYTES:
            raise InputError(f'with {path!r} its arrays take more than {MAX_BYTES} bytes')
        # Damaged sizes would otherwise give an array of another shape, or zeros.
        if dataset.chunks is None and dataset.id.get_storage_size() != size:
            raise InputError(
                f'{path!r} of shape {dataset.shape} has {dataset.id.get_storage_size()} bytes '
                f'instead of {size}: the file is damaged, get it anew'
            )
        array = dataset[()]
        self.arrays[path] = array.view(ml_dtypes.bfloat16) if array.dtype == _OPAQUE else array


def _check_storage(dataset, path):
    if dataset.shape is None or dataset.dtype not in _DTYPES:
        raise InputError(f'{path!r} is of type {_short(dataset.dtype)}: weights are numbers')
    if dataset.is_virtual or dataset.external:
        raise InputError(f'{path!r} lies in another file: copy the weights into one file')
    plan = dataset.id.get_create_plist()
    for i in range(plan.get_nfilters()):
        code = plan.get_filter(i)[0]
        if code not in _FILTERS:
            raise InputError(
                f'{path!r} is compressed with filter {code}: h5repack -f GZIP=1 makes it readable'
            )
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_BYTES:
        raise InputError(f'{path!r} has chunks of shape {dataset.chunks}: the file is damaged')


def _string_attributes(group, path):
    attributes = {}
    for name in group.attrs:
        stored = h5py.h5a.open(group.id, name.encode('utf-8', 'surrogateescape'))
        if math.prod(stored.shape) * stored.dtype.itemsize > _MAX_ATTRIBUTE_BYTES:
            raise InputError(f'attribute {name!r} of {path!r} is too large: the file is damaged')
        strings = _as_strings(group.attrs[name])
        if strings is not None:
            attributes[name] = strings
    return attributes


def _as_strings(value):
    """As a list of strings, or None if it is something else."""
    if isinstance(value, (str, bytes)):
        value = [value]
    elif isinstance(value, np.ndarray) and (value.dtype.kind in 'SUO' or value.size == 0):
        value = value.ravel().tolist()
    else:
        return None
    strings = [
        item.decode('utf-8', 'replace') if isinstance(item, bytes) else item for item in value
    ]
    return strings if all(isinstance(item, str) for item in strings) else None


def _limit_memory():
    """A small file that unpacks to a huge one then ends as an error, and not the machine."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = _WORKER_BYTES if most == resource.RLIM_INFINITY else min(_WORKER_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _short(value):
    return f'{value!s:.200}'.replace('\n', ' ') or type(value).__name__
