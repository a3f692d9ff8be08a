// Read an image strip by strip, mirrored beyond its borders, as src/torch_sr/inference/borders.py.
//
// Networks see zeros outside of an image, so their results are wrong at its borders.

import { REACH, bleed } from "./alpha.js";

export class Source {
  /** Decode a file and turn it upright; `border` pixels are added on each side. */
  static async open(file, border) {
    const source = new Source();
    source.bitmap = await createImageBitmap(file, { premultiplyAlpha: "none" });
    source.border = border;
    source.width = source.bitmap.width + 2 * border;
    source.height = source.bitmap.height + 2 * border;
    source.hasAlpha = file.type !== "image/jpeg" && source.#isTransparent();
    return source;
  }

  /** Rows `[start, stop)` with their borders: RGBA bytes. */
  strip(start, stop) {
    const margin = this.hasAlpha ? REACH : 0;
    const first = Math.max(0, start - margin);
    const last = Math.min(this.height, stop + margin);
    const rgba = this.#mirrored(first, last);
    if (this.hasAlpha) bleed(rgba, this.width, last - first);
    return rgba.subarray(4 * this.width * (start - first), 4 * this.width * (stop - first));
  }

  close() {
    this.bitmap.close();
  }

  #mirrored(first, last) {
    const { width, height } = this.bitmap;
    const rows = range(first, last).map((y) => mirror(y - this.border, height));
    const columns = range(0, this.width).map((x) => mirror(x - this.border, width));
    const top = rows.reduce((a, b) => Math.min(a, b));
    const bottom = rows.reduce((a, b) => Math.max(a, b)) + 1;
    const pixels = new Uint32Array(this.#read(top, bottom).buffer); // 4 bytes each
    const result = new Uint32Array(rows.length * this.width);
    rows.forEach((row, y) => {
      const from = (row - top) * width;
      columns.forEach((column, x) => {
        result[y * this.width + x] = pixels[from + column];
      });
    });
    return new Uint8Array(result.buffer);
  }

  #read(top, bottom) {
    const straight = this.hasAlpha ? readStraight(this.bitmap, top, bottom) : null;
    return straight ?? readOpaque(this.bitmap, top, bottom);
  }

  #isTransparent() {
    for (let top = 0; top < this.bitmap.height; top += 256) {
      const rgba = this.#read(top, Math.min(this.bitmap.height, top + 256));
      for (let i = 3; i < rgba.length; i += 4) if (rgba[i] < 255) return true;
    }
    return false;
  }
}

/** The index in `[0, length)` of a mirrored one; the edge is repeated. */
function mirror(index, length) {
  const inPeriod = ((index % (2 * length)) + 2 * length) % (2 * length);
  return Math.min(inPeriod, 2 * length - 1 - inPeriod);
}

function range(start, stop) {
  return Array.from({ length: stop - start }, (_, i) => start + i);
}

/** RGBA bytes of rows; of translucent pixels, the colors are rounded. */
function readOpaque(bitmap, top, bottom) {
  const canvas = new OffscreenCanvas(bitmap.width, bottom - top);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, -top);
  return context.getImageData(0, 0, bitmap.width, bottom - top).data;
}

/** The same by WebGL, which does not multiply colors by alpha; null if they are too wide for it. */
function readStraight(bitmap, top, bottom) {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  const [width, height] = [bitmap.width, bottom - top];
  if (!gl || width > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.pixelStorei(gl.UNPACK_SKIP_ROWS, top);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const failed = gl.getError() !== gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser allows few at a time
  return failed ? null : pixels;
}
