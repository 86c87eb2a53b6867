/** The page's state in the part of the address behind "#", so that a reload comes back to it. */

import { OUTCOMES } from './figures.js';
import { FILTERS, SORTS } from './order.js';

const TEXTS = ['text', ...Object.keys(FILTERS)];

/**
 * What the address says, over the state as it starts. Films are named by their numbers: ids would
 * stay in the browser's history.
 * @param {object} start
 * @param {number} numFilms
 */
export function readAddress(start, numFilms) {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { ...start, thresholds: { ...start.thresholds } };
  for (const name of TEXTS) state[name] = given.get(name) ?? '';
  const film = Number(given.get('film') ?? NaN);
  if (Number.isInteger(film) && film >= 0 && film < numFilms) state.film = film;
  state.outcomes = OUTCOMES.filter((name) => (given.get('outcomes') ?? '').includes(name));
  if (Object.hasOwn(SORTS, given.get('sort') ?? '')) {
    state.sort = given.get('sort');
    state.down = given.get('down') === '1';
  }
  for (const name of ['film', 'box']) {
    const value = Number.parseFloat(given.get(`${name}_threshold`));
    if (value >= 0 && value <= 1) state.thresholds[name] = value;
  }
  return state;
}

/** Writes the state where it differs from the start; no entry is added to the history. */
export function writeAddress(state, start) {
  const said = new URLSearchParams({ film: String(state.film) });
  for (const name of TEXTS) if (state[name]) said.set(name, state[name]);
  if (state.outcomes.length) said.set('outcomes', state.outcomes.join('.'));
  if (state.sort !== start.sort || state.down !== start.down) {
    said.set('sort', state.sort);
    said.set('down', state.down ? '1' : '0');
  }
  for (const name of ['film', 'box']) {
    const value = state.thresholds[name];
    if (value !== start.thresholds[name]) said.set(`${name}_threshold`, String(value));
  }
  history.replaceState(null, '', `#${said}`);
}
