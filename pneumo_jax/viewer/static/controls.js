/** The controls of the list: outcomes, groups, search and order. */

import { byId, element, fillSelect, setPressed } from './dom.js';
import { OUTCOMES, OUTCOME_NAMES } from './figures.js';
import { FILTERS, SORTS, groupsOf } from './order.js';

/**
 * Makes the controls.
 * @param {import('./films.js').Films} films
 * @param {(changes: object) => void} change called with the fields of the state that change.
 * @param {() => object} current gives the state.
 */
export function makeControls(films, change, current) {
  for (const name of OUTCOMES) {
    const button = element(
      'button',
      { type: 'button', class: 'outcome', 'data-outcome': name, title: OUTCOME_NAMES[name] },
      element('span', { class: `badge ${name}`, text: name }),
      element('b'),
    );
    button.addEventListener('click', () => {
      const { outcomes } = current();
      const others = outcomes.filter((other) => other !== name);
      change({ outcomes: others.length < outcomes.length ? others : [...outcomes, name] });
    });
    byId('outcomes').append(button);
  }
  for (const [name, { name: title }] of Object.entries(FILTERS)) {
    const select = element('select', { id: `filter-${name}` });
    const groups = groupsOf(films, name);
    const options = groups.map(([group, count]) => [group, `${group} (${count})`]);
    fillSelect(select, [['', 'all'], ...options]);
    select.addEventListener('change', () => change({ [name]: select.value }));
    byId('filters').append(element('label', { for: select.id, text: title }), select);
  }
  fillSelect(byId('sort'), Object.entries(SORTS).map(([key, { name }]) => [key, name]));
  byId('sort').addEventListener('change', ({ target }) =>
    change({ sort: target.value, down: Boolean(SORTS[target.value].down) }),
  );
  byId('direction').addEventListener('click', () => change({ down: !current().down }));
  byId('search').addEventListener('input', ({ target }) => change({ text: target.value }));
}

/**
 * Shows the state in them.
 * @param {Object<string, number>} counts films of each outcome that pass the other filters.
 */
export function showControls(state, counts) {
  for (const button of byId('outcomes').children) {
    const name = button.dataset.outcome;
    setPressed(button, state.outcomes.includes(name));
    button.lastChild.textContent = String(counts[name]);
    button.setAttribute('aria-label', `${OUTCOME_NAMES[name]}: ${counts[name]} films`);
  }
  for (const name of Object.keys(FILTERS)) byId(`filter-${name}`).value = state[name];
  byId('sort').value = state.sort;
  byId('direction').textContent = state.down ? '↓' : '↑';
  byId('direction').setAttribute(
    'aria-label',
    state.down ? 'Largest first; turn round' : 'Smallest first; turn round',
  );
  if (byId('search').value !== state.text) byId('search').value = state.text;
}
