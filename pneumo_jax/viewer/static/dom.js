/** Small helpers for elements. Texts of films only ever become text, never markup. */

/** @returns {HTMLElement} the element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Object<string, string|boolean>} attributes `text` is its text, `class` its classes;
 *   an attribute of value false is left out.
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') node.textContent = value;
    else if (value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

/** Fills a select with options, given as [value, text]. */
export function fillSelect(select, options) {
  select.replaceChildren(...options.map(([value, text]) => element('option', { value, text })));
}

export const setPressed = (button, pressed) =>
  button.setAttribute('aria-pressed', String(pressed));

/** A function that runs once in the next frame, however often it is called before. */
export function oncePerFrame(run) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      run();
    });
  };
}

const DIGITS = 3;

/** A share as text, with a dash where it is undefined. */
export const share = (value) => (value === null ? '–' : value.toFixed(DIGITS));

/** A share of the whole as per cent. */
export const percent = (value) => (value === null ? '–' : `${(100 * value).toFixed(0)}\u00a0%`);
