"""Which film is drawn when: the order of the training films in each epoch."""

from __future__ import annotations

import numpy as np

from pneumo_jax.data.pipeline import FilmSplit
from pneumo_jax.errors import InputError

__all__ = ['SAMPLING_FIELDS', 'EpochOrder', 'group_weights']

# Fields of a record that films can be balanced by.
SAMPLING_FIELDS = ('label', 'class_id', 'label_domain', 'view_position', 'sex')


class EpochOrder:
    """The order of the films in an epoch, a function of seed, epoch and films alone.

    Where films are balanced, an epoch draws as many films as there are, each of them as often as
    its weight says, rounded up or down at random (systematic sampling), so that the groups' shares
    are met in each epoch and not only in the mean over many.

    Args:
        split: the training films.
        config: a run's config; ``seed`` and ``sampling`` are read.

    Raises:
        InputError: for fields that films cannot be balanced by.
    """

    def __init__(self, split: FilmSplit, config):
        self._seed, self._num_films = config.seed, len(split)
        self._weights = None
        if fields := tuple(config.sampling.by):
            if unknown := [name for name in fields if name not in SAMPLING_FIELDS]:
                raise InputError(
                    f'config.sampling.by={fields}: films cannot be balanced by '
                    f'{", ".join(map(repr, unknown))}; choose of {", ".join(SAMPLING_FIELDS)}'
                )
            self._groups = _group_indices(split.columns(fields))
            self._weights = group_weights(self._groups, config.sampling.strength)

    def __call__(self, epoch: int) -> np.ndarray:
        """Indices of films, int [N], for the epoch counted from 0."""
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(self._num_films)
        if self._weights is None:
            return order
        # Group by group, so that the rounding of its films does not add up.
        order = order[np.argsort(self._groups[order], kind='stable')]
        ends = np.cumsum(self._weights[order] * self._num_films)
        points = rng.uniform() + np.arange(self._num_films)
        # Rounding may leave the last end a little below the last point.
        drawn = order[np.minimum(np.searchsorted(ends, points, side='right'), self._num_films - 1)]
        return rng.permutation(drawn)


def group_weights(groups: np.ndarray, strength: float) -> np.ndarray:
    """The share of the draws that each film gets.

    Args:
        groups: int [N], the group of each film, counted from 0.
        strength: 1 gives each group the same share, 0 each film.

    Returns:
        Float64 [N] of sum 1; a film of a group of n films has a weight in proportion to
        n^-strength.
    """
    weights = np.bincount(groups)[groups] ** -float(strength)
    return weights / weights.sum()


def _group_indices(values: list[tuple]) -> np.ndarray:
    numbers = {value: number for number, value in enumerate(sorted(set(values)))}
    return np.array([numbers[value] for value in values])
