"""The challenge metric as public code computes it: slow transcriptions, a film and t at a time.

Each takes IoUs [n][m] of predictions (surest first) with truths and says which IoU is a hit, and
gives TP, FP and FN. Whichever box it matches, a rule is only about these counts.
"""

THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)


def take_best(ious, num_truths, hit):
    """The challenge's text: each prediction in turn takes the best true box still free."""
    used, tp, fp = set(), 0, 0
    for row in ious:
        free = [j for j in range(num_truths) if j not in used]
        best = max(free, key=lambda j: row[j], default=None)
        if best is not None and hit(row[best]):
            used.add(best)
            tp += 1
        else:
            fp += 1
    return tp, fp, num_truths - len(used)


def take_first(ious, num_truths, hit):
    """Each prediction in turn takes the first free true box that it hits."""
    used, tp, fp = set(), 0, 0
    for row in ious:
        for j in range(num_truths):
            if j not in used and hit(row[j]):
                used.add(j)
                tp += 1
                break
        else:
            fp += 1
    return tp, fp, num_truths - len(used)


def by_truth(ious, num_truths, hit):
    """Y. Chen's kernel and the first place's: each true box takes the surest free prediction."""
    used, tp, fn = set(), 0, 0
    for j in range(num_truths):
        matched = False
        for i, row in enumerate(ious):
            if hit(row[j]) and not matched and i not in used:
                matched = True
                tp += 1
                used.add(i)
        if not matched:
            fn += 1
    return tp, len(ious) - len(used), fn


def best_even_if_taken(ious, num_truths, hit):
    """Another winner's, as PASCAL VOC does: the best true box, a miss if that is taken."""
    used, tp, fp = set(), 0, 0
    for row in ious:
        best = max(range(num_truths), key=lambda j: row[j], default=None)
        if best is not None and hit(row[best]) and best not in used:
            used.add(best)
            tp += 1
        else:
            fp += 1
    return tp, fp, num_truths - len(used)


def many_on_one(ious, num_truths, hit):
    """A U-Net kernel's: any prediction that hits, any true box that is hit."""
    tp = sum(any(hit(iou) for iou in row) for row in ious)
    fn = sum(not any(hit(row[j]) for row in ious) for j in range(num_truths))
    return tp, len(ious) - tp, fn


ONE_TO_ONE = (take_best, take_first, by_truth, best_even_if_taken)


def film_score(rule, ious, num_truths, inclusive):
    """Of one film; None where it is left out."""
    if not num_truths and not ious:
        return None
    scores = []
    for t in THRESHOLDS:
        tp, fp, fn = rule(ious, num_truths, _at_least(t) if inclusive else _above(t))
        scores.append(tp / (tp + fp + fn))
    return sum(scores) / len(scores)


def ious_by_confidence(truth, predicted, scores):
    """IoUs in double precision, a row a prediction, surest first, equal ones in file order."""
    order = sorted(range(len(predicted)), key=lambda i: -scores[i])
    return [[_iou(predicted[i], box) for box in truth] for i in order]


def rules_agree(ious, num_truths, inclusive):
    """Whether one-to-one rules must agree, and whether all of them must.

    They may part where a prediction hits two true boxes of which another prediction hits one.
    """
    one_to_one = free = True
    for t in THRESHOLDS:
        hit = _at_least(t) if inclusive else _above(t)
        rows = [[j for j in range(num_truths) if hit(row[j])] for row in ious]
        shared = {j for j in range(num_truths) if sum(j in row for row in rows) > 1}
        one_to_one &= not any(len(row) > 1 and shared & set(row) for row in rows)
        free &= not shared and all(len(row) < 2 for row in rows)
    return one_to_one, free


def _above(t):
    return lambda iou: iou > t


def _at_least(t):
    return lambda iou: iou >= t


def _iou(a, b):
    ax, ay, aw, ah = a
    bx, by, bw, bh = b
    left, right = max(ax, bx), min(ax + aw, bx + bw)
    top, bottom = max(ay, by), min(ay + ah, by + bh)
    if right <= left or bottom <= top:
        return 0.0
    shared = (right - left) * (bottom - top)
    return shared / (aw * ah + bw * bh - shared)
