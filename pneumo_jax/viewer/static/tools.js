/** The film in the middle with the tools under it: boxes, window and zoom. */

import { byId, fillSelect, setPressed } from './dom.js';
import { OUTCOME_NAMES } from './figures.js';
import { Stage } from './stage.js';
import { PRESETS } from './windowing.js';

const ZOOM_STEP = 1.25;
const WINDOW_STEP = 10;

export class Tools {
  /** @param {boolean} square whether pictures are padded to squares. */
  constructor(square) {
    this.preset = 'full';
    this.canvas = byId('film');
    this.stage = new Stage(this.canvas, {
      square,
      changed: () => this.show(),
      pointed: (text) => (byId('readout').textContent = text),
      windowed: (window) => this.setWindow(window),
    });
    this.actions = this.makeActions();
    const buttons = {
      truth: 'truth',
      prediction: 'prediction',
      invert: 'invert',
      'zoom-in': 'zoomIn',
      'zoom-out': 'zoomOut',
      fit: 'fit',
    };
    for (const [id, name] of Object.entries(buttons)) {
      byId(id).addEventListener('click', this.actions[name]);
    }
    const presets = Object.entries(PRESETS).map(([key, { name }]) => [key, name]);
    fillSelect(byId('preset'), [...presets, ['', 'Set by hand']]);
    byId('preset').addEventListener('change', ({ target }) => this.usePreset(target.value));
    for (const id of ['center', 'width']) {
      byId(id).addEventListener('input', ({ target }) =>
        this.setWindow({ [id]: target.valueAsNumber }),
      );
    }
    this.show();
  }

  /**
   * @param {import('./stage.js').ShownFilm} film
   * @param {string} outcome
   * @param {number} probability
   */
  setFilm(film, outcome, probability) {
    const boxes = `true boxes: ${film.truths.length}, predicted boxes: ${film.drawn.length}`;
    this.canvas.setAttribute(
      'aria-label',
      `Film: ${OUTCOME_NAMES[outcome]}, probability ${probability.toFixed(2)}, ${boxes}`,
    );
    this.stage.setFilm(film);
    this.show();
  }

  setPicture(picture) {
    byId('placeholder').hidden = true;
    this.stage.setPicture(picture);
    // A film's own range is another for each film.
    if (this.preset) this.usePreset(this.preset);
  }

  /** Says something in place of the film. */
  say(text) {
    const placeholder = byId('placeholder');
    placeholder.className = '';
    placeholder.textContent = text;
    placeholder.hidden = false;
  }

  /** Says, after a moment, that the film is being read. */
  wait() {
    this.say('Reading the film …');
    byId('placeholder').className = 'waiting';
  }

  usePreset(name) {
    this.preset = name;
    const { picture } = this.stage;
    if (name && picture) this.stage.setWindow(PRESETS[name].of(picture));
    this.show();
  }

  setWindow(change) {
    this.preset = '';
    this.stage.setWindow({ ...this.stage.window, ...change });
    this.show();
  }

  toggle(...kinds) {
    const { show } = this.stage;
    const on = !kinds.some((kind) => show[kind]);
    kinds.forEach((kind) => (show[kind] = on));
    this.stage.draw();
    this.show();
  }

  zoomBy(factor) {
    this.stage.zoomBy(factor);
    this.show();
  }

  makeActions() {
    const { stage } = this;
    const widen = (step) => this.setWindow({ width: stage.window.width + step });
    const raise = (step) => this.setWindow({ center: stage.window.center + step });
    const presets = Object.keys(PRESETS).map((name, k) => [
      `preset${k + 1}`,
      () => this.usePreset(name),
    ]);
    return {
      overlay: () => this.toggle('truth', 'prediction'),
      truth: () => this.toggle('truth'),
      prediction: () => this.toggle('prediction'),
      zoomIn: () => this.zoomBy(ZOOM_STEP),
      zoomOut: () => this.zoomBy(1 / ZOOM_STEP),
      fit: () => {
        stage.reset();
        this.show();
      },
      invert: () => {
        stage.setWindow(stage.window, !stage.inverted);
        this.show();
      },
      narrower: () => widen(-WINDOW_STEP),
      wider: () => widen(WINDOW_STEP),
      lower: () => raise(-WINDOW_STEP),
      higher: () => raise(WINDOW_STEP),
      ...Object.fromEntries(presets),
    };
  }

  show() {
    const { stage } = this;
    setPressed(byId('truth'), stage.show.truth);
    setPressed(byId('prediction'), stage.show.prediction);
    setPressed(byId('invert'), stage.inverted);
    byId('center').value = stage.window.center;
    byId('width').value = stage.window.width;
    byId('preset').value = this.preset;
    byId('zoom').textContent = `${stage.zoom.toFixed(stage.zoom < 10 ? 1 : 0)}×`;
  }
}
