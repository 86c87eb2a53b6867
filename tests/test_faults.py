"""Every numbered fault of films, tables, conversions and training has a test of its number."""

import re

from tests.conftest import ROOT


def test_faults_1_to_56_have_tests_of_their_numbers():
    numbers = set()
    for path in (ROOT / 'tests').glob('test_*.py'):
        for name in re.findall(r'^def (test_fault_\w+)', path.read_text(), flags=re.MULTILINE):
            numbers.update(map(int, re.findall(r'(?:fault|and)_(\d\d)_', name)))
    assert set(range(1, 57)) <= numbers
