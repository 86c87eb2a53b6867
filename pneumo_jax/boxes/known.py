"""Which films' boxes are known."""

from __future__ import annotations

__all__ = ['boxes_known']


def boxes_known(labels, num_boxes):
    """Which films' boxes are known. Takes NumPy arrays, JAX arrays and plain numbers alike.

    A film with a lung opacity and no box is of a collection in which nobody drew any, or not on
    this film: where the opacity lies is not known. A film without an opacity has no box, and that
    is known too. In RSNA's tables every film with an opacity has a box.

    Args:
        labels: int [B], 1 for a lung opacity, else 0.
        num_boxes: int [B].

    Returns:
        Bool [B].
    """
    return (labels == 0) | (num_boxes > 0)
