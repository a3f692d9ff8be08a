// The page: choose an image, show progress, compare and download the result.

const MODEL = "model.onnx";
const MAX_PIXELS = 40e6; // of the original; the result has scale * scale times as many
const MAX_SHOWN = 32e6; // pixels of the result; of a larger one, the middle part is shown

const $ = (id) => document.getElementById(id);
let worker = null; // it keeps the model for the next image
let working = false;

$("file").addEventListener("change", () => {
  const files = [...$("file").files];
  $("file").value = ""; // so that the same file can be chosen again
  start(files);
});
document.addEventListener("paste", (event) => start([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  start([...event.dataTransfer.files]);
});
$("cancel").addEventListener("click", () => {
  stop();
  $("status").textContent = "Canceled.";
  $("file").focus();
});

async function start(files) {
  const [file] = files;
  if (!file) return;
  stop();
  $("error").textContent = "";
  $("status").textContent = files.length > 1 ? `Only ${file.name} is enlarged, one at a time.` : "";
  $("result").hidden = true;
  showOriginal(file);
  let settings;
  try {
    settings = readSettings();
    await checkSize(file);
  } catch (error) {
    return fail(error.message);
  }
  working = true;
  $("work").hidden = false;
  showProgress("Loading the model");
  worker ??= makeWorker();
  worker.onmessage = ({ data }) => answers[data.kind](data, file);
  worker.postMessage({ file, model: MODEL, ...settings });
}

/** Settings in the address, such as ?device=wasm&threads=2&tile=96. */
function readSettings() {
  const given = new URLSearchParams(location.search);
  const device = given.get("device") ?? "auto";
  if (!["auto", "webgpu", "wasm"].includes(device)) {
    throw new Error(`device=${device}: choose auto, webgpu or wasm`);
  }
  const number = (name, otherwise) => {
    const value = given.get(name) ?? otherwise;
    if (/^[1-9]\d*$/.test(value)) return Number(value);
    throw new Error(`${name}=${value}: choose a whole number, 1 or more`);
  };
  return {
    device,
    threads: number("threads", Math.min(8, navigator.hardwareConcurrency || 1)),
    tileSize: number("tile", 160),
    maxShown: number("shown", MAX_SHOWN),
  };
}

const answers = {
  progress: ({ done, total }) =>
    showProgress(`Tile ${Math.min(done + 1, total)} of ${total}`, done / total),
  done: (data, file) => {
    working = false;
    $("work").hidden = true;
    showResult(data, file);
  },
  error: ({ message, fatal }) => {
    if (fatal) stop(true);
    fail(message);
  },
};

function makeWorker() {
  const made = new Worker("worker.js", { type: "module" });
  made.onerror = (event) => {
    stop(true);
    fail(event.message ?? "worker.js cannot be loaded; reload the page");
  };
  return made;
}

/** End the work on an image; the tile that is computed cannot be stopped otherwise. */
function stop(always = false) {
  if (working || always) {
    worker?.terminate();
    worker = null;
  }
  working = false;
  $("work").hidden = true;
}

function fail(message) {
  working = false;
  $("work").hidden = true;
  $("status").textContent = "";
  $("error").textContent = message;
}

function showProgress(step, share) {
  $("step").textContent = step;
  if (share === undefined) $("progress").removeAttribute("value");
  else $("progress").value = share;
}

function showOriginal(file) {
  URL.revokeObjectURL($("before").src);
  $("before").src = URL.createObjectURL(file);
}

/** Refuse what is not an image, or too large, before its pixels are decoded. */
async function checkSize(file) {
  const image = $("before");
  await new Promise((resolve) => {
    image.onload = image.onerror = resolve;
  });
  const { naturalWidth: width, naturalHeight: height } = image;
  if (!width || !height) {
    throw new Error(
      `${file.name} is damaged or not an image that this browser reads; convert it to PNG or JPEG`,
    );
  }
  if (width * height > MAX_PIXELS) {
    throw new Error(
      `${file.name} has ${width} by ${height} pixels; choose one with at most ${MAX_PIXELS / 1e6} million`,
    );
  }
}

function showResult({ result, part, shown, width, height, seconds, name, device }, file) {
  const [original, ratio] = [$("before"), window.devicePixelRatio];
  const { naturalWidth, naturalHeight } = original;
  for (const link of [$("after").src, $("download").href]) URL.revokeObjectURL(link);
  $("download").href = URL.createObjectURL(result);
  $("download").download = `${file.name.replace(/\.[^.]*$/, "") || "image"}_sr.png`;
  $("after").src = part ? URL.createObjectURL(part) : $("download").href;
  $("part").hidden = !part;
  // One pixel of the result is one pixel of the screen.
  place($("stage"), { ...shown, left: 0, top: 0 }, ratio);
  place($("after"), { ...shown, left: 0, top: 0 }, ratio);
  place(original, { left: -shown.left, top: -shown.top, width, height }, ratio);
  $("stage").style.setProperty("--hidden", `${shown.left / ratio}px`);
  $("result").hidden = false;
  $("view").scrollTo(
    ($("view").scrollWidth - $("view").clientWidth) / 2,
    ($("view").scrollHeight - $("view").clientHeight) / 2,
  );
  divide();
  $("status").textContent =
    `${file.name}: from ${naturalWidth} × ${naturalHeight} to ${width} × ${height} pixels in ` +
    `${seconds.toFixed(1)} s (${name ?? MODEL}, ${device}).`;
}

function place(element, { left, top, width, height }, ratio) {
  element.style.left = `${left / ratio}px`;
  element.style.top = `${top / ratio}px`;
  element.style.width = `${width / ratio}px`;
  element.style.height = `${height / ratio}px`;
}

/** Show the original left of the divider, and the result right of it. */
function divide() {
  const [share, view, thumb] = [$("share"), $("view"), 44];
  const x = thumb / 2 + (share.value / 100) * (share.clientWidth - thumb); // the thumb's middle
  $("divider").style.left = `${x - 1}px`;
  $("stage").style.setProperty("--split", `${view.scrollLeft + x}px`);
  share.setAttribute("aria-valuetext", `${share.value} % original`);
}

$("share").addEventListener("input", divide);
$("view").addEventListener("scroll", divide);
window.addEventListener("resize", divide);
