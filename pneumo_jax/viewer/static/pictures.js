/** The films' grey values, loaded when they are wanted and kept for a while. */

const KEPT = 8;

/**
 * @typedef {object} Picture
 * @property {number} width in pixels.
 * @property {number} height in pixels.
 * @property {Uint8Array} grey row by row.
 */

export class Pictures {
  constructor() {
    /** @type {Map<number, {picture: Promise<Picture>, stop: AbortController, done: boolean}>} */
    this.entries = new Map();
  }

  /**
   * @param {number} index of the film.
   * @returns {Promise<Picture>} rejected with an Error that says why there is none.
   */
  get(index) {
    let entry = this.entries.get(index);
    if (!entry) {
      const stop = new AbortController();
      entry = { stop, done: false, picture: load(index, stop.signal) };
      const finish = () => (entry.done = true);
      entry.picture.then(finish, finish);
    }
    // Last in the map is what was wanted last.
    this.entries.delete(index);
    this.entries.set(index, entry);
    for (const oldest of [...this.entries.keys()].slice(0, -KEPT)) this.drop(oldest);
    return entry.picture;
  }

  /** Stops what is still on its way and no longer wanted. */
  keepOnly(wanted) {
    for (const [index, entry] of [...this.entries]) {
      if (!entry.done && !wanted.includes(index)) this.drop(index);
    }
  }

  drop(index) {
    this.entries.get(index).stop.abort();
    this.entries.delete(index);
  }
}

async function load(index, signal) {
  const response = await fetch(`pictures/${index}.png`, { signal });
  if (!response.ok) throw new Error(await reasonOf(response));
  const options = { colorSpaceConversion: 'none' };
  const bitmap = await createImageBitmap(await response.blob(), options);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', {
    willReadFrequently: true,
  });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i += 1) grey[i] = data[4 * i];
  return { width, height, grey };
}

async function reasonOf(response) {
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json');
  return isJson ? (await response.json()).reason : `the server answers ${response.status}`;
}
