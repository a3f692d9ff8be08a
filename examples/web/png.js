// Write PNG files row by row. Unlike a canvas, this keeps the colors of translucent pixels, has no
// limit of size and needs no memory for the pixels of the whole result.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const RGB = 2;
const RGBA = 6;
const PAETH = 4;
const FOLDED = 2 ** 24; // bytes; a browser may keep blobs on disk

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

export class PngWriter {
  /** 8 bits per channel; `channels` is 3 (RGB) or 4 (RGBA, straight alpha); sRGB. */
  constructor(width, height, channels) {
    this.channels = channels;
    this.above = new Uint8Array(width * channels);
    this.parts = [Uint8Array.from(SIGNATURE)];
    this.size = 0;
    const header = new DataView(new ArrayBuffer(13));
    header.setUint32(0, width);
    header.setUint32(4, height);
    header.setUint8(8, 8);
    header.setUint8(9, channels === 4 ? RGBA : RGB);
    this.#addChunk("IHDR", new Uint8Array(header.buffer));
    this.#addChunk("sRGB", Uint8Array.of(0));
    const { readable, writable } = new CompressionStream("deflate");
    this.writer = writable.getWriter();
    this.compressed = this.#collect(readable.getReader());
  }

  /** Add rows of pixels, one after another. */
  async add(pixels) {
    const length = this.above.length;
    for (let start = 0; start < pixels.length; start += length) {
      const row = pixels.slice(start, start + length);
      await this.writer.ready;
      this.writer.write(filter(row, this.above, this.channels)).catch(() => {}); // see finish
      this.above = row;
    }
  }

  /** The file. */
  async finish() {
    await this.writer.close();
    await this.compressed;
    this.#addChunk("IEND", new Uint8Array(0));
    return new Blob(this.parts, { type: "image/png" });
  }

  async #collect(reader) {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      this.#addChunk("IDAT", value);
    }
  }

  #addChunk(name, data) {
    const head = new DataView(new ArrayBuffer(8));
    head.setUint32(0, data.length);
    [...name].forEach((letter, i) => head.setUint8(4 + i, letter.charCodeAt(0)));
    const tail = new DataView(new ArrayBuffer(4));
    tail.setUint32(0, crc(crc(0, new Uint8Array(head.buffer, 4)), data));
    this.parts.push(head.buffer, data, tail.buffer);
    this.size += data.length;
    if (this.size > FOLDED) {
      this.parts = [new Blob(this.parts)];
      this.size = 0;
    }
  }
}

/** The differences from the best of the left, upper and upper left neighbor (PNG, section 9.4). */
function filter(row, above, channels) {
  const filtered = new Uint8Array(row.length + 1);
  filtered[0] = PAETH;
  for (let i = 0; i < row.length; i++) {
    const a = i < channels ? 0 : row[i - channels];
    const b = above[i];
    const c = i < channels ? 0 : above[i - channels];
    const [toA, toB, toC] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    filtered[i + 1] = row[i] - (toA <= toB && toA <= toC ? a : toB <= toC ? b : c);
  }
  return filtered;
}

function crc(before, bytes) {
  let value = ~before;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
