"""Names the kind of a file that holds no weights we read, for the sake of the message."""

from __future__ import annotations

import zipfile

__all__ = ['describe_archive', 'describe_file']

_GET_ANEW = 'get the file itself anew'
_UNPACK = 'unpack it first'
_CONVERT = 'save the weights as .h5, .keras, .pth or safetensors with what wrote it'
_PICKLE = (
    'a pickle, which can run code when it is read: save the weights alone, with '
    'torch.save(model.state_dict(), FILE), or better as safetensors'
)
# (place, bytes there, what it is and what to do).
_KINDS = (
    (0, b'\x93NUMPY', f'a NumPy array: {_CONVERT}'),
    (4, b'TFL3', f'a TFLite model: {_CONVERT}'),
    (0, b'GGUF', f'a GGUF model: {_CONVERT}'),
    (0, b'PK\x05\x06', f'an empty zip archive: {_GET_ANEW}'),
    (0, b'\x1f\x8b', f'compressed by gzip: {_UNPACK}'),
    (0, b'BZh', f'compressed by bzip2: {_UNPACK}'),
    (0, b'\xfd7zXZ\x00', f'compressed by xz: {_UNPACK}'),
    (0, b'\x28\xb5\x2f\xfd', f'compressed by zstd: {_UNPACK}'),
    (0, b'7z\xbc\xaf\x27\x1c', f'a 7z archive: {_UNPACK}'),
    (257, b'ustar', f'a tar archive: {_UNPACK}'),
    (0, b'version https://git-lfs', 'a pointer of Git LFS, not the file: fetch it by git lfs pull'),
    (0, b'<', f'text, as of a web page that came in place of a download: {_GET_ANEW}'),
    (0, b'{', f'JSON, which may describe a model and holds no weights: {_CONVERT}'),
    (0, b'(', _PICKLE),
    (0, b'c', _PICKLE),
    (0, b']', _PICKLE),
    (0, b'}', _PICKLE),
    # Field 1 of the message, ir_version, and then field 2, producer_name.
    (0, b'\x08', f'perhaps an ONNX or another protobuf file: {_CONVERT}'),
)


def describe_file(start: bytes) -> str:
    """What a file is by its first bytes, and what to do.

    Args:
        start: some hundred bytes, or all that there are.
    """
    if not start.strip(b'\0'):
        return f'empty, or zeros at the start: {_GET_ANEW}'
    for place, magic, words in _KINDS:
        if start[place : place + len(magic)] == magic:
            return words
    return f'of an unknown kind, beginning with {start[:8]!r}: {_CONVERT}'


def describe_archive(archive: zipfile.ZipFile) -> str:
    """What a zip archive is by its members, and what to do."""
    names = archive.namelist()
    if names and all(name.endswith('.npy') for name in names):
        return f'a NumPy archive (.npz): {_CONVERT}'
    if any(name.endswith('.weights.json') for name in names):
        return 'a model in several parts: save it with Keras as one file'
    return f'a zip archive without weights: {_UNPACK}'
