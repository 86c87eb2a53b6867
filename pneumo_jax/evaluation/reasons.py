"""Why a figure is undefined, in a few words for the reader."""

from __future__ import annotations

from collections.abc import Mapping

from pneumo_jax.metrics.intervals import Figure

__all__ = ['figures_json']

_ONE_CLASS = 'films of one class only'
_NO_BOX = 'no film has a known true box'
_NO_VIEW = 'needs films of both classes and of a known view'
_NO_EXTENT = 'needs positive films with known boxes'

_REASONS = {
    'auroc': _ONE_CLASS,
    'auprc': _ONE_CLASS,
    'balanced_accuracy': _ONE_CLASS,
    'sensitivity': 'no positive film',
    'specificity': 'no negative film',
    'ppv': 'no film is called positive',
    'npv': 'no film is called negative',
    'f1': 'no film is positive or called so',
    'challenge_map': _NO_BOX,
    'coco_ap': _NO_BOX,
    'coco_ap_50': _NO_BOX,
    'froc_sensitivity_at_0.25': _NO_BOX,
    'froc_sensitivity_at_0.5': _NO_BOX,
    'froc_sensitivity_at_1': _NO_BOX,
    'mean_iou': _NO_BOX,
    'dice': _NO_BOX,
    'pixel_accuracy': _NO_BOX,
    'all_background_pixel_accuracy': _NO_BOX,
    'no_box_challenge_map': _NO_BOX,
    'view_alone_auroc': _NO_VIEW,
    'within_view_auroc': 'no view has films of both classes',
    'auroc_explained_by_view': 'the AUROC is not above one half, or the view is not known',
    'score_variance_explained_by_view': 'needs films of both views, and scores that differ',
    'rank_correlation': _NO_EXTENT,
    'mean_absolute_error': _NO_EXTENT,
    'laterality_agreement': _NO_EXTENT,
    'interval_coverage': 'no interval was fitted on validation',
    'error': 'every film is abstained from',
}
_OTHER = 'not defined on these films'


def figures_json(figures: Mapping[str, Figure], reason: str = '') -> dict[str, dict]:
    """FIGUREs of results.json; those that are undefined say why.

    Args:
        figures: by name.
        reason: of all that are undefined; by default the figure's own.
    """
    content = {name: figure.to_json() for name, figure in figures.items()}
    for name, figure in content.items():
        if figure['value'] is None:
            figure['undefined'] = reason or _REASONS.get(name, _OTHER)
    return content
