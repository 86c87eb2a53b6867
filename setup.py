"""Packaging of pneumo_jax; exact versions are in constraints/."""

import pathlib
import re

from setuptools import find_packages, setup

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
    r"__version__ = '([^']+)'", (_ROOT / 'pneumo_jax' / '__init__.py').read_text(encoding='utf-8')
).group(1)

# Decoders of the rarer transfer syntaxes, all with permissive licences.
_CODECS = [
    'pyjpegls>=1.5',
    'pylibjpeg>=2.0.1',
    'pylibjpeg-openjpeg>=2.3',
    'pylibjpeg-rle>=2.0',
    'python-gdcm>=3.0.24',
]

setup(
    name='pneumo_jax',
    version=_VERSION,
    description='Pneumonia detection on chest X-rays in JAX, from DICOM to honest figures.',
    long_description=(_ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    packages=find_packages(
        include=['pneumo_jax', 'pneumo_jax.*', 'data_prep', 'data_prep.*', 'configs']
    ),
    package_data={'pneumo_jax.viewer': ['static/*']},
    python_requires='>=3.11',
    install_requires=[
        'absl-py>=2.1',
        'flask>=3.1',
        'flax>=0.12.4',
        'google-crc32c>=1.6',
        'h5py>=3.12',
        'jax>=0.10',
        'matplotlib>=3.9',
        'ml-collections>=1.0',
        'numpy>=2.0',
        'optax>=0.2.6',
        'orbax-checkpoint>=0.11.30',
        'pillow>=11.0',
        'protobuf>=5.0',
        'pydicom>=3.0.1',
        'safetensors>=0.5',
        'scipy>=1.14',
        'simplejpeg>=1.8',
        'tensorboardX>=2.6.2',
        'tensorflow-datasets>=4.9.9',
        'tqdm>=4.66',
    ],
    extras_require={
        # The accelerator builds of jax; the plain install runs on the CPU.
        'cuda': ['jax[cuda13]>=0.10'],
        'tpu': ['jax[tpu]>=0.10'],
        'codecs': _CODECS,
        # Conversion on many machines; in an environment of its own, for its pins are narrow.
        'beam': ['apache-beam>=2.65'],
        'test': [
            *_CODECS,
            'pycocotools>=2.0.8',
            'pytest>=8.0',
            'pytest-xdist>=3.6',
            'ruff>=0.12',
            'scikit-learn>=1.5',
            'selenium>=4.30',
        ],
    },
)
