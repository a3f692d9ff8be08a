// Load a network that `torch-sr export` wrote, and run it by ONNX Runtime.

const RUNTIME = "./node_modules/onnxruntime-web/dist/";

/** An error whose message is for the user. */
export class UserError extends Error {}

export class Model {
  /**
   * Load the file at `url`.
   *
   * `device` is "webgpu", "wasm" or "auto": WebGPU if there is any. Threads need a page that is
   * isolated from other origins; see server.py.
   */
  static async load(url, device, threads) {
    const model = new Model();
    const bytes = await download(url);
    const { scale, channels, overlap, tiling, name } = readMetadata(bytes);
    model.scale = Number(scale);
    model.channels = Number(channels);
    model.overlap = Number(overlap);
    model.name = name;
    if (!(model.scale >= 1 && model.overlap >= 0 && [1, 3].includes(model.channels))) {
      throw new UserError(
        `${url} has no scale, overlap and channels (1 or 3); write it by torch-sr export`,
      );
    }
    if (tiling && tiling !== "free") {
      throw new UserError(`${url} needs images as a whole; export one that works in tiles`);
    }
    await model.#start(bytes, device, threads);
    checkInput(model.session, url);
    return model;
  }

  /** Planes `(3, height, width)` in [0, 1] to planes `scale` times as high and wide. */
  async run(planes, width, height) {
    // For a network of one channel, the three channels are three images.
    const shape = this.channels === 1 ? [3, 1, height, width] : [1, 3, height, width];
    const input = new this.ort.Tensor("float32", planes, shape);
    const results = await this.session.run({ [this.session.inputNames[0]]: input });
    const result = results[this.session.outputNames[0]];
    const values = await result.getData();
    result.dispose();
    return values;
  }

  async #start(bytes, device, threads) {
    const adapter = device === "wasm" ? null : await findGpu(device === "webgpu");
    if (device === "webgpu" && !adapter) throw new UserError("This browser has no WebGPU here");
    this.ort = await importRuntime(adapter ? "webgpu" : "wasm");
    this.ort.env.logLevel = "error";
    this.ort.env.wasm.numThreads = self.crossOriginIsolated ? threads : 1;
    const devices = adapter ? (device === "auto" ? ["webgpu", "wasm"] : ["webgpu"]) : ["wasm"];
    for (const each of devices) {
      try {
        this.session = await this.ort.InferenceSession.create(bytes, {
          executionProviders: [each],
        });
        this.device = each === "webgpu" ? "WebGPU" : describe(this.ort.env.wasm.numThreads);
        return;
      } catch (error) {
        if (each === devices.at(-1)) throw error;
      }
    }
  }
}

/** One that is emulated by the processor is slower than WebAssembly. */
async function findGpu(emulated) {
  const adapter = await navigator.gpu?.requestAdapter();
  return adapter?.info?.isFallbackAdapter && !emulated ? null : adapter;
}

function describe(threads) {
  return `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new UserError(
      `${url}: HTTP status ${response.status}; write it by "torch-sr export compact-x4 ${url}"`,
    );
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function importRuntime(name) {
  try {
    return await import(`${RUNTIME}ort.${name}.bundle.min.mjs`);
  } catch {
    throw new UserError(`onnxruntime-web is not installed; run "npm install"`);
  }
}

function checkInput(session, url) {
  const { type, shape } = session.inputMetadata[0];
  if (type !== "float32") {
    throw new UserError(`${url} takes ${type}; write it by torch-sr export without --half`);
  }
  if (shape.slice(2).some((size) => typeof size === "number")) {
    throw new UserError(
      `${url} takes images of ${shape[3]} by ${shape[2]} pixels only; ` +
        "write it by torch-sr export with --dynamic",
    );
  }
}

const METADATA_PROPS = 14; // a field of ModelProto in onnx.proto; ONNX Runtime does not show it

/** The metadata of an ONNX file: its keys and values. */
export function readMetadata(bytes) {
  const properties = {};
  for (const [number, value] of fields(bytes)) {
    if (number !== METADATA_PROPS) continue;
    const entry = Object.fromEntries(fields(value)); // 1 is the key, 2 the value
    properties[text(entry[1])] = text(entry[2]);
  }
  return properties;
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

/** The numbers and contents of the fields of a protobuf message; numbers are skipped. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) break;
    }
    return value;
  };
  const sizes = { 1: 8, 5: 4 };
  while (at < bytes.length) {
    const tag = varint();
    const type = tag & 7;
    if (type === 0) varint();
    else if (type === 2) {
      const length = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (type in sizes) at += sizes[type];
    else return; // not a protobuf message
  }
}
