/** The film on display: its grey values under a window, boxes over it, zoom and pan. */

import { oncePerFrame } from './dom.js';
import { FULL, allowed, shades } from './windowing.js';

// Of pneumo_jax.overlay.
const TRUTH_COLOUR = '#e63935';
const PREDICTION_COLOUR = '#4285f4';
const FRAME_COLOUR = '#39424e';
const LINE = 1.75;
const TAG_HEIGHT = 17;
const MARGIN = 10;
const FARTHEST = 0.5;
const NEAREST = 40;
/** Grey values of a window by a drag over one pixel. */
const PER_PIXEL = 0.75;

/**
 * @typedef {object} ShownFilm
 * @property {number} index
 * @property {number} width of the film in its own pixels.
 * @property {number} height
 * @property {number[][]} truths boxes [x, y, width, height] in film pixels.
 * @property {{box: number[], score: number}[]} drawn
 */

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} options
   * @param {boolean} options.square pictures are padded to squares.
   * @param {() => void} options.changed called after the mouse has moved the zoom.
   * @param {(window: import('./windowing.js').Window) => void} options.windowed gets the window
   *   that the mouse asks for.
   * @param {(text: string) => void} options.pointed gets what is under the pointer.
   */
  constructor(canvas, { square, changed, windowed, pointed }) {
    Object.assign(this, { canvas, square, changed, windowed, pointed });
    this.context = canvas.getContext('2d');
    /** @type {ShownFilm | null} */
    this.film = null;
    this.picture = null;
    this.windowedPicture = new OffscreenCanvas(1, 1);
    this.window = FULL;
    this.inverted = false;
    this.show = { truth: true, prediction: true };
    this.draw = oncePerFrame(() => this.drawNow());
    this.reset();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.listen();
  }

  /** @param {ShownFilm} film that is drawn without its grey values until `setPicture`. */
  setFilm(film) {
    const isOther = this.film?.index !== film.index;
    this.film = film;
    if (isOther) {
      this.picture = null;
      this.reset();
    }
    this.draw();
  }

  /** @param {import('./pictures.js').Picture} picture of the film. */
  setPicture(picture) {
    this.picture = picture;
    this.applyWindow();
  }

  setWindow(window, inverted = this.inverted) {
    this.window = allowed(window);
    this.inverted = inverted;
    this.applyWindow();
  }

  /** The whole film, in the middle. */
  reset() {
    this.zoom = 1;
    this.offset = { x: 0, y: 0 };
    this.draw();
  }

  /**
   * Zooms about a point of the canvas, by default its middle.
   * @param {number} factor
   */
  zoomBy(factor, x = this.size.width / 2, y = this.size.height / 2) {
    const before = this.toFilm(x, y);
    this.zoom = Math.min(NEAREST, Math.max(FARTHEST, this.zoom * factor));
    const after = this.toCanvas(before.x, before.y);
    this.offset.x += x - after.x;
    this.offset.y += y - after.y;
    this.draw();
  }

  /** In CSS pixels. */
  get size() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    return { width, height };
  }

  /** CSS pixels to a film pixel. */
  get scale() {
    const { width, height } = this.size;
    const fit = Math.min(
      (width - 2 * MARGIN) / this.film.width,
      (height - 2 * MARGIN) / this.film.height,
    );
    return this.zoom * Math.max(fit, 1e-6);
  }

  toCanvas(x, y) {
    const { width, height } = this.size;
    return {
      x: width / 2 + this.offset.x + (x - this.film.width / 2) * this.scale,
      y: height / 2 + this.offset.y + (y - this.film.height / 2) * this.scale,
    };
  }

  toFilm(x, y) {
    const { width, height } = this.size;
    return {
      x: (x - width / 2 - this.offset.x) / this.scale + this.film.width / 2,
      y: (y - height / 2 - this.offset.y) / this.scale + this.film.height / 2,
    };
  }

  /** Where the picture lies, in film pixels; as in `pneumo_jax.data.geometry`. */
  get pictureBox() {
    const { width, height } = this.film;
    if (!this.square) return [0, 0, width, height];
    const side = Math.max(width, height);
    return [-Math.floor((side - width) / 2), -Math.floor((side - height) / 2), side, side];
  }

  resize() {
    const { width, height } = this.size;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.drawNow();
  }

  applyWindow() {
    if (!this.picture) return;
    const { width, height, grey } = this.picture;
    const shade = shades(this.window, this.inverted);
    const pixels = new ImageData(width, height);
    const { data } = pixels;
    for (let i = 0, k = 0; i < grey.length; i += 1, k += 4) {
      data[k] = data[k + 1] = data[k + 2] = shade[grey[i]];
      data[k + 3] = 255;
    }
    this.windowedPicture = new OffscreenCanvas(width, height);
    this.windowedPicture.getContext('2d').putImageData(pixels, 0, 0);
    this.draw();
  }

  drawNow() {
    const { context, film } = this;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.fillStyle = '#000';
    context.fillRect(0, 0, this.size.width, this.size.height);
    if (!film) return;
    if (this.picture) this.drawPicture();
    else this.outline([0, 0, film.width, film.height], FRAME_COLOUR);
    if (this.show.truth) film.truths.forEach((box) => this.outline(box, TRUTH_COLOUR));
    if (this.show.prediction) {
      film.drawn.forEach(({ box }) => this.outline(box, PREDICTION_COLOUR));
      film.drawn.forEach(({ box, score }) => this.tag(box, score.toFixed(2)));
    }
    this.canvas.dataset.drawn = this.picture ? String(film.index) : '';
  }

  drawPicture() {
    const [x, y, width, height] = this.pictureBox;
    const corner = this.toCanvas(x, y);
    this.context.save();
    // The padding of a square is no part of the film.
    const film = this.toCanvas(0, 0);
    const size = [this.film.width * this.scale, this.film.height * this.scale];
    this.context.beginPath();
    this.context.rect(film.x, film.y, ...size);
    this.context.clip();
    this.context.imageSmoothingQuality = 'high';
    const target = [width * this.scale, height * this.scale];
    this.context.drawImage(this.windowedPicture, corner.x, corner.y, ...target);
    this.context.restore();
  }

  /** A box with lines as thin as at any other zoom, dark beside them so that they show on white. */
  outline([x, y, width, height], colour) {
    const { context } = this;
    const corner = this.toCanvas(x, y);
    for (const [style, line] of [['rgb(0 0 0 / 55%)', LINE + 1.5], [colour, LINE]]) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.strokeRect(corner.x, corner.y, width * this.scale, height * this.scale);
    }
  }

  tag([x, y], text) {
    const { context } = this;
    const corner = this.toCanvas(x, y);
    context.font = '600 12px system-ui, "DejaVu Sans", sans-serif';
    const width = context.measureText(text).width + 8;
    const top = corner.y >= TAG_HEIGHT ? corner.y - TAG_HEIGHT : corner.y;
    context.fillStyle = PREDICTION_COLOUR;
    context.fillRect(corner.x - LINE / 2, top, width, TAG_HEIGHT);
    context.fillStyle = '#fff';
    context.textBaseline = 'middle';
    context.fillText(text, corner.x + 4 - LINE / 2, top + TAG_HEIGHT / 2 + 0.5);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerdown', (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener('pointermove', (event) => this.move(event));
    canvas.addEventListener('pointerleave', () => this.pointed(''));
    canvas.addEventListener('dblclick', () => {
      this.reset();
      this.changed();
    });
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        if (!this.film) return;
        this.zoomBy(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
        this.changed();
      },
      { passive: false },
    );
  }

  /** Pans with the left button, windows with the right one, else says what is there. */
  move(event) {
    if (!this.film) return;
    const { movementX, movementY, buttons } = event;
    if (buttons & 2) {
      const { center, width } = this.window;
      this.windowed({
        center: center + movementY * PER_PIXEL,
        width: width + movementX * PER_PIXEL,
      });
    } else if (buttons & 1) {
      this.offset.x += movementX;
      this.offset.y += movementY;
      this.draw();
    }
    this.pointed(this.textAt(event.offsetX, event.offsetY));
  }

  textAt(canvasX, canvasY) {
    const { x, y } = this.toFilm(canvasX, canvasY);
    const { film, picture } = this;
    if (x < 0 || y < 0 || x >= film.width || y >= film.height) return '';
    const place = `x ${Math.floor(x)}  y ${Math.floor(y)}`;
    if (!picture) return place;
    const [left, top, width, height] = this.pictureBox;
    const column = Math.floor(((x - left) / width) * picture.width);
    const row = Math.floor(((y - top) / height) * picture.height);
    return `${place}  grey ${picture.grey[row * picture.width + column]}`;
  }
}
