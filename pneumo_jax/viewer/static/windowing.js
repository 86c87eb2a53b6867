/** From grey values to what is seen: window and level, as at any viewer of films. */

/** @typedef {{center: number, width: number}} Window in grey values */

export const FULL = { center: 127.5, width: 255 };
const NARROWEST = 2;
const WIDEST = 510;
/** The share of a film's pixels that its own window leaves out at each end. */
const LEFT_OUT = 0.01;

/** Windows by name; `of` makes one for a picture. */
export const PRESETS = {
  full: { name: 'Full range', of: () => FULL },
  film: { name: "Film's own range", of: (picture) => rangeOf(picture) },
  lungs: { name: 'Dark parts (lungs)', of: () => ({ center: 85, width: 150 }) },
  dense: { name: 'Bright parts (behind the heart)', of: () => ({ center: 180, width: 130 }) },
};

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** The nearest window that there may be. */
export const allowed = ({ center, width }) => ({
  center: clamp(center, 0, 255),
  width: clamp(width, NARROWEST, WIDEST),
});

/** What each of 256 grey values is shown as, 0 to 255. */
export function shades({ center, width }, inverted) {
  return Uint8Array.from({ length: 256 }, (_, grey) => {
    const shade = clamp(Math.round(255 * ((grey - center) / width + 0.5)), 0, 255);
    return inverted ? 255 - shade : shade;
  });
}

function rangeOf(picture) {
  const counts = new Uint32Array(256);
  for (const grey of picture.grey) counts[grey] += 1;
  const reached = (share) => {
    let sum = 0;
    return counts.findIndex((count) => (sum += count) > share * picture.grey.length);
  };
  const [low, high] = [reached(LEFT_OUT), reached(1 - LEFT_OUT)];
  return allowed({ center: (low + high) / 2, width: high - low });
}
