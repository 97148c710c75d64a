// The waveform of a stretch of the call. Only what is in view is drawn: an hour has 180,000 peaks a side, a screen a thousand columns.
export const PEAK_MS = 20;
const HEIGHT = 44;

export class Wave {
  #sides;

  /** `bytes`: the caller's peaks, then the assistant's; `offset` is where they begin on the call's clock, `duration` where it ends. */
  constructor(place, bytes, offset, duration) {
    const half = bytes.length / 2;
    const lead = Math.round(offset / PEAK_MS);
    const count = Math.max(half + lead, Math.ceil(duration / PEAK_MS));
    this.#sides = [bytes.subarray(0, half), bytes.subarray(half)].map((side) => {
      const canvas = document.createElement("canvas");
      canvas.ariaHidden = "true"; // the turn list says the same
      const peaks = new Uint8Array(count);
      peaks.set(side.subarray(Math.max(0, -lead)), Math.max(0, lead));
      return { canvas, peaks, loudest: peaks.reduce((most, peak) => Math.max(most, peak), 1), colour: "" };
    });
    place.replaceChildren(...this.#sides.map((side) => side.canvas));
    this.paint();
  }

  /** Take the theme's colours. They are seen from the next drawing on. */
  paint() {
    const theme = getComputedStyle(document.documentElement);
    for (const [place, name] of ["--listening", "--speaking"].entries()) this.#sides[place].colour = theme.getPropertyValue(name);
  }

  /** Draw from…to ms, `width` pixels wide. */
  draw(from, to, width) {
    const ratio = Math.max(1, devicePixelRatio);
    for (const { canvas, peaks, loudest, colour } of this.#sides) {
      canvas.width = Math.round(width * ratio); // to set it clears it, too
      canvas.height = Math.round(HEIGHT * ratio);
      canvas.style.width = `${width}px`;
      const context = canvas.getContext("2d");
      context.fillStyle = colour;
      context.fill(outline(peaks, from / PEAK_MS, to / PEAK_MS, canvas, loudest));
    }
  }
}

/** A side's shape: the loudest peak of each column, the same above and below the middle. */
function outline(peaks, from, to, { width, height }, loudest) {
  const middle = height / 2;
  const perPeak = width / (to - from);
  const points = [];
  let column = -Infinity;
  let peak = 0;
  for (let place = Math.max(0, Math.floor(from) - 1); place <= Math.min(peaks.length, Math.ceil(to) + 1); place += 1) {
    const x = Math.round((place - from) * perPeak);
    if (x > column) {
      if (column > -Infinity) points.push([column, Math.round((peak / loudest) * middle) || 1]); // silence is a line
      column = x;
      peak = 0;
    }
    if (peaks[place] > peak) peak = peaks[place];
  }
  const shape = new Path2D();
  shape.moveTo(points[0]?.[0] ?? 0, middle);
  for (const [x, loud] of points) shape.lineTo(x, middle - loud);
  for (const [x, loud] of points.reverse()) shape.lineTo(x, middle + loud);
  shape.closePath();
  return shape;
}
