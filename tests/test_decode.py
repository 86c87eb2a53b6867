"""Masks to boxes: the inverse of the target, and no nonsense on blurred masks."""

import numpy as np
import pytest
from scipy import ndimage

from pneumo_jax.boxes.decode import mask_to_boxes
from pneumo_jax.boxes.match import iou_matrix
from pneumo_jax.boxes.targets import box_mask
from pneumo_jax.data.geometry import film_to_image, image_to_film

_CELLS = 32


def _render(boxes, film_size=(1024, 1024)):
    """The target [32,32] of film boxes at image size 256."""
    boxes = np.asarray(boxes, np.float64)[None]
    picture = film_to_image(boxes, np.array([film_size]), 256).astype(np.float32)
    mask = box_mask(picture, np.array([boxes.shape[1]]), image_size=256, mask_size=_CELLS)
    return np.asarray(mask)[0, :, :, 0]


def _decode(probs, film_size=(1024, 1024), *, threshold=0.5, min_area=0.0, **kwargs):
    boxes, scores = mask_to_boxes(
        probs,
        film_size=film_size,
        image_size=256,
        threshold=threshold,
        min_area=min_area,
        **kwargs,
    )
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.shape == (len(scores), 4)
    return boxes, scores


def _random_film_boxes(rng, film_size, count):
    """Boxes inside the film, two cells or more a side."""
    smallest = 2 * max(film_size) / _CELLS
    far = np.array(film_size[::-1], float)
    size = rng.uniform(smallest, 0.6 * far, (count, 2))
    return np.concatenate([rng.uniform(0, far - size), size], axis=1)


def _components(probs, threshold):
    labels, count = ndimage.label(probs > threshold)
    return [labels == k for k in range(1, count + 1)]


def _cell_border_box(component, grow=0):
    """The seed's box: along the borders of cells; in film pixels of a 1024-pixel film."""
    rows, columns = (np.flatnonzero(component.any(axis=a)) for a in (1, 0))
    low = np.maximum([columns[0] - grow, rows[0] - grow], 0)
    high = np.minimum([columns[-1] + 1 + grow, rows[-1] + 1 + grow], _CELLS)
    return np.concatenate([low, high - low]) * 1024 / _CELLS


@pytest.mark.parametrize('film_size', [(1024, 1024), (2500, 2048), (1800, 3056)])
@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.7])
def test_a_rendered_box_comes_back(film_size, threshold):
    rng = np.random.default_rng(0)
    for box in _random_film_boxes(rng, film_size, 100):
        boxes, scores = _decode(_render([box], film_size), film_size, threshold=threshold)
        assert len(boxes) == 1
        assert iou_matrix(boxes, box[None])[0, 0] > 0.999
        assert threshold < scores[0] <= 1


def test_boxes_at_the_border_and_over_the_whole_film_come_back():
    for film_size in [(1024, 1024), (900, 1400)]:
        height, width = film_size
        for box in [(0, 0, width, height), (0, 0, 200, 250), (width - 211, height - 187, 211, 187)]:
            boxes, _ = _decode(_render([box], film_size), film_size)
            np.testing.assert_allclose(boxes, [box], atol=0.01)


def test_of_a_narrow_box_the_centre_and_the_long_sides_are_exact_enough():
    # Between one and two cells wide, the mask does not tell width from height of the values: the
    # box may come back too wide, up to two cells (64 film pixels).
    for x in np.linspace(400, 432, 9):
        for width in (40, 50, 60):
            boxes, _ = _decode(_render([(x, 301, width, 290)]))
            assert width - 0.01 <= boxes[0, 2] <= 64.01
            assert boxes[0, 0] + boxes[0, 2] / 2 == pytest.approx(x + width / 2, abs=2)
            np.testing.assert_allclose(boxes[0, [1, 3]], [301, 290], atol=0.01)


def test_boxes_apart_come_back_by_descending_confidence():
    truth = np.array(
        [(70.0, 130.0, 190.0, 333.0), (610.0, 95.0, 250.0, 410.0), (600, 700, 300, 200)]
    )
    probs = sum(w * _render([b]) for w, b in zip([0.7, 0.95, 0.8], truth, strict=True))
    boxes, scores = _decode(probs)
    assert (np.diff(scores) < 0).all()
    assert (np.diag(iou_matrix(boxes, truth[[1, 2, 0]])) > 0.8).all()
    assert len(_decode(probs, max_boxes=2)[0]) == 2
    np.testing.assert_array_equal(_decode(probs, max_boxes=2)[0], boxes[:2])


def test_confidence_is_the_mean_over_the_component():
    probs = np.zeros((_CELLS, _CELLS))
    probs[4:8, 5:9] = 0.6
    probs[5, 6] = 0.9
    probs[8, 5:9] = 0.4
    assert _decode(probs)[1] == pytest.approx([(15 * 0.6 + 0.9) / 16])


def test_corners_do_not_connect():
    probs = np.zeros((_CELLS, _CELLS))
    probs[2:6, 2:6] = probs[6:10, 6:10] = 0.9
    assert len(_decode(probs)[0]) == 2


def test_another_component_does_not_pull_the_edges():
    upper, lower = (300.0, 110.0, 200.0, 300.0), (150.0, 560.0, 600.0, 300.0)
    boxes, _ = _decode(_render([upper, lower]))
    boxes = boxes[np.argsort(boxes[:, 1])]
    np.testing.assert_allclose(boxes, [upper, lower], atol=0.01)


def test_the_smallest_share_of_the_picture_is_kept_and_a_smaller_one_not():
    probs = np.zeros((_CELLS, _CELLS))
    probs[3:5, 3:6] = 0.9
    share = 6 / _CELLS**2
    assert len(_decode(probs, min_area=share)[0]) == 1
    assert len(_decode(probs, min_area=1.01 * share)[0]) == 0


@pytest.mark.parametrize('value', [0.0, 0.5])
def test_a_mask_without_a_cell_above_the_threshold_has_no_box(value):
    boxes, scores = _decode(np.full((_CELLS, _CELLS), value))
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_boxes_end_at_the_film_and_not_in_its_padding():
    film_size = (500, 1000)  # rows 8 to 23 of the mask
    probs = np.zeros((_CELLS, _CELLS))
    probs[2:6, 3:9] = 0.9  # in the padding above
    probs[20:28, 10:20] = 1.0  # half in the padding below
    boxes, _ = _decode(probs, film_size)
    np.testing.assert_allclose(boxes, [[312.5, 375, 312.5, 125]], atol=0.01)


def test_a_box_never_reaches_over_its_component_grown_by_one_cell():
    rng = np.random.default_rng(3)
    for trial in range(150):
        blur = ndimage.gaussian_filter(rng.normal(size=(_CELLS, _CELLS)), 0.3 + trial % 5)
        probs = 1 / (1 + np.exp(-3 * blur / blur.std() - rng.uniform(-2, 2)))
        threshold = rng.uniform(0.2, 0.8)
        boxes, _ = _decode(probs, threshold=threshold, max_boxes=10**6)
        components = _components(probs, threshold)
        assert len(boxes) == len(components)
        assert (boxes[:, 2:] > 0).all()
        grown = np.array([_cell_border_box(c, grow=1) for c in components]).reshape(-1, 4)
        low, high = grown[:, :2], grown[:, :2] + grown[:, 2:]
        inside = (boxes[:, None, :2] >= low - 0.01) & (
            boxes[:, None, :2] + boxes[:, None, 2:] <= high + 0.01
        )
        assert inside.all(axis=-1).any(axis=1).all()


@pytest.mark.parametrize(
    ('blur', 'height'), [(0.0, 1.0), (0.0, 0.6), (0.7, 1.0), (0.7, 0.6), (1.5, 1.0), (1.5, 0.8)]
)
def test_soft_edges_are_nearer_to_the_truth_than_cell_borders(blur, height):
    rng = np.random.default_rng(4)
    truth = rng.uniform((60, 60, 130, 130), (400, 400, 450, 450), (150, 4))
    soft, hard = [], []
    for box in truth:
        probs = height * ndimage.gaussian_filter(_render([box]).astype(float), blur)
        (component,) = _components(probs, 0.5)
        soft.append(iou_matrix(_decode(probs)[0], box[None])[0, 0])
        hard.append(iou_matrix(_cell_border_box(component)[None], box[None])[0, 0])
    assert np.mean(soft) > np.mean(hard) + 0.01


def test_the_box_moves_with_the_picture():
    probs = ndimage.gaussian_filter(_render([(330, 260, 210, 380)]).astype(float), 1.0)
    (x, y, w, h), score = _decode(probs)[0][0], _decode(probs)[1]
    mirrored, mirrored_score = _decode(probs[:, ::-1])
    np.testing.assert_allclose(mirrored, [[1024 - x - w, y, w, h]], atol=0.01)
    np.testing.assert_allclose(_decode(probs.T)[0], [[y, x, h, w]], atol=0.01)
    assert mirrored_score == pytest.approx(score)


def test_film_boxes_are_the_picture_boxes_scaled():
    probs = _render([(330, 260, 210, 380)])
    square = _decode(probs)[0]
    film_size = (2000, 1400)
    picture = film_to_image(square, np.array([1024, 1024]), 256)
    expected = image_to_film(picture, np.array(film_size), 256)
    np.testing.assert_allclose(_decode(probs, film_size)[0], expected, atol=0.01)


@pytest.mark.parametrize(
    ('probs', 'message'),
    [
        (np.zeros((4, 5)), r'shape \(4, 5\)'),
        (np.zeros((4, 4, 1)), r'shape \(4, 4, 1\)'),
        (np.full((4, 4), np.nan), 'nan'),
        (np.full((4, 4), 2.5), r'outside \[0, 1\].*2\.5'),
    ],
)
def test_what_is_no_mask_is_refused(probs, message):
    with pytest.raises(ValueError, match=message):
        _decode(probs)
