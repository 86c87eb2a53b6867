"""Where a film's pixels stand in the model's picture, and back.

A film of any shape is padded to a square, centred, and scaled to ``image_size``; square films
(all of RSNA's) are scaled only. A box is (x, y, width, height), x to the right and y downward
from the upper left corner, in pixels of the film or of the picture. The functions are plain
arithmetic: they take NumPy and JAX arrays alike, inside ``jit`` or outside.
"""

__all__ = ['film_to_image', 'image_to_film', 'padding']


def padding(film_size):
    """Background rows above and columns left of the film in its square.

    Args:
        film_size: integer array [..., 2], (height, width) in film pixels.

    Returns:
        Integer array [..., 2], (top, left) in film pixels.
    """
    return (film_size.max(axis=-1, keepdims=True) - film_size) // 2


def film_to_image(boxes, film_size, image_size):
    """Boxes in film pixels to boxes in picture pixels.

    Args:
        boxes: float array [..., N, 4] in film pixels.
        film_size: integer array [..., 2], (height, width) in film pixels.
        image_size: side of the square picture in pixels.

    Returns:
        Float array [..., N, 4] in picture pixels.
    """
    offset, scale = _offset_and_scale(film_size, image_size)
    return (boxes + offset) * scale


def image_to_film(boxes, film_size, image_size):
    """The inverse of ``film_to_image``."""
    offset, scale = _offset_and_scale(film_size, image_size)
    return boxes / scale - offset


def _offset_and_scale(film_size, image_size):
    """Per film: (left, top, 0, 0) as [..., 1, 4], and picture pixels per film pixel [..., 1, 1]."""
    xp = film_size.__array_namespace__()
    pad = padding(film_size)
    offset = xp.concat([pad[..., ::-1], xp.zeros_like(pad)], axis=-1)[..., None, :]
    side = film_size.max(axis=-1)[..., None, None]
    return offset, image_size / side
