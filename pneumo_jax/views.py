"""A film answered in several views: as it is, mirrored, smaller, larger.

Answers of views are those of the film as it is: maps are turned and brought back to its cells.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

__all__ = ['DETECTOR_MAPS', 'answer_views']

# Sides of pictures that the models halve five times.
_MULTIPLE = 32
# Maps of cells, by their names.
_MAPS = ('mask_probs', 'heat_probs', 'box_sides')
# Of the detector: of several answers there may be several, on the second axis.
DETECTOR_MAPS = ('heat_probs', 'box_sides')


def answer_views(answer: Callable[[jax.Array], dict], images: jax.Array, config) -> dict:
    """The answers of all views of ``config``, put together.

    Args:
        answer: gives probabilities of float32 pictures [B,S,S,C]: ``film_prob`` [B], perhaps
            ``class_probs`` [B,3], ``mask_probs`` [B,m,m,1], perhaps ``heat_probs`` [B,h,h,1] and
            ``box_sides`` [B,h,h,4].
        images: float32 [B,S,S,C].
        config: section ``eval`` of a run's config; flip, scales and merge are read.

    Returns:
        The same names. All are means over the views, but that the detector's maps get a second
        axis: [B,1,h,h,...] of their mean, or where ``merge`` is ``fusion`` [B,V,h,h,...].
    """
    views = [answer(images)]
    for scale in (1.0, *config.scales):
        size = round(images.shape[1] * scale / _MULTIPLE) * _MULTIPLE
        seen = images if scale == 1 else _resized(images, size)
        if scale != 1:
            views.append(_at_cells_of(answer(seen), views[0], images.shape[1] / size))
        if config.flip:
            mirrored = _mirrored(answer(seen[:, :, ::-1]))
            views.append(_at_cells_of(mirrored, views[0], images.shape[1] / size))
    together = {}
    for name in views[0]:
        stacked = jnp.stack([view[name] for view in views], axis=1)
        whole = name in DETECTOR_MAPS and config.merge == 'fusion'
        together[name] = stacked if whole else stacked.mean(axis=1, keepdims=name in DETECTOR_MAPS)
    return together


def _mirrored(outputs):
    """The answer to a mirror image as one to the film: left and right exchanged."""
    turned = {name: x[:, :, ::-1] if name in _MAPS else x for name, x in outputs.items()}
    if 'box_sides' in turned:
        turned['box_sides'] = turned['box_sides'][..., jnp.array([2, 1, 0, 3])]
    return turned


def _at_cells_of(outputs, like, factor):
    """Maps of a picture of another size, at the cells of ``like``; lengths times ``factor``."""
    same = {
        name: _resized(x, like[name].shape[1]) if name in _MAPS else x
        for name, x in outputs.items()
    }
    if 'box_sides' in same:
        same['box_sides'] = same['box_sides'] * factor
    return same


def _resized(maps, size):
    if maps.shape[1] == size:
        return maps
    return jax.image.resize(maps, (len(maps), size, size, maps.shape[3]), 'linear')
