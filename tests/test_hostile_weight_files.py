"""Files that are damaged, lie, point elsewhere or are something else: one error with their name."""

import io
import json
import struct
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

import pneumo_jax.hdf5
from pneumo_jax.errors import InputError
from pneumo_jax.hdf5 import read_task
from pneumo_jax.pretrained import hdf5_file
from pneumo_jax.pretrained.hdf5_file import SKIPPED
from pneumo_jax.pretrained.weight_file import read_weight_file
from pneumo_jax.workers import Lost, WorkerPool, map_isolated
from tests.weight_files import (
    TorchTensor,
    assert_refused,
    flip_bit,
    keras_config,
    some_layers,
    torch_state_dict,
    torch_tensors,
    write_keras3,
    write_keras_by_name,
    write_keras_zip,
    write_torch_legacy,
    write_torch_zip,
)

NUM_DAMAGED = 150
NUMBERS = np.arange(12, dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.bin'


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_zip_archives_that_lie(path):
    write_torch_zip(path, {'w': TorchTensor.of(NUMBERS)}, more=[('data.pkl', b'N.')])
    assert_refused(path, 'share a name')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(70 << 20))
    assert path.stat().st_size < 1 << 20
    assert_refused(path, "'archive/data.pkl' in it would take 73400320 bytes")
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_LZMA) as archive:
        archive.writestr('archive/data.pkl', b'N.')
    assert_refused(path, 'unusual')


def test_zip_archive_whose_sizes_are_small_unpacks_no_more(path):
    """The directory says 10 bytes of what unpacks to 70 million."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(70_000_000))
    size = struct.pack('<I', 70_000_000)
    path.write_bytes(path.read_bytes().replace(size, struct.pack('<I', 10)))
    tracemalloc.start()
    assert_refused(path, 'Bad CRC-32')
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_flipped_bit_in_the_numbers_of_a_torch_archive_is_seen(path):
    array = np.full(1000, 1.5, np.float32)
    write_torch_zip(path, {'w': TorchTensor.of(array)})
    data = path.read_bytes()
    path.write_bytes(flip_bit(data, 8 * (data.index(array.tobytes()) + 500)))
    assert_refused(path, 'Bad CRC-32', 'get it anew')


def hdf5_with(make):
    """Writes a file with one layer into which ``make`` puts its variable."""

    def write(path):
        with h5py.File(path, 'w') as file:
            file['fine/fine/kernel:0'] = NUMBERS
            make(file.create_group('w/w'), path)

    return write


def _soft_link(group, path):
    group['kernel:0'] = h5py.SoftLink('/fine/fine/kernel:0')


def _external_link(group, path):
    with h5py.File(path.with_name('other.h5'), 'w') as other:
        other['secret'] = NUMBERS
    group['kernel:0'] = h5py.ExternalLink('other.h5', '/secret')


def _external_storage(group, path):
    path.with_name('secret').write_bytes(bytes(48))
    group.create_dataset('kernel:0', (12,), 'f4', external=[(path.with_name('secret'), 0, 48)])


def _virtual(group, path):
    with h5py.File(path.with_name('other.h5'), 'w') as other:
        other['secret'] = NUMBERS
    layout = h5py.VirtualLayout((12,), 'f4')
    layout[:] = h5py.VirtualSource(path.with_name('other.h5'), 'secret', (12,))
    group.create_virtual_dataset('kernel:0', layout)


def _second_name(group, path):
    group['kernel:0'] = group.file['fine/fine/kernel:0']


def _ring(group, path):
    group['w'] = group.file['w']


def _deep(group, path):
    group.create_group('x/' * 20)


def _never_written(group, path):
    group.create_dataset('kernel:0', (2**20,), 'f4')


def _huge(group, path):
    group.create_dataset('kernel:0', (2**40,), 'f4', chunks=(2**20,))


def _strings(group, path):
    group['kernel:0'] = 'text'


def _references(group, path):
    group['kernel:0'] = np.array([group.ref], h5py.ref_dtype)


def _plug_in(group, path):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((12,))
    plan.set_filter(h5py.h5z.FILTER_SCALEOFFSET, h5py.h5z.FLAG_OPTIONAL, (2, 0))
    space = h5py.h5s.create_simple((12,))
    h5py.h5d.create(group.id, b'kernel:0', h5py.h5t.NATIVE_INT32, space, plan)


def _unpacks_to_much(group, path):
    chunk = group.create_dataset('kernel:0', (12,), 'f4', chunks=(12,), compression='gzip')
    chunk.id.write_direct_chunk((0,), zlib.compress(bytes(100 << 20)))


HOSTILE_HDF5 = {
    _soft_link: 'SoftLink',
    _external_link: 'ExternalLink',
    _external_storage: 'lies in another file',
    _virtual: 'lies in another file',
    _second_name: 'second name',
    _ring: 'second name',
    _deep: 'deeper than',
    _never_written: 'has 0 bytes instead of 4194304',
    _huge: 'take more than',
    _strings: 'of type object',
    _references: 'of type object',
    _plug_in: 'compressed with filter 6',
}


@pytest.mark.parametrize('make', HOSTILE_HDF5, ids=lambda make: make.__name__)
def test_hdf5_that_points_elsewhere_or_lies(path, make):
    hdf5_with(make)(path)
    assert_refused(path, HOSTILE_HDF5[make])


def test_hdf5_chunk_that_unpacks_to_more_than_itself(path):
    hdf5_with(_unpacks_to_much)(path)
    try:
        arrays = read_weight_file(path).arrays
    except InputError:
        return
    assert arrays['w/kernel'].shape == (12,)


@pytest.mark.parametrize(('reason', 'words'), [('crashed', 'crash'), ('timed_out', 'too long')])
def test_hdf5_that_its_library_does_not_survive(path, monkeypatch, reason, words):
    write_keras_by_name(path, some_layers(1))
    monkeypatch.setattr(pneumo_jax.hdf5, 'map_isolated', lambda *_, **__: iter([Lost(reason)]))
    assert_refused(path, words, 'get it anew')


def test_hdf5_lists_that_do_not_fit(path):
    layers = some_layers(1)
    write_keras_by_name(path, layers)
    with h5py.File(path, 'a') as file:
        del file['Conv1/Conv1/kernel:0']
    assert_refused(path, "'Conv1/Conv1/kernel:0' is listed, and not there")
    with h5py.File(path, 'a') as file:
        del file['Conv1']
    assert_refused(path, "layer 'Conv1' is listed, and not there")
    write_keras_by_name(path, layers)
    with h5py.File(path, 'a') as file:
        file['more/kernel:0'] = NUMBERS
    assert_refused(path, "1 arrays, 'more/kernel:0' the first, belong to no layer")


def test_theano_kernels_are_flipped(path):
    write_keras_by_name(path, some_layers(1))
    with h5py.File(path, 'a') as file:
        file.attrs['backend'] = b'theano'
    assert_refused(path, 'Theano', 'flipped')


@pytest.mark.parametrize(
    ('lost', 'words'),
    [
        ('layers/depthwise_conv2d_1', "class 'depthwise_conv2d'"),
        ('layers/depthwise_conv2d_1/vars/0', "'depthwise_conv2d_1' has no variables"),
        ('layers/batch_normalization/vars/3', '3 variables'),
        ('layers/batch_normalization/vars/2', "'batch_normalization' lacks a variable"),
    ],
)
def test_keras3_layers_that_are_missing(path, lost, words):
    write_keras3(path, some_layers(3))
    with h5py.File(path, 'a') as file:
        del file[lost]
    assert_refused(path, words)


def test_keras_zip_whose_config_does_not_fit(path, tmp_path):
    weights = tmp_path / 'weights.h5'
    write_keras3(weights, some_layers(2))
    write_keras_zip(path, keras_config(some_layers(1)), weights)
    assert_refused(path, 'belong to no layer of config.json')
    write_keras_zip(path, [], weights)
    assert_refused(path, 'config.json in it is not as Keras writes it')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('config.json', '[' * 100_000)
        archive.write(weights, 'model.weights.h5')
    assert_refused(path, 'config.json in it is not as Keras writes it')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('config.json', json.dumps(keras_config([])))
        archive.writestr('model.weights.h5', 'x' * 1000)
    assert_refused(path, 'HDF5 file is cut or damaged')


def _npz(path):
    with path.open('wb') as file:
        np.savez(file, w=NUMBERS)


def _zip(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'x')


FOREIGN = {
    b'': 'empty',
    bytes(600): 'zeros',
    b'\x1c\0\0\0TFL3\x14\0': 'TFLite',
    b'\x08\x07\x12\x07pytorch\x1a': 'ONNX',
    b'\x93NUMPY\x01\0': 'NumPy array',
    b'<!DOCTYPE html><html>': 'web page',
    b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n': 'git lfs pull',
    b'\x1f\x8b\x08\0': 'gzip',
    b'{"modelTopology": 1}': 'JSON',
    b'x' * 257 + b'ustar\0': 'tar archive',
    b'GGUF\x03': 'GGUF',
    b'\xff\xd8\xff\xe0 a photograph': 'unknown kind',
    b'PK\x05\x06' + bytes(18): 'empty zip',
    b'PK\x03\x04' + bytes(100): 'cut or damaged',
    b'\x89HDF\r\n\x1a\n' + bytes(100): 'cut or damaged',
    b'\x80\x02}.': 'plain pickle',
    struct.pack('<Q', 1 << 40) + b'{"a"': 'cut or damaged',
    struct.pack('<Q', 2) + b'{}': 'no weights',
    _npz: '.npz',
    _zip: 'zip archive without weights',
}


@pytest.mark.parametrize('content', FOREIGN, ids=lambda content: FOREIGN[content])
def test_what_is_no_weight_file_is_called_by_its_name(path, content):
    content(path) if callable(content) else path.write_bytes(content)
    assert_refused(path, FOREIGN[content])


def test_safetensors_of_an_unusual_type(path):
    header = json.dumps({'w': {'dtype': 'F8_E4M3', 'shape': [4], 'data_offsets': [0, 4]}}).encode()
    path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(4))
    assert_refused(path, "'w' is of type F8_E4M3", 'float32')


def test_no_file_and_a_folder(path, tmp_path):
    assert_refused(path, 'No such file')
    assert_refused(tmp_path, 'directory')


def _safetensors(path):
    save_file(torch_state_dict(), path)


def _keras_zip(path):
    weights = path.with_name('weights.h5')
    weights.unlink(missing_ok=True)
    write_keras3(weights, some_layers(1))
    write_keras_zip(path, keras_config(some_layers(1)), weights)


IN_PROCESS = {
    'torch': lambda path: write_torch_zip(path, torch_tensors(torch_state_dict())),
    'legacy': lambda path: write_torch_legacy(path, torch_tensors(torch_state_dict())),
    'legacy_4': lambda path: write_torch_legacy(
        path, torch_tensors(torch_state_dict()), protocol=4
    ),
    'safetensors': _safetensors,
}
HDF5 = {
    'keras': lambda path: write_keras_by_name(path, some_layers(2)),
    'keras_packed': lambda path: write_keras_by_name(
        path, some_layers(2), compression='gzip', fletcher32=True
    ),
    'keras3': lambda path: write_keras3(path, some_layers(2)),
}


def damaged(data, count, rng):
    """Copies that are cut, or with a bit flipped, mostly where there is something."""
    filled = np.flatnonzero(np.frombuffer(data, np.uint8))
    for i in range(count):
        if i % 3 == 0:
            yield data[: rng.integers(len(data))]
        elif i % 3 == 1:
            yield flip_bit(data, int(rng.integers(8 * len(data))))
        else:
            yield flip_bit(data, 8 * int(rng.choice(filled)) + int(rng.integers(8)))


def shapes(arrays):
    return sorted(array.shape for array in arrays.values())


@pytest.mark.parametrize('container', IN_PROCESS)
def test_damage_gives_an_error_or_arrays_of_the_same_shapes(path, container):
    IN_PROCESS[container](path)
    expected = shapes(read_weight_file(path).arrays)
    refused = 0
    for data in damaged(path.read_bytes(), 3 * NUM_DAMAGED, np.random.default_rng(0)):
        path.write_bytes(data)
        try:
            arrays = read_weight_file(path).arrays
        except InputError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert shapes(arrays) == expected
    assert refused > NUM_DAMAGED


@pytest.mark.parametrize('container', HDF5)
def test_damage_to_hdf5(path, tmp_path, monkeypatch, container):
    """As above, with workers that read many files, for speed; some files do crash the library."""
    HDF5[container](path)
    expected = shapes(read_weight_file(path).arrays)
    paths = []
    for i, data in enumerate(damaged(path.read_bytes(), NUM_DAMAGED, np.random.default_rng(0))):
        paths.append(tmp_path / f'{i}.h5')
        paths[-1].write_bytes(data)
    with WorkerPool(2, item_timeout=20) as pool:
        tasks = [(path, SKIPPED) for path in paths]
        results = list(map_isolated(read_task, tasks, pool=pool, chunk_size=10))
    assert not any(isinstance(result, Lost) and result.reason == 'timed_out' for result in results)
    files = [result for result in results if not isinstance(result, (str, Lost))]
    assert NUM_DAMAGED // 10 < len(files) < NUM_DAMAGED * 2 // 3
    for file in files:
        monkeypatch.setattr(hdf5_file, 'read_hdf5', lambda *_, file=file: file)
        try:
            _, arrays = hdf5_file.read_hdf5_weights(path)
        except InputError:
            continue
        assert shapes(arrays) == expected


def test_damage_to_a_keras_zip_is_seen_by_its_checksums(path):
    _keras_zip(path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [archive.getinfo(name) for name in ('config.json', 'model.weights.h5')]
    for member in members:
        start = member.header_offset + 100
        place = int(rng.integers(start, start + member.file_size - 200))
        path.write_bytes(flip_bit(data, 8 * place))
        assert_refused(path, 'Bad CRC-32')
