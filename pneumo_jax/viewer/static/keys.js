/** The keyboard: what each key does, for the page and for its help. */

import { byId, element } from './dom.js';

/** [keys, what they do, name of the action] */
const KEYS = [
  [['j', 'ArrowDown', 'ArrowRight'], 'next film', 'next'],
  [['k', 'ArrowUp', 'ArrowLeft'], 'previous film', 'previous'],
  [['PageDown'], 'a page of the list down', 'pageDown'],
  [['PageUp'], 'a page of the list up', 'pageUp'],
  [['Home'], 'first film', 'first'],
  [['End'], 'last film', 'last'],
  [['f'], 'next error', 'nextError'],
  [['F'], 'previous error', 'previousError'],
  [['o'], 'boxes on and off', 'overlay'],
  [['t'], 'true boxes on and off', 'truth'],
  [['p'], 'predicted boxes on and off', 'prediction'],
  [['+', '='], 'zoom in', 'zoomIn'],
  [['-'], 'zoom out', 'zoomOut'],
  [['0'], 'whole film', 'fit'],
  [['i'], 'invert', 'invert'],
  [['1'], 'full range of grey', 'preset1'],
  [['2'], "film's own range", 'preset2'],
  [['3'], 'dark parts', 'preset3'],
  [['4'], 'bright parts', 'preset4'],
  [['w'], 'narrower window: more contrast', 'narrower'],
  [['W'], 'wider window: less contrast', 'wider'],
  [['l'], 'lower level: brighter', 'lower'],
  [['L'], 'higher level: darker', 'higher'],
  [['x'], 'thresholds back to those chosen', 'resetThresholds'],
  [['/'], 'search', 'search'],
  [['?'], 'this help', 'help'],
];
const MOUSE = [
  ['Wheel', 'zoom about the pointer'],
  ['Drag', 'pan'],
  ['Right drag', 'window (across) and level (down)'],
  ['Double click', 'whole film'],
];
const NAMES = { ArrowDown: '↓', ArrowRight: '→', ArrowUp: '↑', ArrowLeft: '←' };
/** Of a list of choices and of sliders, keys that have a use of their own. */
const OWN_USE = /^(Arrow|Home|End|Page|Enter| )/;

/**
 * Listens to the keyboard.
 * @param {Object<string, () => void>} actions by name.
 */
export function listenToKeys(actions) {
  const byKey = new Map(KEYS.flatMap(([keys, , name]) => keys.map((key) => [key, name])));
  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    const name = byKey.get(key);
    if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
    if (key === 'Escape' && target.matches('input')) target.blur();
    if (!name || hasOwnUse(target, key)) return;
    event.preventDefault();
    actions[name]();
  });
}

function hasOwnUse(target, key) {
  if (target.matches('input[type=search], input[type=number]')) return true;
  return target.matches('select, input') && OWN_USE.test(key);
}

/** Fills the table of the help. */
export function fillHelp(body) {
  const lines = KEYS.map(([keys, does]) => [keys.map((key) => NAMES[key] ?? key), does]);
  lines.push(...MOUSE.map(([how, does]) => [[how], does]));
  body.replaceChildren(
    ...lines.map(([keys, does]) =>
      element(
        'tr',
        {},
        element('th', { scope: 'row' }, ...keys.map((key) => element('kbd', { text: key }))),
        element('td', { text: does }),
      ),
    ),
  );
}
