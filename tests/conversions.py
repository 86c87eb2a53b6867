"""What the tests of the converter share."""

import hashlib
import json
import pathlib
import subprocess
import sys

from data_prep.options import Options
from pneumo_jax.data.example import decode_example
from pneumo_jax.data.shards import ShardedRecords, load_manifest
from tests.conftest import ROOT


def make_options(tmp_path, download, **changes) -> Options:
    """Options of a quick conversion to ``tmp_path/out``."""
    defaults = {'output_dir': str(tmp_path / 'out'), 'image_size': 16, 'num_workers': 1}
    return Options(**(download | defaults | changes))


def read_records(folder) -> dict[str, list[dict]]:
    """Split -> its records."""
    return {
        split: [decode_example(data, records.encoding) for data in records]
        for split in load_manifest(folder)['splits']
        for records in [ShardedRecords(folder, split)]
    }


def file_hashes(folder) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pathlib.Path(folder).iterdir()
    }


def read_report(tmp_path) -> dict:
    return json.loads((tmp_path / 'out' / 'report.json').read_text())


def start_converter(tmp_path, download, *arguments, shell=(), **options) -> subprocess.Popen:
    """Runs the converter as a user does, in a process group of its own; output as text."""
    return subprocess.Popen(
        [
            *shell,
            sys.executable,
            'data_prep/convert.py',
            *(f'--{name}={value}' for name, value in download.items()),
            f'--output_dir={tmp_path / "out"}',
            '--image_size=16',
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
