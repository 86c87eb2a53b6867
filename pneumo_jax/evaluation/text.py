"""Figures as text, the same on the terminal, in the report of several runs and on the page."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ['figure_text', 'figure_title', 'interval_text', 'part_of', 'percent_text', 'value_text']

# Of figures whose name alone would not read well.
_TITLES = {
    'auroc': 'AUROC',
    'auprc': 'AUPRC',
    'ppv': 'PPV',
    'npv': 'NPV',
    'f1': 'F1',
    'brier': 'Brier score',
    'ece': 'calibration error (ECE)',
    'challenge_map': 'challenge mAP',
    'coco_ap': 'COCO AP, IoU 0.50 to 0.95',
    'coco_ap_50': 'COCO AP, IoU 0.50',
    'froc_sensitivity_at_0.25': 'sensitivity at 0.25 false boxes a film',
    'froc_sensitivity_at_0.5': 'sensitivity at 0.5 false boxes a film',
    'froc_sensitivity_at_1': 'sensitivity at 1 false box a film',
    'mean_iou': 'mean IoU',
    'films_with_boxes': 'share of films with a box',
    'boxes_per_film': 'boxes a film',
    'dice': 'Dice',
    'view_alone_auroc': 'view alone',
    'all_negative_accuracy': 'all films negative',
    'all_background_pixel_accuracy': 'all background',
    'no_box_challenge_map': 'no box at all',
    'within_view_auroc': 'AUROC among films of one view',
    'auroc_explained_by_view': "share of AUROC's gain over chance that the view explains",
    'score_variance_explained_by_view': "share of the score's variance that the view explains",
}


def figure_text(figure: Mapping | None, digits: int = 3) -> str:
    """A figure with its interval: ``0.853 (0.81 to 0.89)``.

    Args:
        figure: ``value``, perhaps ``low`` and ``high``, each a number or None; ``undefined`` is
            the reason where ``value`` is None. None is a figure that was never computed.
        digits: decimals of the value; a count (an int) has none. The interval has one less where
            it is wide enough for that.

    Returns:
        ``undefined (reason)`` where there is no value.
    """
    figure = figure or {}
    beside = interval_text(figure, digits)
    if figure.get('value') is None:
        beside = figure.get('undefined')
    return value_text(figure, digits) + (f' ({beside})' if beside else '')


def value_text(figure: Mapping | None, digits: int = 3) -> str:
    """The value alone, ``0.853``, or ``undefined``."""
    value = (figure or {}).get('value')
    return 'undefined' if value is None else _number(value, digits)


def interval_text(figure: Mapping | None, digits: int = 3) -> str:
    """The interval alone, ``0.81 to 0.89``; '' where there is none."""
    low, high = ((figure or {}).get(name) for name in ('low', 'high'))
    if low is None or high is None:
        return ''
    # Both ends of a narrow interval would read the same.
    narrow = high - low < 5 * 10 ** (1 - digits)
    places = digits if narrow else digits - 1
    return f'{_number(low, places)} to {_number(high, places)}'


def figure_title(name: str) -> str:
    """The name of a figure for readers: ``challenge_map`` is ``challenge mAP``."""
    return _TITLES.get(name, name.replace('_', ' '))


def part_of(results: Mapping, name: str) -> Mapping:
    """A part of results.json; nothing where it is missing or null."""
    return results.get(name) or {}


def percent_text(share: float) -> str:
    """A share in whole percent: ``12 %``."""
    return f'{100 * share:.0f} %'


def _number(value, digits):
    if isinstance(value, int):
        return f'{value:,}'
    # A small negative number would be written -0.00.
    return f'{round(float(value), digits) + 0.0:.{digits}f}'
