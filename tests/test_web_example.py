"""examples/web: a page that upscales in the browser gives what the command gives, in Chromium."""

import json
import re
import runpy
import shutil
import threading
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from skimage.data import chelsea

from torch_sr.exporting.records import export_records
from torch_sr.models.model import Model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.tiling import spans

onnx = pytest.importorskip("onnx")
helper = onnx.helper
FOLDER = Path(__file__).parents[1] / "examples" / "web"
FILES = ("index.html", "style.css", "server.py", *(path.name for path in FOLDER.glob("*.js")))
OVERLAP = 3
RUNTIME = "node_modules/onnxruntime-web/package.json"


@pytest.fixture(scope="module")
def packages():
    """The page's packages, which its README installs; .ci/run does so before the tests."""
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    if version(FOLDER / RUNTIME) != wanted:
        pytest.skip(f"needs onnxruntime-web {wanted}: run npm ci in examples/web")
    return FOLDER / "node_modules"


def version(package):
    return json.loads(package.read_text())["version"] if package.exists() else None


@pytest.fixture(scope="module")
def site(tmp_path_factory, packages):
    """The page as its README makes it, with a tiny network."""
    folder = tmp_path_factory.mktemp("web")
    for name in FILES:
        shutil.copy(FOLDER / name, folder)
    (folder / "node_modules").symlink_to(packages)
    write_network(folder / "model.onnx")
    return folder


def write_network(path):
    """A convolution and a pixel shuffle, with the records of ``torch-sr export``."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.1, (48, 3, 3, 3))
    weights[np.arange(48), np.arange(48) // 16, 1, 1] += 1
    network = helper.make_graph(
        [
            helper.make_node("Conv", ["lr", "weights"], ["features"], pads=[1, 1, 1, 1]),
            helper.make_node("DepthToSpace", ["features"], ["sr"], blocksize=4, mode="CRD"),
        ],
        "network",
        [helper.make_tensor_value_info("lr", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("sr", onnx.TensorProto.FLOAT, ["n", 3, "4h", "4w"])],
        [onnx.numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    described = Model.from_network(RRDBNet(4, 3, 4, 2, 1), name="tiny")
    records = export_records(described, half=False, overlap=OVERLAP)
    helper.set_model_props(model, records)
    onnx.save(model, path)


@contextmanager
def serving(folder, isolated=True):
    """The page's own server, or one that sends no headers of its own; yields the address."""
    module = runpy.run_path(str(folder / "server.py"))
    if not isolated:
        module["HEADERS"].clear()
    with module["make_server"](folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def visit(browser, site):
    """Open the page; at the end, it was only its own files that were requested."""

    @contextmanager
    def visit(query="", isolated=True, width=1000, **options):
        requests, problems = [], []
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        with serving(site, isolated) as address:
            page.goto(address + query)
            try:
                yield page
            finally:
                context.close()
        assert not problems
        assert all(url.startswith((address, f"blob:{address}", "data:,")) for url in requests)

    return visit


@pytest.fixture
def opaque(tmp_path):
    path = tmp_path / "Größe (1).png"
    PillowImage.fromarray(np.ascontiguousarray(chelsea()[60:90, 120:160])).save(path)
    return path


@pytest.fixture
def transparent(tmp_path):
    """All degrees of transparency; transparent pixels are black, as in many files."""
    pixels = np.dstack([chelsea()[60:90, 120:152], np.zeros((30, 32), np.uint8)])
    y, x = np.mgrid[:30, :32]
    pixels[..., 3] = np.clip(255 * (1.5 - np.hypot((y - 15) / 10, (x - 16) / 12)), 0, 255)
    pixels[pixels[..., 3] == 0] = 0
    PillowImage.fromarray(pixels).save(tmp_path / "transparent.webp", lossless=True, exact=True)
    return tmp_path / "transparent.webp"


def give(page, path, event="drop"):
    """Drop or paste a file."""
    page.evaluate(
        """([name, bytes, type, event]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            document.body.dispatchEvent(
                event === "drop"
                    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
                    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [path.name, list(path.read_bytes()), f"image/{path.suffix[1:]}", event],
    )


def result(page):
    """The pixels of the downloaded file, and its name."""
    page.locator("#result").wait_for()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download PNG").click()
    image = PillowImage.open(started.value.path())
    return np.asarray(image).astype(int), started.value.suggested_filename


def expected(run, source, site, folder):
    """The pixels of ``torch-sr upscale`` with the same network."""
    model = site / "model.onnx"
    code, _, stderr = run("upscale", source, "-m", model, "-o", folder, "--format", "png")
    assert code == 0, stderr
    return np.asarray(PillowImage.open(next(folder.iterdir()))).astype(int)


def error_of(page):
    page.locator("#error:not(:empty)").wait_for()
    assert page.locator("#work").is_hidden()
    return page.get_by_role("alert").inner_text()


def test_an_image_is_upscaled_as_by_the_command(visit, opaque, site, tmp_path, run):
    large = tmp_path / "large.png"
    PillowImage.effect_noise((3000, 2000), 50).save(large)
    cut = tmp_path / "cut.png"
    cut.write_bytes(opaque.read_bytes()[:1500])
    with visit() as page:
        assert page.evaluate("crossOriginIsolated")
        page.set_input_files("#file", large)
        page.get_by_text(re.compile(r"Tile \d+ of")).wait_for()
        page.get_by_role("button", name="Cancel").click()
        assert page.get_by_role("status").inner_text() == "Canceled."
        assert page.evaluate("document.activeElement.id") == "file"

        give(page, opaque)
        pixels, name = result(page)
        assert name == "Größe (1)_sr.png"
        assert pixels.std() > 20
        assert np.abs(pixels - expected(run, opaque, site, tmp_path / "out")).max() <= 2
        status = page.get_by_role("status").inner_text()
        assert status.startswith("Größe (1).png: from 40 \u00d7 30 to 160 \u00d7 120 pixels in ")
        assert "tiny, WebAssembly" in status

        after = page.get_by_alt_text("Result")
        assert after.bounding_box()["width"] == after.evaluate("i => i.naturalWidth") == 160
        assert page.get_by_alt_text("Original").bounding_box() == after.bounding_box()
        slider = page.get_by_role("slider")
        slider.focus()
        slider.press("Home")
        left = page.locator("#divider").bounding_box()["x"]
        slider.press("End")
        assert page.locator("#divider").bounding_box()["x"] - left == 160 - 44
        assert slider.get_attribute("aria-valuetext") == "100 % original"

        give(page, cut, "paste")
        assert error_of(page).startswith("cut.png is damaged or not an image that this browser")


def test_tiles_and_transparency(visit, transparent, site, tmp_path, run):
    """On a phone, with the dark scheme, and from a server that sends no headers."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = {"is_mobile": True, "has_touch": True, "device_scale_factor": 2}
    options |= {"bypass_csp": True, "color_scheme": "dark"}  # the first for the script of axe only
    with visit("?tile=24&shown=10000", isolated=False, width=360, **options) as page:
        page.set_input_files("#file", transparent)
        pixels, _ = result(page)
        wanted = expected(run, transparent, site, tmp_path / "out")
        difference = np.abs(pixels - wanted)
        assert difference[..., 3].max() <= 2
        assert (difference[..., :3] * wanted[..., 3:] / 255).max() <= 2  # as it is seen
        assert page.locator("#step").text_content() == "Tile 4 of 4"
        assert "WebAssembly, 1 thread)" in page.get_by_role("status").inner_text()

        # Of a result that is too large to show, the middle part is shown.
        assert page.get_by_text("The view shows the middle part").is_visible()
        part = shown(page)
        height, width = part.shape[:2]
        assert 10_000 <= height * width < 10_400
        top, left = (120 - height) // 2, (128 - width) // 2
        assert (part == pixels[top : top + height, left : left + width]).all()
        assert page.get_by_alt_text("Result").bounding_box()["width"] == width / 2  # pixels

        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            assert not violations(axe, page)


def shown(page):
    """The pixels of the image that the view shows."""
    data = page.get_by_alt_text("Result").evaluate(
        """async (image) => {
            const response = await fetch(image.src);
            return [...new Uint8Array(await response.arrayBuffer())];
        }"""
    )
    return np.asarray(PillowImage.open(BytesIO(bytes(data)))).astype(int)


def violations(axe, page):
    found = axe.run(page).response["violations"]
    return json.dumps(found, indent=1) if found else ""


def test_errors_are_one_line(visit, opaque, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (tmp_path / "text.png").write_text("no image")
    PillowImage.new("1", (9000, 5000)).save(tmp_path / "huge.png")
    with visit(bypass_csp=True) as page:
        assert not violations(axe, page)
        give(page, tmp_path / "text.png")
        assert error_of(page) == (
            "text.png is damaged or not an image that this browser reads; convert it to PNG or JPEG"
        )
        give(page, tmp_path / "huge.png")
        assert error_of(page) == (
            "huge.png has 9000 by 5000 pixels; choose one with at most 40 million"
        )
        assert not violations(axe, page)
        page.evaluate("history.replaceState(null, '', '?tile=0')")
        give(page, opaque)
        assert error_of(page) == "tile=0: choose a whole number, 1 or more"


def test_missing_and_foreign_files_are_reported(visit, opaque):
    cases = (
        ("worker.js", {"status": 404}, "worker.js cannot be loaded; reload the page"),
        ("model.onnx", {"status": 404}, 'status 404; write it by "torch-sr export compact-x4'),
        ("model.onnx", {"body": b"no model"}, "no scale, overlap and channels (1 or 3)"),
        ("*.mjs", {"status": 404}, 'onnxruntime-web is not installed; run "npm install"'),
    )
    with visit() as page:
        for file, answer, message in cases:
            page.route(f"**/{file}", lambda route, *, answer=answer: route.fulfill(**answer))
            give(page, opaque)
            assert message in error_of(page)
            page.unroute(f"**/{file}")


def test_the_tiles_are_those_of_torch_sr(visit):
    settings = ((1, 0), (16, 3), (57, 14), (64, 14), (100, 8))
    cases = [[length, *setting] for length in range(1, 260, 7) for setting in settings]
    with visit() as page:
        found = page.evaluate(
            """async (cases) => {
                const { spans } = await import("./tiling.js");
                return cases.map((each) => spans(...each).map(
                    ({ start, stop, before, after }) => [start, stop, before, after]));
            }""",
            cases,
        )
    for case, tiles in zip(cases, found, strict=True):
        wanted = [[s.start, s.stop, s.seam_before, s.seam_after] for s in spans(*case)]
        assert tiles == wanted, case
