// Transparency, as in src/torch_sr/inference/transparency.py.

const RADII = [1, 2, 4, 8, 16];

/** Rows above and below a tile that `bleed` needs. */
export const REACH = 16;

/**
 * Give fully transparent pixels the mean color of the nearest visible ones, in place.
 *
 * Their own color is arbitrary, usually black, and would become a dark fringe.
 */
export function bleed(rgba, width, height) {
  let hidden = [];
  for (let i = 0; i < width * height; i++) if (rgba[4 * i + 3] === 0) hidden.push(i);
  if (hidden.length === 0 || hidden.length === width * height) return;
  const sums = integrals(rgba, width, height);
  for (const radius of RADII) {
    hidden = hidden.filter((i) => {
      const square = around(i % width, Math.floor(i / width), radius, width, height);
      const alpha = square(sums[3]);
      if (alpha === 0) return true;
      for (let c = 0; c < 3; c++) rgba[4 * i + c] = Math.round(square(sums[c]) / alpha);
      return false;
    });
  }
}

/** Integral images of the colors times alpha, and of alpha: `(height + 1) * (width + 1)` each. */
function integrals(rgba, width, height) {
  const sums = [0, 1, 2, 3].map(() => new Float64Array((width + 1) * (height + 1)));
  for (let c = 0; c < 4; c++) {
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0, row = 0; x < width; x++, i += 4) {
        row += rgba[i + 3] * (c < 3 ? rgba[i + c] : 1);
        sums[c][(y + 1) * (width + 1) + x + 1] = sums[c][y * (width + 1) + x + 1] + row;
      }
    }
  }
  return sums;
}

function around(x, y, radius, width, height) {
  const left = Math.max(0, x - radius);
  const right = Math.min(width, x + radius + 1);
  const top = Math.max(0, y - radius) * (width + 1);
  const bottom = Math.min(height, y + radius + 1) * (width + 1);
  return (sum) => sum[bottom + right] - sum[bottom + left] - sum[top + right] + sum[top + left];
}

/** Clip super-resolved opacity to the range of the 3 x 3 source pixels around, in place. */
export function removeHalo(opacity, alpha, width, height, scale) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [low, high] = range(alpha, x, y, width, height);
      for (let v = y * scale; v < (y + 1) * scale; v++) {
        for (let u = x * scale; u < (x + 1) * scale; u++) {
          const at = v * width * scale + u;
          opacity[at] = Math.min(high, Math.max(low, opacity[at]));
        }
      }
    }
  }
}

function range(alpha, x, y, width, height) {
  let low = 1;
  let high = 0;
  for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
    for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
      low = Math.min(low, alpha[v * width + u]);
      high = Math.max(high, alpha[v * width + u]);
    }
  }
  return [low, high];
}
