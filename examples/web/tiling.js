// The geometry of tiles, as in src/torch_sr/tiling.py: positions, overlap and blending weights.
//
// Neighboring tiles share 2 * overlap pixels. They are cross-faded over `overlap` pixels in the
// middle of these; the pixels nearer to a tile's edge, which are the least accurate, are not used.

/** Cover `length` pixels with the fewest equal tiles of at most `tileSize`. */
export function spans(length, tileSize, overlap) {
  const largest = Math.max(tileSize, 4 * overlap + 1);
  if (length <= largest) {
    return [{ start: 0, stop: length, before: -Infinity, after: Infinity, fade: 0 }];
  }
  const shared = 2 * overlap;
  const count = Math.ceil((length - shared) / (largest - shared));
  const size = Math.ceil((length + (count - 1) * shared) / count);
  const starts = Array.from({ length: count }, (_, i) =>
    Math.floor((i * (length - size)) / (count - 1)),
  );
  const seams = starts.slice(1).map((after, i) => (after + starts[i] + size) / 2);
  return starts.map((start, i) => ({
    start,
    stop: start + size,
    before: seams[i - 1] ?? -Infinity,
    after: seams[i] ?? Infinity,
    fade: overlap,
  }));
}

/** Weights in [0, 1] of a super-resolved tile along one axis; those of all tiles sum to 1. */
export function weights(span, scale) {
  const width = Math.max(span.fade * scale, 1);
  const ramp = (center, seam) => Math.min(1, Math.max(0, (center - seam * scale) / width + 0.5));
  return Float32Array.from({ length: (span.stop - span.start) * scale }, (_, i) => {
    const center = span.start * scale + i + 0.5;
    return ramp(center, span.before) - ramp(center, span.after);
  });
}

/** Sums weighted tiles, and returns rows once no later tile changes them. */
export class Band {
  /** `columns` pixels wide, and as high as the highest tile; all in pixels of the result. */
  constructor(columns, rows, channels) {
    this.columns = columns;
    this.channels = channels;
    this.values = new Float32Array(columns * rows * channels);
    this.top = 0; // the row of the image that `values` begin with
  }

  /** Add one channel of a tile, `plane`, whose upper left pixel is at `left`, `top`. */
  add(plane, left, top, across, down, channel) {
    down.forEach((vertical, y) => {
      if (vertical === 0) return;
      let at = ((top - this.top + y) * this.columns + left) * this.channels + channel;
      const row = y * across.length;
      for (let x = 0; x < across.length; x++, at += this.channels) {
        this.values[at] += plane[row + x] * across[x] * vertical;
      }
    });
  }

  /** The rows before `bottom`, as bytes; the band then begins there. */
  take(bottom) {
    const count = (bottom - this.top) * this.columns * this.channels;
    const bytes = new Uint8ClampedArray(count); // it clamps and rounds
    for (let i = 0; i < count; i++) bytes[i] = this.values[i] * 255;
    this.values.copyWithin(0, count);
    this.values.fill(0, this.values.length - count);
    this.top = bottom;
    return bytes;
  }
}
