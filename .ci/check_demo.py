"""Fails if the demonstration run did not learn what it should: ``check_demo.py results.json``."""

import json
import pathlib
import sys

AT_LEAST = {('film', 'auroc'): 0.90, ('boxes', 'challenge_map'): 0.20}

results = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding='utf-8'))
for (group, name), bound in AT_LEAST.items():
    value = results[group][name]['value']
    if value < bound:
        sys.exit(f'{group} {name} is {value:.4f} in {sys.argv[1]}, less than {bound}')
    sys.stdout.write(f'{group} {name} {value:.4f}, at least {bound}\n')
