"""Prints the table of networks: python -m pneumo_jax.models."""

from __future__ import annotations

from pneumo_jax import command
from pneumo_jax.models.table import size_lines


def main(argv: list[str]) -> None:
    """Prints line by line: counting takes some seconds."""
    command.refuse_arguments(argv)
    for line in size_lines():
        command.say(line)


if __name__ == '__main__':
    command.run(main)
