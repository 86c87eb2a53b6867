/** The films of an evaluation, and what follows from their answers at thresholds. */

import { IOU_THRESHOLDS, hits, iou, numReaching, outcome, scoresByCount } from './figures.js';

const VIEWS = ['AP', 'PA'];
const SEXES = { F: 'female', M: 'male' };

export class Films {
  /** @param {object} data of /data.json, as `pneumo_jax.viewer.films` makes it. */
  constructor(data) {
    Object.assign(this, data.films);
    this.classNames = data.class_names;
    this.oldestAge = data.oldest_age;
    this.length = this.id.length;
    this.curves = this.truths.map((truths, i) =>
      this.boxesKnown(i) ? scoresByCount(truths, this.boxes[i]) : null,
    );
  }

  /** False for a film with an opacity on which nobody drew a box. */
  boxesKnown(i) {
    return this.label[i] === 0 || this.truths[i].length > 0;
  }

  outcome(i, threshold) {
    return outcome(this.label[i], this.probability[i], threshold);
  }

  /** How far the answer is from the truth, 0 to 1. */
  error(i) {
    return Math.abs(this.label[i] - this.probability[i]);
  }

  numDrawn(i, threshold) {
    return numReaching(this.scores[i], threshold);
  }

  /** The challenge's score of a film; null where it counts in no mean. */
  challengeScore(i, threshold) {
    return this.curves[i] && this.curves[i][this.numDrawn(i, threshold)];
  }

  /** The largest IoU of a predicted box with a true one; null where there is none. */
  bestIou(i, box) {
    const truths = this.truths[i];
    return truths.length ? Math.max(...truths.map((truth) => iou(box, truth))) : null;
  }

  /** Whether each candidate hits a true box at the challenge's lowest IoU. */
  candidateHits(i) {
    const ious = this.boxes[i].map((box) => this.truths[i].map((truth) => iou(box, truth)));
    return hits(ious, IOU_THRESHOLDS[0]);
  }

  viewName(i) {
    return VIEWS.includes(this.view[i]) ? this.view[i] : 'unknown';
  }

  sexName(i) {
    return SEXES[this.sex[i]] ?? 'unknown';
  }

  className(i) {
    return (this.classNames[this.class_id[i]] ?? 'unknown').replaceAll('_', ' ');
  }

  ageName(i) {
    const age = this.age[i];
    if (age < 0) return 'unknown';
    return age >= this.oldestAge ? `${this.oldestAge} or over` : String(age);
  }
}
