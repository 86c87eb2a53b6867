/** The list of films: only the rows in sight are elements, so that it may be as long as it likes. */

import { byId, element, oncePerFrame } from './dom.js';
import { OUTCOME_NAMES } from './figures.js';

const ROW_HEIGHT = 46;
const ROWS_AROUND = 4;

export class FilmList {
  /**
   * @param {import('./films.js').Films} films
   * @param {(index: number) => void} choose called for the film of a row that is clicked.
   */
  constructor(films, choose) {
    this.films = films;
    this.box = byId('list');
    this.rows = byId('rows');
    this.shown = [];
    this.threshold = 0;
    this.current = -1;
    this.draw = oncePerFrame(() => this.drawNow());
    this.box.addEventListener('scroll', this.draw);
    new ResizeObserver(this.draw).observe(this.box);
    this.rows.addEventListener('click', (event) => {
      const row = event.target.closest('[role=option]');
      if (row) choose(Number(row.dataset.film));
    });
  }

  /**
   * @param {number[]} shown indices of films, in order.
   * @param {number} threshold of films.
   */
  update(shown, threshold, current) {
    this.shown = shown;
    this.threshold = threshold;
    this.current = current;
    this.rows.style.height = `${shown.length * ROW_HEIGHT}px`;
    this.draw();
  }

  /** Brings the current film into sight. */
  reveal() {
    const place = this.shown.indexOf(this.current);
    if (place < 0) return;
    const top = place * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) {
      this.box.scrollTop = top + ROW_HEIGHT - clientHeight;
    }
  }

  /** The number of rows that are in sight as a whole. */
  get pageLength() {
    return Math.max(1, Math.floor(this.box.clientHeight / ROW_HEIGHT));
  }

  drawNow() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_HEIGHT) - ROWS_AROUND);
    const end = Math.min(this.shown.length, first + this.pageLength + 2 * ROWS_AROUND + 2);
    const places = Array.from({ length: Math.max(0, end - first) }, (_, k) => first + k);
    this.rows.replaceChildren(...places.map((place) => this.row(place)));
    this.box.setAttribute('aria-activedescendant', `film-${this.current}`);
  }

  row(place) {
    const { films, threshold } = this;
    const i = this.shown[place];
    const outcome = films.outcome(i, threshold);
    const known = [films.viewName(i), films.sexName(i), films.ageName(i)];
    const probability = films.probability[i];
    const bar = element('i', { class: 'bar' });
    bar.style.setProperty('--share', probability);
    const row = element(
      'div',
      {
        class: 'row',
        role: 'option',
        id: `film-${i}`,
        title: films.id[i],
        'data-film': String(i),
        'aria-selected': String(i === this.current),
        'aria-setsize': String(this.shown.length),
        'aria-posinset': String(place + 1),
      },
      element('abbr', { class: `badge ${outcome}`, title: OUTCOME_NAMES[outcome], text: outcome }),
      element('span', { class: 'id', text: films.id[i] }),
      element('span', { class: 'probability', text: probability.toFixed(2) }),
      element('span', { class: 'known', text: known.filter((t) => t !== 'unknown').join(' · ') }),
      bar,
    );
    row.style.top = `${place * ROW_HEIGHT}px`;
    return row;
  }
}
