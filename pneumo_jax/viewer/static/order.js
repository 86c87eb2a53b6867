/** Which films the list shows, and in which order. */

import { OUTCOMES } from './figures.js';

/**
 * What films can be sorted by: a value of film i (null: unknown, last in either direction), and
 * whether the largest come first unless asked otherwise.
 */
export const SORTS = {
  error: { name: 'Most wrong', value: (films, i) => films.error(i), down: true },
  probability: { name: 'Probability', value: (films, i) => films.probability[i], down: true },
  outcome: {
    name: 'Outcome, errors first',
    value: (films, i, at) => OUTCOMES.indexOf(films.outcome(i, at.film)),
  },
  challenge: {
    name: 'Challenge score of boxes',
    value: (films, i, at) => films.challengeScore(i, at.box),
  },
  box: { name: 'Surest box', value: (films, i) => films.scores[i][0] ?? null, down: true },
  view: { name: 'View', value: (films, i) => films.view[i] || null },
  age: { name: 'Age', value: (films, i) => (films.age[i] < 0 ? null : films.age[i]) },
  extent: { name: 'Opacity extent', value: (films, i) => films.extent[i], down: true },
  id: { name: 'Film id', value: (films, i) => films.id[i] },
};

/** What films can be filtered by, beside outcome and id: the group that film i is in. */
export const FILTERS = {
  view: { name: 'View', group: (films, i) => films.viewName(i) },
  sex: { name: 'Sex', group: (films, i) => films.sexName(i) },
  class: { name: 'Class', group: (films, i) => films.className(i) },
};

/** The groups that there are of a filter, with their numbers of films, by name. */
export function groupsOf(films, filter) {
  const counts = new Map();
  for (let i = 0; i < films.length; i += 1) {
    const group = FILTERS[filter].group(films, i);
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * All films in the order asked for; films of equal values as they were evaluated.
 * @param {{sort: string, down: boolean}} wanted
 * @param {{film: number, box: number}} thresholds
 * @returns {number[]}
 */
export function sorted(films, wanted, thresholds) {
  const { value } = SORTS[wanted.sort];
  const keys = Array.from({ length: films.length }, (_, i) => value(films, i, thresholds));
  const sign = wanted.down ? -1 : 1;
  return [...keys.keys()].sort((a, b) => {
    if (keys[a] === keys[b]) return a - b;
    if (keys[a] === null || keys[b] === null) return keys[a] === null ? 1 : -1;
    return keys[a] < keys[b] ? -sign : sign;
  });
}

/**
 * Whether a film passes all filters but that of outcomes.
 * @param {{text: string, view: string, class: string, sex: string}} wanted '' passes every film.
 */
export function passes(films, i, wanted) {
  const text = wanted.text.toLowerCase();
  if (text && !films.id[i].toLowerCase().includes(text)) return false;
  return Object.entries(FILTERS).every(
    ([name, { group }]) => !wanted[name] || group(films, i) === wanted[name],
  );
}
