/** The figures of the page: pure functions of numbers, the same rules as in the Python code. */

/** The challenge's thresholds of IoU (`pneumo_jax.metrics.detection`). */
export const IOU_THRESHOLDS = [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75];

/** What a film is at a threshold, errors first. */
export const OUTCOMES = ['FN', 'FP', 'TP', 'TN'];

export const OUTCOME_NAMES = {
  FN: 'false negative',
  FP: 'false positive',
  TP: 'true positive',
  TN: 'true negative',
};

/** A film is called positive from the threshold on. */
export function outcome(label, probability, threshold) {
  const called = probability >= threshold;
  if (label === 1) return called ? 'TP' : 'FN';
  return called ? 'FP' : 'TN';
}

/** Intersection over union of two boxes [x, y, width, height]; 0 where both have no area. */
export function iou(a, b) {
  const across = Math.max(0, Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]));
  const down = Math.max(0, Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]));
  const intersection = across * down;
  const union = a[2] * a[3] + b[2] * b[3] - intersection;
  return union > 0 ? intersection / union : 0;
}

/** How many of a film's scores, the highest first, reach a threshold. */
export function numReaching(scores, threshold) {
  let count = 0;
  while (count < scores.length && scores[count] >= threshold) count += 1;
  return count;
}

/**
 * Whether each predicted box hits at an IoU: one to one, by descending confidence, each takes the
 * best true box still free, if their IoU is above the threshold.
 * @param {number[][]} ious a row for each predicted box, the surest first.
 * @returns {boolean[]}
 */
export function hits(ious, threshold) {
  const taken = new Set();
  return ious.map((row) => {
    let best = -1;
    row.forEach((value, truth) => {
      if (!taken.has(truth) && (best < 0 || value > row[best])) best = truth;
    });
    if (best < 0 || !(row[best] > threshold)) return false;
    taken.add(best);
    return true;
  });
}

/**
 * The challenge's score of a film with its 0, 1, ... n surest boxes; null where the film is left
 * out, having neither a true nor a predicted box. The match of a box does not depend on boxes of
 * lower confidence, so that one matching serves all thresholds.
 */
export function scoresByCount(truths, boxes) {
  const ious = boxes.map((box) => truths.map((truth) => iou(box, truth)));
  const found = IOU_THRESHOLDS.map((threshold) => hits(ious, threshold));
  const counts = IOU_THRESHOLDS.map(() => 0);
  const scores = [truths.length ? 0 : null];
  boxes.forEach((_, i) => {
    let sum = 0;
    found.forEach((hit, t) => {
      counts[t] += hit[i] ? 1 : 0;
      sum += counts[t] / (i + 1 + truths.length - counts[t]);
    });
    scores.push(sum / IOU_THRESHOLDS.length);
  });
  return scores;
}

const ratio = (part, whole) => (whole > 0 ? part / whole : null);

/** Mean of the numbers that are not null; null where there is none. */
export function mean(values) {
  const known = values.filter((value) => value !== null);
  return ratio(known.reduce((sum, value) => sum + value, 0), known.length);
}

/**
 * All figures of some films at two thresholds.
 * @param {import('./films.js').Films} films
 * @param {number[]} indices of the films that count.
 * @param {{film: number, box: number}} thresholds
 */
export function figures(films, indices, thresholds) {
  const counts = { TP: 0, FP: 0, TN: 0, FN: 0 };
  let boxes = 0;
  let filmsWithBoxes = 0;
  for (const i of indices) {
    counts[films.outcome(i, thresholds.film)] += 1;
    const drawn = films.numDrawn(i, thresholds.box);
    boxes += drawn;
    filmsWithBoxes += drawn > 0 ? 1 : 0;
  }
  const { TP, FP, TN, FN } = counts;
  const anyTruth = indices.some((i) => films.truths[i].length);
  const scores = indices.map((i) => films.challengeScore(i, thresholds.box));
  return {
    ...counts,
    sensitivity: ratio(TP, TP + FN),
    specificity: ratio(TN, TN + FP),
    ppv: ratio(TP, TP + FP),
    npv: ratio(TN, TN + FN),
    accuracy: ratio(TP + TN, indices.length),
    allNegative: ratio(TN + FP, indices.length),
    prevalence: ratio(TP + FN, indices.length),
    boxes,
    filmsWithBoxes,
    // Where no film has a true box, nothing could be found.
    challengeMap: anyTruth ? mean(scores) : null,
  };
}
