"""Torch files and other pickles: nothing in them is run, and tensors do not reach out of them."""

import argparse
import functools
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from pneumo_jax.errors import InputError
from pneumo_jax.pretrained.weight_file import read_weight_file
from tests.weight_files import (
    TORCH_MAGIC,
    TorchTensor,
    assert_refused,
    torch_state_dict,
    torch_tensors,
    write_torch_legacy,
    write_torch_zip,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.bin'


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


def containers_of_pickles(path, content):
    """Writes it as each thing that has a pickle inside; yields after each."""
    for protocol in range(6):
        path.write_bytes(pickle.dumps(content, protocol))
        yield f'plain pickle of protocol {protocol}'
    for protocol in (2, 4):
        write_torch_zip(path, content, protocol=protocol)
        yield f'torch, protocol {protocol}'
        write_torch_legacy(path, content, protocol=protocol)
        yield f'torch legacy, protocol {protocol}'


def test_fault_58_pickled_weight_file_is_refused_and_not_run(path, tmp_path):
    mark = tmp_path / 'mark'
    arrays = {'w': np.ones(3, 'f4')}
    for content in (Runs(mark), {'state_dict': arrays, 'more': Runs(mark)}, [Runs(mark)]):
        for container in containers_of_pickles(path, content):
            with pytest.raises(InputError) as caught:
                read_weight_file(path)
            assert str(path) in str(caught.value), container
            assert 'can run code' in str(caught.value), container
            assert not mark.exists(), container
    pickle.loads(pickle.dumps(Runs(mark)))
    assert mark.exists()


def test_fault_58_the_refusal_names_what_the_pickle_asks_for(path, tmp_path):
    write_torch_zip(path, {'w': TorchTensor.of(np.ones(3, 'f4')), 'x': Runs(tmp_path)})
    assert_refused(path, "names 'posix.system'", 'tensors only', 'model.state_dict()')


@pytest.mark.parametrize(
    'content',
    [
        functools.partial(print, 'x'),
        np.float64(3),
        {'args': argparse.Namespace(inner=functools.partial(print))},
        argparse.ArgumentParser,
        bytearray(b'x'),
        ValueError('x'),
        range(3),
        complex(1, 2),
        pytest.Item,
    ],
    ids=lambda content: type(content).__name__,
)
def test_fault_58_all_but_tensors_is_refused(path, content):
    write_torch_zip(path, {'w': TorchTensor.of(np.ones(3, 'f4')), 'x': content})
    assert_refused(path, 'tensors only')


@pytest.mark.parametrize(
    ('pickled', 'words'),
    [
        (b'\x80\x02(cposix\nsystem\no.', "'posix.system'"),
        (b'\x80\x02(X\x01\x00\x00\x00xiposix\nsystem\n.', 'opcode INST'),
        (b'\x80\x04\x8c\x05posix\x8c\x06system\x93.', "'posix.system'"),
        (b'\x80\x02ctorch.storage\n_load_from_bytes\n.', "'torch.storage._load_from_bytes'"),
        (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.', '__globals__'),
        (b'\x80\x02cbuiltins\ngetattr\n.', "'builtins.getattr'"),
        (b'\x80\x02cbuiltins\neval\n.', "'builtins.eval'"),
        (b'\x80\x02\x82\x01.', 'opcode EXT1'),
        (b'\x80\x02Nbuiltins)R.', 'damaged'),
        (b'\x80\x02})R.', 'calls a dict'),
        (b'\x80\x02ctorch\nfloat32\n)R.', 'calls a torch.float32'),
        (b'\x80\x02K\x01}b.', 'gives a state to a int'),
        (b'\x80\x02(X\x06\x00\x00\x00moduletQ.', 'no storage'),
        (b'\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(h', 'damaged'),
        (b'\x80\x02', 'damaged'),
        (b'\x80\x02.', 'damaged'),
        (b'\x80\x020.', 'damaged'),
        (b'\x80\x02h\x07.', 'damaged'),
        (b'\x80\x02]]\x00.', 'damaged'),
        # Sizes that are not there.
        (b'\x80\x04\x8e' + struct.pack('<Q', 1 << 40) + b'x.', 'damaged'),
        (b'\x80\x02\x8b' + struct.pack('<i', 1 << 30) + b'x.', 'damaged'),
        (b'\x80\x02}r' + struct.pack('<I', 0xFFFFFFFF) + b'.', 'no state dict'),
    ],
)
@pytest.mark.parametrize('legacy', [False, True])
def test_fault_58_pickles_by_hand(path, pickled, words, legacy):
    if legacy:
        start = b''.join(pickle.dumps(value, 2) for value in (TORCH_MAGIC, 1001, {}))
        path.write_bytes(start + pickled + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', pickled)
    assert_refused(path, words)


def test_checkpoint_may_hold_a_namespace_which_stays_without_effect(path):
    tensors = torch_tensors(torch_state_dict())
    write_torch_zip(path, {'state_dict': tensors, 'args': argparse.Namespace(a=[1], b={2: 3})})
    assert len(read_weight_file(path).arrays) == len(tensors)


@pytest.mark.parametrize('container', ['zip', 'legacy'])
def test_pickles_within_pickles_neither_recurse_nor_hash(path, container):
    depth = 500_000
    deep = b'\x80\x02}' + b'N' + b'\x85' * depth + b'K\x01s.'
    if container == 'legacy':
        start = b''.join(pickle.dumps(value, 2) for value in (TORCH_MAGIC, 1001, {}))
        path.write_bytes(start + deep + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', deep)
    assert_refused(path, 'no state dict')


def test_pickle_of_millions_of_opcodes(path):
    path.write_bytes(b'\x80\x02' + b'N0' * 1_100_000 + b'.')
    assert_refused(path, 'more than 2000000 opcodes')


def test_torchscript(path):
    write_torch_zip(path, {}, more=[('constants.pkl', b'\x80\x02)R.'), ('code/x.py', b'')])
    assert_refused(path, 'TorchScript', 'torch.jit.load')


NUMBERS = np.arange(12, dtype=np.float32)


@pytest.mark.parametrize(
    ('tensor', 'words'),
    [
        (TorchTensor(NUMBERS, (13,), (1,)), 'reaches out of its 12 numbers'),
        (TorchTensor(NUMBERS, (3, 4), (5, 1)), 'reaches out of its 12 numbers'),
        (TorchTensor(NUMBERS, (12,), (1,), offset=1), 'reaches out of its 12 numbers'),
        (TorchTensor(NUMBERS, (2,), (2**61,)), 'reaches out of its 12 numbers'),
        (TorchTensor(NUMBERS, (1,), (1,), offset=2**61), 'reaches out of its 12 numbers'),
        (TorchTensor(NUMBERS, (12,), (-1,), offset=11), 'damaged'),
        (TorchTensor(NUMBERS, (12,), (1,), offset=-1), 'damaged'),
        (TorchTensor(NUMBERS, (-12,), (1,)), 'damaged'),
        (TorchTensor(NUMBERS, (12,), (1, 1)), 'damaged'),
        (TorchTensor(NUMBERS, (2.5,), (1,)), 'damaged'),
        (TorchTensor(NUMBERS, (1,) * 9, (1,) * 9), 'damaged'),
        (TorchTensor(NUMBERS, (10**4000,), (0,)), 'damaged'),
        (TorchTensor(NUMBERS, (2**40,), (0,)), 'more than'),
        (TorchTensor(NUMBERS, (2**60,) * 8, (0,) * 8), 'more than'),
        (TorchTensor(NUMBERS, (0, 2**60), (1, 1)), 'is empty'),
    ],
)
@pytest.mark.parametrize('writer', [write_torch_zip, write_torch_legacy])
def test_tensors_that_lie(path, tensor, words, writer):
    writer(path, {'fine': TorchTensor.of(NUMBERS), 'w': tensor})
    # Without checksums, a tensor has to be the whole of its storage.
    assert_refused(path, *([words] if writer is write_torch_zip or words == 'damaged' else []))


def test_legacy_tensor_that_is_a_part(path):
    write_torch_legacy(path, {'w': TorchTensor(NUMBERS, (6,), (1,))})
    assert_refused(path, "'w' of shape (6,) is not the whole of its 12 numbers", '.clone()')
    # As many as there are, and some of them twice.
    write_torch_legacy(path, {'w': TorchTensor(NUMBERS, (3, 4), (3, 1))})
    assert_refused(path, "'w' of shape (3, 4) is not the whole of its 12 numbers")


def test_legacy_file_with_more_than_its_storages(path):
    write_torch_legacy(path, {'w': TorchTensor.of(NUMBERS)})
    path.write_bytes(path.read_bytes() + bytes(8))
    assert_refused(path, 'its storages are not those of its tensors')


def test_storages_that_are_not_as_the_pickle_says(path, tmp_path):
    write_torch_zip(path, {'w': TorchTensor.of(NUMBERS)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for data in (b'', bytes(47), bytes(49)):
        with zipfile.ZipFile(path, 'w') as archive:
            for name, member in members.items():
                archive.writestr(name, data if name.endswith('data/0') else member)
        assert_refused(path, f"'w' has {len(data)} bytes instead of 48")
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', members['archive/data.pkl'])
    assert_refused(path, "lacks 'archive/data/0'")


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ([TorchTensor.of(NUMBERS)], 'but a list'),
        (TorchTensor.of(NUMBERS), 'but a Tensor'),
        ({'epoch': 3}, 'no state dict'),
        ({}, 'no state dict'),
        ({'a': {'w': TorchTensor.of(NUMBERS)}, 'b': {'w': TorchTensor.of(NUMBERS)}}, "'a', 'b'"),
        ({'a': {'w': TorchTensor.of(NUMBERS)}, 'b': TorchTensor.of(NUMBERS)}, "'b', 'a'"),
        ({'w': TorchTensor.of(NUMBERS), 'module.w': TorchTensor.of(NUMBERS)}, "are 'w' without"),
        ({'num_batches_tracked': TorchTensor.of(NUMBERS)}, 'holds no weights'),
    ],
)
def test_checkpoints_without_one_state_dict(path, content, words):
    write_torch_zip(path, content)
    assert_refused(path, words)
