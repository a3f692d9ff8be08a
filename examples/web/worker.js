// Upscale one image after another, off the page's thread.
//
// Takes { file, model, device, threads, tileSize, maxShown }; answers with messages
// { kind: "progress", done, total }, { kind: "done", … } or { kind: "error", message }. To cancel,
// the page ends the worker.

import { removeHalo } from "./alpha.js";
import { Model, UserError } from "./model.js";
import { PngWriter } from "./png.js";
import { Source } from "./source.js";
import { Band, spans, weights } from "./tiling.js";

const BAND_BYTES = 2 ** 27; // of a row of tiles

let loading = null; // of the model; it stays for the next image

onmessage = async ({ data }) => {
  try {
    loading ??= Model.load(data.model, data.device, data.threads);
    const model = await loading.catch((error) => {
      loading = null;
      throw error;
    });
    postMessage({ kind: "done", ...(await upscale(data, model)) });
  } catch (error) {
    const fatal = !(error instanceof UserError); // the runtime may be out of order
    postMessage({ kind: "error", message: explain(error, data), fatal });
  }
};

async function upscale({ file, tileSize, maxShown }, model) {
  const began = performance.now();
  const source = await Source.open(file, model.overlap).catch((error) => {
    if (error.name !== "InvalidStateError") throw error;
    throw new UserError(
      `${file.name} is damaged or not an image that this browser reads; convert it to PNG or JPEG`,
    );
  });
  try {
    const crop = model.overlap * model.scale;
    const width = source.width * model.scale - 2 * crop;
    const height = source.height * model.scale - 2 * crop;
    const shown = middle(width, height, maxShown);
    const whole = { left: 0, top: 0, width, height };
    const outputs = [whole, shown].filter(Boolean).map((part) => new Output(part, crop, source));
    for await (const band of bands(source, model, tileSize)) {
      for (const output of outputs) await output.add(band);
    }
    const [result, part] = await Promise.all(outputs.map((output) => output.writer.finish()));
    const seconds = (performance.now() - began) / 1000;
    const { name, device } = model;
    return { result, part, shown: shown ?? whole, width, height, seconds, name, device };
  } finally {
    source.close();
  }
}

/** The middle part of a result that is too large to show; null if it is not. */
function middle(width, height, maxPixels) {
  const factor = Math.sqrt(maxPixels / (width * height));
  if (factor >= 1) return null;
  const size = { width: Math.ceil(width * factor), height: Math.ceil(height * factor) };
  return {
    ...size,
    left: Math.floor((width - size.width) / 2),
    top: Math.floor((height - size.height) / 2),
  };
}

/** A PNG file of a part of the result. */
class Output {
  constructor(part, crop, source) {
    this.channels = source.hasAlpha ? 4 : 3;
    this.part = { ...part, left: part.left + crop, top: part.top + crop };
    this.writer = new PngWriter(part.width, part.height, this.channels);
  }

  async add({ top, columns, pixels }) {
    const length = columns * this.channels;
    const from = this.part.left * this.channels;
    for (let start = 0, y = top; start < pixels.length; start += length, y++) {
      if (y < this.part.top || y >= this.part.top + this.part.height) continue;
      await this.writer.add(
        pixels.slice(start + from, start + from + this.part.width * this.channels),
      );
    }
  }
}

/** Rows of the result, with its borders, from top to bottom. */
async function* bands(source, model, tileSize) {
  const { scale, overlap } = model;
  const channels = source.hasAlpha ? 4 : 3;
  const rowBytes = source.width * scale * scale * channels * 4;
  const columns = spans(source.width, tileSize, overlap);
  const rows = spans(source.height, Math.min(tileSize, Math.floor(BAND_BYTES / rowBytes)), overlap);
  const band = new Band(source.width * scale, rows[0].stop * scale, channels);
  const total = rows.length * columns.length;
  let done = 0;
  postMessage({ kind: "progress", done, total });
  for (const [i, row] of rows.entries()) {
    const strip = source.strip(row.start, row.stop);
    for (const column of columns) {
      const tile = cut(strip, source.width, column, row.stop - row.start);
      const planes = await superResolve(tile, model, channels);
      const [across, down] = [weights(column, scale), weights(row, scale)];
      planes.forEach((plane, channel) => {
        band.add(plane, column.start * scale, row.start * scale, across, down, channel);
      });
      postMessage({ kind: "progress", done: ++done, total });
    }
    const top = band.top;
    const bottom = (rows[i + 1]?.start ?? source.height) * scale;
    yield { top, columns: band.columns, pixels: band.take(bottom) };
  }
}

/** A tile of a strip: its size, and its planes red, green, blue and alpha in [0, 1]. */
function cut(strip, stripWidth, { start, stop }, height) {
  const width = stop - start;
  const values = new Float32Array(4 * width * height);
  const planes = split(values, 4);
  for (let y = 0, i = 0; y < height; y++) {
    let at = 4 * (y * stripWidth + start);
    for (let x = 0; x < width; x++, i++, at += 4) {
      for (let c = 0; c < 4; c++) planes[c][i] = strip[at + c] / 255;
    }
  }
  return { width, height, color: values.subarray(0, 3 * width * height), alpha: planes[3] };
}

function split(values, count) {
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => values.subarray(i * size, (i + 1) * size));
}

/** The three or four planes of a super-resolved tile. */
async function superResolve({ width, height, color, alpha }, model, channels) {
  const planes = split(await model.run(color, width, height), 3);
  if (channels === 3) return planes;
  // Alpha that is opaque or transparent everywhere need not be computed.
  if ((alpha[0] === 0 || alpha[0] === 1) && alpha.every((value) => value === alpha[0])) {
    return [...planes, new Float32Array(planes[0].length).fill(alpha[0])];
  }
  const gray = new Float32Array(3 * alpha.length);
  for (let c = 0; c < 3; c++) gray.set(alpha, c * alpha.length);
  const [red, green, blue] = split(await model.run(gray, width, height), 3);
  const opacity = red.map((value, i) => (value + green[i] + blue[i]) / 3);
  removeHalo(opacity, alpha, width, height, model.scale);
  return [...planes, opacity];
}

function explain(error, { file, tileSize }) {
  const message = String(error?.message ?? error).split("\n")[0];
  if (error instanceof UserError) return message;
  if (/alloc|memory|buffer size/i.test(message)) {
    return `Not enough memory: close other tabs, or add ?tile=${Math.floor(tileSize / 2)} to the address (${message})`;
  }
  return `${file.name}: ${message}`;
}
