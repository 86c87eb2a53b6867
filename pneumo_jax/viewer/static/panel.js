/** The right-hand side: what is known of the film, and the figures of all films. */

import { byId, element, percent, share } from './dom.js';
import { OUTCOME_NAMES } from './figures.js';

/**
 * Shows what is known of film i.
 * @param {import('./films.js').Films} films
 * @param {{film: number, box: number}} thresholds
 */
export function showFacts(films, i, thresholds) {
  const outcome = films.outcome(i, thresholds.film);
  const probability = films.probability[i];
  const meter = element('div', { class: 'meter', 'aria-hidden': 'true' }, element('i'), element('b'));
  meter.style.setProperty('--share', probability);
  meter.style.setProperty('--at', thresholds.film);
  const facts = [
    ['Truth', truth(films, i)],
    ['View', films.viewName(i)],
    ['Sex', films.sexName(i)],
    ['Age', films.ageName(i)],
    ['Labels', films.label_domain[i].replaceAll('_', ' ')],
    ['Pixels', `${films.width[i]} × ${films.height[i]}`],
    ['Box score', share(films.challengeScore(i, thresholds.box))],
    ['Opacity extent', extents(films, i)],
  ];
  byId('facts').replaceChildren(
    element('p', { class: 'id', text: films.id[i] }),
    element(
      'p',
      { class: 'answer' },
      element('span', { class: `badge ${outcome}`, text: outcome }),
      element('b', { text: OUTCOME_NAMES[outcome] }),
      element('span', { class: 'probability', text: `probability ${probability.toFixed(3)}` }),
    ),
    meter,
    definitions(facts),
    boxTable(films, i, thresholds.box),
  );
}

function truth(films, i) {
  const known = films.className(i);
  if (known !== 'unknown') return known;
  return films.label[i] === 1 ? 'lung opacity' : 'no lung opacity';
}

function extents(films, i) {
  const [predicted, truth] = [films.extent[i], films.true_extent[i]];
  if (predicted === null) return 'unknown';
  const beside = truth === null ? '' : `, true ${percent(truth)}`;
  return `${percent(predicted)}${beside}`;
}

const definitions = (facts) =>
  element(
    'dl',
    {},
    ...facts.map(([name, text]) =>
      element('div', {}, element('dt', { text: name }), element('dd', { text })),
    ),
  );

function boxTable(films, i, threshold) {
  const drawn = films.numDrawn(i, threshold);
  const left = films.scores[i].length - drawn;
  const rows = [
    ...films.truths[i].map((box) => boxRow('true', box, '', '')),
    ...films.boxes[i]
      .slice(0, drawn)
      .map((box, k) =>
        boxRow('pred.', box, films.scores[i][k].toFixed(3), share(films.bestIou(i, box))),
      ),
  ];
  const below = left ? `${left} candidate${left > 1 ? 's' : ''} below the threshold` : '';
  if (!rows.length) {
    const none = films.boxesKnown(i) ? 'No box' : 'No box; where the opacity lies is not known';
    return element('p', { class: 'soft', text: below ? `${none}, ${below}` : none });
  }
  const heads = ['Box', 'x, y', 'size', 'conf.', 'IoU'];
  return element(
    'table',
    { class: 'boxes' },
    element('caption', { class: 'soft', text: below }),
    element('thead', {}, row('th', heads)),
    element('tbody', {}, ...rows),
  );
}

function boxRow(kind, [x, y, width, height], confidence, iou) {
  const sides = [[x, y].map(Math.round).join(', '), [width, height].map(Math.round).join(' × ')];
  const made = row('td', ['', ...sides, confidence, iou]);
  const swatch = kind === 'true' ? 'truth' : 'prediction';
  made.firstChild.append(element('i', { class: `swatch ${swatch}` }), kind);
  return made;
}

const row = (tag, texts) => element('tr', {}, ...texts.map((text) => element(tag, { text })));

const RATES = [
  ['sensitivity', 'Sensitivity'],
  ['specificity', 'Specificity'],
  ['ppv', 'PPV'],
  ['npv', 'NPV'],
  ['accuracy', 'Accuracy'],
  ['allNegative', 'all called negative', 'soft'],
  ['prevalence', 'Prevalence', 'soft'],
];
const BOXES = [
  ['challengeMap', 'Challenge mAP'],
  ['boxes', 'Boxes drawn'],
  ['filmsWithBoxes', 'Films with boxes'],
];

/**
 * Shows the figures now beside those at the run's own thresholds.
 * @param {ReturnType<typeof import('./figures.js').figures>} now
 * @param {ReturnType<typeof import('./figures.js').figures>} evaluated
 * @param {number | null} auroc of all films; null where it does not belong.
 */
export function showFigures(now, evaluated, auroc) {
  const lines = RATES.concat(BOXES).map(([key, name, soft]) =>
    element(
      'tr',
      { class: soft ?? '' },
      element('th', { scope: 'row', text: name }),
      element('td', {}, figure(key, now[key])),
      element('td', { class: 'soft', text: text(key, evaluated[key]) }),
    ),
  );
  const heads = ['', 'Now', 'As evaluated'];
  byId('figures').replaceChildren(
    confusion(now),
    element(
      'table',
      { class: 'rates' },
      element('thead', {}, row('th', heads)),
      element('tbody', {}, ...lines),
    ),
    element('p', {
      class: 'soft',
      text: auroc === null ? '' : `AUROC, at no threshold: ${share(auroc)}`,
    }),
  );
}

function confusion(counts) {
  const cell = (key) =>
    element(
      'td',
      { class: key },
      element('abbr', { title: OUTCOME_NAMES[key], text: key }),
      figure(key, counts[key]),
    );
  const line = (name, ...keys) =>
    element('tr', {}, element('th', { scope: 'row', text: name }), ...keys.map(cell));
  return element(
    'table',
    { class: 'confusion' },
    element('caption', { class: 'hidden', text: 'Confusion matrix' }),
    element('thead', {}, row('th', ['Called', 'positive', 'negative'])),
    element('tbody', {}, line('Opacity', 'TP', 'FN'), line('None', 'FP', 'TN')),
  );
}

const COUNTS = ['TP', 'FP', 'TN', 'FN', 'boxes', 'filmsWithBoxes'];
const text = (key, value) => (COUNTS.includes(key) ? String(value) : share(value));
const figure = (key, value) =>
  element('data', { 'data-figure': key, value: value === null ? '' : String(value), text: text(key, value) });
