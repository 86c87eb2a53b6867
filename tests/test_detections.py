"""Peaks, suppression and boxes against a literal loop over cells and candidates."""

import functools

import jax
import numpy as np
import pytest

from pneumo_jax.boxes.detections import peaks_to_boxes
from pneumo_jax.boxes.match import iou_matrix

_CELLS, _SIZE = 16, 128  # cells of 8 pixels
_STATIC = ('image_size', 'iou_threshold', 'voting_iou', 'max_boxes', 'num_candidates')
_jitted = jax.jit(peaks_to_boxes, static_argnames=_STATIC)
_decode = functools.partial(_jitted, image_size=_SIZE, iou_threshold=0.3)


def _numpy(heat, sides, **kwargs):
    return [np.asarray(part) for part in _decode(heat[..., None], sides, **kwargs)]


def _literal_peaks(heat):
    """Floods each region of equal cells; its first cell is a peak if no neighbour is higher."""
    size, seen, peaks = len(heat), set(), []
    for start in np.ndindex(heat.shape):
        if start in seen:
            continue
        region, todo, highest = set(), [start], True
        while todo:
            i, j = todo.pop()
            region.add((i, j))
            for a in range(max(i - 1, 0), min(i + 2, size)):
                for b in range(max(j - 1, 0), min(j + 2, size)):
                    highest &= heat[a, b] <= heat[i, j]
                    if heat[a, b] == heat[i, j] and (a, b) not in region:
                        todo.append((a, b))
        seen |= region
        if highest:
            peaks.append(start)
    return peaks


def _literal_boxes(heat, sides, threshold, max_boxes, num_candidates):
    candidates = []
    for i, j in _literal_peaks(heat):
        x, y = (j + 0.5) * _SIZE / len(heat), (i + 0.5) * _SIZE / len(heat)
        left, top, right, bottom = (float(side) for side in sides[i, j])
        x0, y0, x1, y1 = x - left, y - top, x + right, y + bottom
        x0, y0, x1, y1 = (min(max(v, 0.0), _SIZE) for v in (x0, y0, x1, y1))
        if heat[i, j] > 0 and x1 > x0 and y1 > y0:
            candidates.append((heat[i, j], (x0, y0, x1 - x0, y1 - y0)))
    candidates.sort(key=lambda candidate: -candidate[0])
    kept = []
    for score, box in candidates[:num_candidates]:
        overlaps = [iou_matrix(np.array([box]), np.array([other]))[0, 0] for _, other in kept]
        if all(iou <= threshold for iou in overlaps):
            kept.append((score, box))
    boxes, scores = np.zeros((max_boxes, 4)), np.zeros(max_boxes)
    for row, (score, box) in enumerate(kept[:max_boxes]):
        boxes[row], scores[row] = box, score
    return boxes, scores


def _random_maps(rng, num_films, levels):
    heat = rng.integers(0, levels + 1, (num_films, _CELLS, _CELLS)) / levels
    sides = rng.uniform(0, 40, (num_films, _CELLS, _CELLS, 4))
    sides[rng.random(sides.shape) < 0.05] = 0
    return heat.astype(np.float32), sides.astype(np.float32)


# Few levels give many ties and large plateaus, films of few candidates more boxes than there are.
@pytest.mark.parametrize('levels', [2, 5, 1000])
@pytest.mark.parametrize(('max_boxes', 'num_candidates'), [(8, 100), (12, 6)])
def test_boxes_are_those_of_a_literal_loop(levels, max_boxes, num_candidates):
    rng = np.random.default_rng(levels)
    heat, sides = _random_maps(rng, 48, levels)
    sparse = slice(0, 24)
    heat[sparse] *= rng.random(heat[sparse].shape) < 0.03
    boxes, scores = _numpy(heat, sides, max_boxes=max_boxes, num_candidates=num_candidates)
    assert boxes.dtype == scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    suppressed = 0
    for film in range(len(heat)):
        expected = _literal_boxes(heat[film], sides[film], 0.3, max_boxes, num_candidates)
        np.testing.assert_allclose(boxes[film], expected[0], atol=1e-4)
        np.testing.assert_allclose(scores[film], expected[1])
        suppressed += len(_literal_peaks(heat[film])) > np.count_nonzero(scores[film])
    assert suppressed


@pytest.mark.parametrize('voting_iou', [0.3, 0.6])
def test_a_box_is_the_mean_of_the_cells_that_agree_with_it(voting_iou):
    heat, sides = _random_maps(np.random.default_rng(9), 8, 1000)
    alone, _ = _numpy(heat, sides)
    boxes, scores = _numpy(heat, sides, voting_iou=voting_iou)
    points = (np.arange(_CELLS) + 0.5) * _SIZE / _CELLS
    x, y = np.meshgrid(points, points)
    moved = 0
    for film in range(8):
        left, top, right, bottom = np.moveaxis(sides[film].astype(np.float64), -1, 0)
        corners = np.stack([x - left, y - top, x + right, y + bottom], axis=-1).clip(0, _SIZE)
        cells = corners.reshape(-1, 4)
        cells[:, 2:] -= cells[:, :2]
        for own, box, score in zip(alone[film], boxes[film], scores[film], strict=True):
            if score > 0:
                votes = heat[film].ravel() * (iou_matrix(own[None], cells)[0] >= voting_iou)
                expected = np.average(cells, axis=0, weights=votes)
                np.testing.assert_allclose(box, expected, atol=1e-3)
                moved += np.abs(box - own).max() > 1
            else:
                assert not box.any()
    assert moved > 8


def test_films_do_not_touch_each_other_and_answers_repeat():
    heat, sides = _random_maps(np.random.default_rng(3), 48, 3)
    boxes, scores = _numpy(heat, sides)
    order = np.random.default_rng(4).permutation(48)
    mixed_boxes, mixed_scores = _numpy(heat[order], sides[order])
    np.testing.assert_array_equal(mixed_boxes, boxes[order])
    np.testing.assert_array_equal(mixed_scores, scores[order])


def _rendered(boxes, scores):
    """Maps of one film that say boxes [n,4] exactly, in cells within 0.3 of their size."""
    points = (np.arange(_CELLS) + 0.5) * _SIZE / _CELLS
    x, y = np.meshgrid(points, points)
    heat, sides = np.zeros((_CELLS, _CELLS)), np.zeros((_CELLS, _CELLS, 4))
    for (left, top, width, height), score in zip(boxes, scores, strict=True):
        off = ((x - left - width / 2) / width) ** 2 + ((y - top - height / 2) / height) ** 2
        inside = off < 0.3**2
        heat[inside] = score * np.exp(-10 * off[inside])
        distances = np.stack([x - left, y - top, left + width - x, top + height - y], axis=-1)
        sides[inside] = distances[inside]
    return heat.astype(np.float32), sides.astype(np.float32)


def _one_film(heat, sides, **kwargs):
    boxes, scores = _numpy(heat[None], sides[None], **kwargs)
    return boxes[0], scores[0]


def test_rendered_boxes_come_back_and_the_rest_is_zero():
    truth = np.array([(10, 20, 40, 60), (70, 30, 44, 71), (52, 104, 33, 22)], np.float32)
    boxes, scores = _one_film(*_rendered(truth, [0.5, 0.9, 0.7]))
    np.testing.assert_allclose(boxes[:3], truth[[1, 2, 0]], atol=1e-4)
    assert not boxes[3:].any()
    assert not scores[3:].any()
    np.testing.assert_allclose(scores[:3], [0.9, 0.7, 0.5], rtol=0.1)


def test_boxes_end_at_the_picture():
    heat, sides = _rendered([(-20, 70, 60, 90)], [0.8])
    np.testing.assert_allclose(_one_film(heat, sides)[0][0], [0, 70, 40, 58], atol=1e-4)


def test_of_overlapping_boxes_the_surer_stays_and_the_overlap_decides():
    heat, sides = np.zeros((_CELLS, _CELLS), np.float32), np.zeros((_CELLS, _CELLS, 4), np.float32)
    heat[8, 4], heat[8, 8] = 0.6, 0.9
    sides[8, 4] = sides[8, 8] = 32
    # Moved by half of the side: an IoU of one third.
    for threshold, count in [(0.33, 1), (0.34, 2)]:
        _, scores = _one_film(heat, sides, iou_threshold=threshold)
        np.testing.assert_allclose(scores[:3], [0.9, 0.6, 0][:count] + [0] * (3 - count))


@pytest.mark.parametrize('value', [1.0, 0.25])
def test_a_plateau_of_any_shape_is_one_peak(value):
    heat, sides = np.zeros((3, _CELLS, _CELLS), np.float32), np.full((3, _CELLS, _CELLS, 4), 3.0)
    heat[0] = value
    # A horseshoe and a zigzag have several cells with no equal one before them.
    heat[1, 3:9, 3] = heat[1, 3:9, 9] = heat[1, 9, 4:9] = value
    for j in range(_CELLS):
        heat[2, 5 + j % 2 * (-1) ** (j // 2), j] = value
    scores = _numpy(heat, sides.astype(np.float32))[1]
    np.testing.assert_array_equal(scores, np.eye(1, 8).repeat(3, axis=0) * value)


def test_films_without_heat_or_area_have_no_box():
    heat, sides = np.zeros((2, _CELLS, _CELLS), np.float32), np.ones((2, _CELLS, _CELLS, 4))
    heat[1, 4, 7], sides[1, 4, 7] = 0.9, (0, 5, 0, 5)
    boxes, scores = _numpy(heat, sides.astype(np.float32))
    assert not boxes.any()
    assert not scores.any()


def test_heat_that_is_not_a_number_shows():
    heat, sides = _rendered([(10, 20, 40, 60)], [0.9])
    assert np.isnan(_one_film(heat * np.nan, sides + 1)[1]).all()


def test_maps_that_do_not_fit_are_refused():
    for heat, sides, message in [
        ((2, 4, 5, 1), (2, 4, 5, 4), r'heat_probs has shape \(2, 4, 5, 1\)'),
        ((2, 4, 4), (2, 4, 4, 4), r'heat_probs has shape \(2, 4, 4\)'),
        ((2, 4, 4, 1), (2, 8, 8, 4), r'box_sides has shape \(2, 8, 8, 4\)'),
    ]:
        with pytest.raises(ValueError, match=message):
            peaks_to_boxes(np.zeros(heat), np.zeros(sides), image_size=32, iou_threshold=0.3)
