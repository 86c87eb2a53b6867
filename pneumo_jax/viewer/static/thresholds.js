/** The two thresholds: sliders under histograms, with a mark where validation set them. */

import { byId, element, oncePerFrame } from './dom.js';

const BINS = 50;
const HISTOGRAM_HEIGHT = 38;
/** Half a thumb: a slider's ends are its thumb's middles. */
const INSET = 7;
const UPPER_COLOUR = '#d99a45';
const LOWER_COLOUR = '#5f7085';
const DIGITS = 4;

/** One threshold, as a slider and a number, over a histogram of what it divides. */
export class Threshold {
  /**
   * @param {object} options
   * @param {string} options.name of the threshold, part of the elements' ids.
   * @param {string} options.title
   * @param {number} options.chosen where the run put it.
   * @param {string} options.remark on that; '' for none.
   * @param {[string, number[]][]} options.groups names and values of what stands above and below
   *   the histogram's middle line.
   * @param {(value: number) => void} options.changed
   */
  constructor({ name, title, chosen, remark, groups, changed }) {
    this.chosen = chosen;
    this.groups = groups;
    this.largest = largestOf([chosen, ...groups.flatMap(([, values]) => values)]);
    this.slider = element('input', {
      type: 'range',
      id: `${name}-threshold`,
      min: '0',
      max: String(this.largest),
      step: 'any',
    });
    this.number = element('input', {
      type: 'number',
      min: '0',
      max: '1',
      step: 'any',
      'aria-label': `${title}, as a number`,
    });
    this.canvas = element('canvas', { class: 'histogram', role: 'img' });
    const legend = `Above: ${groups[0][0]}; below: ${groups[1][0]}`;
    this.canvas.setAttribute('aria-label', legend);
    this.canvas.title = legend;
    this.canvas.hidden = !groups.some(([, values]) => values.length);
    const mark = element('i', { class: 'mark', title: `As evaluated: ${chosen.toFixed(DIGITS)}` });
    mark.style.setProperty('--share', String(chosen / this.largest));
    byId('thresholds').append(
      element(
        'div',
        { class: 'threshold' },
        element('label', { for: this.slider.id, text: title }),
        this.number,
        this.canvas,
        element('div', { class: 'track' }, this.slider, mark),
        element('p', { class: 'soft', text: remark }),
      ),
    );
    this.draw = oncePerFrame(() => this.drawNow());
    new ResizeObserver(this.draw).observe(this.canvas);
    this.slider.addEventListener('input', () => changed(this.slider.valueAsNumber));
    this.number.addEventListener('change', () => {
      if (this.number.checkValidity() && this.number.value) changed(this.number.valueAsNumber);
    });
  }

  show(value) {
    this.value = value;
    this.slider.value = value;
    this.slider.setAttribute('aria-valuetext', value.toFixed(DIGITS));
    this.number.value = value.toFixed(DIGITS);
    this.draw();
  }

  drawNow() {
    const { canvas, largest } = this;
    const [width, height] = [canvas.clientWidth, HISTOGRAM_HEIGHT];
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    const context = canvas.getContext('2d');
    context.scale(devicePixelRatio, devicePixelRatio);
    const counts = this.groups.map(([, values]) => binned(values, largest));
    const bin = (width - 2 * INSET) / BINS;
    counts.forEach((group, below) => {
      const most = Math.max(1, ...group);
      context.fillStyle = below ? LOWER_COLOUR : UPPER_COLOUR;
      group.forEach((count, k) => {
        // Roots, since one film among hundreds is to be seen too.
        const length = (height / 2 - 1) * Math.sqrt(count / most);
        const reached = ((k + 1) * largest) / BINS > this.value;
        context.globalAlpha = reached ? 1 : 0.45;
        const top = below ? height / 2 + 0.5 : height / 2 - 0.5 - length;
        context.fillRect(INSET + k * bin, top, bin - 1, length);
      });
    });
  }
}

function largestOf(values) {
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  return largest > 0 ? Math.min(1, Math.ceil(largest * 20) / 20) : 1;
}

function binned(values, largest) {
  const counts = new Array(BINS).fill(0);
  for (const value of values) {
    counts[Math.min(BINS - 1, Math.floor((BINS * value) / largest))] += 1;
  }
  return counts;
}
