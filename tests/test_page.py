"""serving/page: what a visitor sees and does, in Chromium; previews, ZIP and limits."""

import json
import os
import re
import threading
import time
import zipfile
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import pyvips
from conftest import make_pair
from PIL import Image as PillowImage
from skimage.data import chelsea

gradio = pytest.importorskip("gradio")
import httpx  # noqa: E402
import uvicorn  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from torch_sr.serving.api.app import make_app  # noqa: E402
from torch_sr.serving.errors import RequestError  # noqa: E402
from torch_sr.serving.page import words  # noqa: E402
from torch_sr.serving.page.batch import AHEAD, Batch, Item  # noqa: E402
from torch_sr.serving.page.choices import to_request  # noqa: E402
from torch_sr.serving.page.downloads import write_zip  # noqa: E402
from torch_sr.serving.page.examples import EXAMPLES, EXAMPLES_FOLDER  # noqa: E402
from torch_sr.serving.page.guard import Guard  # noqa: E402
from torch_sr.serving.page.previews import make_preview  # noqa: E402
from torch_sr.serving.page.visitors import Visitors  # noqa: E402
from torch_sr.serving.requests import UpscaleRequest  # noqa: E402
from torch_sr.serving.server import _Server  # noqa: E402
from torch_sr.serving.service import Service  # noqa: E402
from torch_sr.serving.settings import Limits, ServiceSettings  # noqa: E402

# --- Previews -----------------------------------------------------------------------------------


def enlarged(source, scale):
    size = (source.width * scale, source.height * scale)
    return source.resize(size, PillowImage.Resampling.BICUBIC)


def distance(a, b):
    return np.abs(np.asarray(a).astype(float) - np.asarray(b).astype(float)).mean()


@pytest.fixture
def cat(tmp_path):
    """A photograph and an enlargement of it, as files."""
    source = PillowImage.fromarray(np.ascontiguousarray(chelsea()[40:160, 100:260]))
    source.save(tmp_path / "cat.png")
    result = enlarged(source, 4).rotate(180)
    result.save(tmp_path / "cat_sr.png")
    return source, result


def test_both_sides_have_the_size_of_the_result(tmp_path, cat):
    preview = make_preview(tmp_path / "cat.png", tmp_path / "cat_sr.png", tmp_path)
    assert preview.source_size == (160, 120)
    assert preview.result_size == (640, 480)
    assert not preview.is_part
    before, after = PillowImage.open(preview.before), PillowImage.open(preview.after)
    assert before.size == after.size == (640, 480)
    assert distance(before, enlarged(cat[0], 4)) < 1.5
    assert distance(after, cat[1]) < 1.5


def test_of_a_large_result_the_same_middle_part_is_shown_on_both_sides(tmp_path, cat):
    preview = make_preview(tmp_path / "cat.png", tmp_path / "cat_sr.png", tmp_path, limit=50_000)
    before, after = PillowImage.open(preview.before), PillowImage.open(preview.after)
    assert preview.is_part
    assert 45_000 < after.width * after.height <= 50_000
    assert after.width / after.height == pytest.approx(4 / 3, abs=0.02)
    left, top = (640 - after.width) // 2, (480 - after.height) // 2
    box = (left, top, left + after.width, top + after.height)
    assert distance(after, cat[1].crop(box)) < 1.5
    assert distance(before, enlarged(cat[0], 4).crop(box)) < 1.5


def test_of_a_long_result_a_part_is_shown(tmp_path):
    PillowImage.new("L", (70_000, 2), 90).save(tmp_path / "long.png")
    preview = make_preview(tmp_path / "long.png", tmp_path / "long.png", tmp_path)
    assert preview.is_part
    assert PillowImage.open(preview.before).size == PillowImage.open(preview.after).size
    assert PillowImage.open(preview.after).size == (16_000, 2)


def test_colors_of_another_profile_are_shown_as_srgb(tmp_path):
    srgb = pyvips.Image.new_from_array(np.full((40, 40, 3), (200, 60, 60), np.uint8))
    p3 = srgb.copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    p3.write_to_file(str(tmp_path / "a.png"))
    assert abs(np.asarray(PillowImage.open(tmp_path / "a.png"))[0, 0].astype(int) - 200)[0] > 5
    preview = make_preview(tmp_path / "a.png", tmp_path / "a.png", tmp_path)
    for path in (preview.before, preview.after):
        seen = np.asarray(PillowImage.open(path))[20, 20].astype(int)
        assert np.abs(seen - [200, 60, 60]).max() <= 3


def test_deep_transparent_and_gray_images_are_shown(tmp_path):
    deep = np.zeros((20, 30, 4), np.uint16)
    deep[..., 0], deep[:10, :, 3] = 65535, 65535
    pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").write_to_file(
        str(tmp_path / "deep.png")
    )
    preview = make_preview(tmp_path / "deep.png", tmp_path / "deep.png", tmp_path)
    seen = np.asarray(PillowImage.open(preview.after)).astype(int)
    assert np.abs(seen[3, 5] - [255, 0, 0]).max() < 6
    assert seen[16, 5].min() > 249  # transparent: white
    PillowImage.fromarray(deep[..., 0].astype(np.uint8)).save(tmp_path / "gray.png")
    preview = make_preview(tmp_path / "gray.png", tmp_path / "gray.png", tmp_path)
    assert PillowImage.open(preview.after).mode == "RGB"


def test_a_damaged_profile_is_ignored(tmp_path):
    image = PillowImage.fromarray(np.full((8, 8, 3), 90, np.uint8))
    profile = b"\0" * 16 + b"RGB " + b"\0" * 200
    image.save(tmp_path / "a.jpg", icc_profile=profile)
    preview = make_preview(tmp_path / "a.jpg", tmp_path / "a.jpg", tmp_path)
    assert np.asarray(PillowImage.open(preview.after))[4, 4].max() < 93


# --- Downloads, words and choices ---------------------------------------------------------------


def test_a_zip_stores_the_same_bytes_under_different_names(tmp_path):
    files = [tmp_path / folder / "photo_sr.jpg" for folder in "abc"]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_bytes(bytes([number]) * 1000)
    with zipfile.ZipFile(write_zip(tmp_path / "all.zip", files)) as archive:
        assert archive.namelist() == ["photo_sr.jpg", "photo_sr (2).jpg", "photo_sr (3).jpg"]
        assert [archive.read(name)[0] for name in archive.namelist()] == [0, 1, 2]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


HOSTILE = "<img src=x onerror=alert(1)>$$x$$ **a**\n\n# b.jpg"


def test_names_and_errors_are_only_text(tmp_path):
    item = Item(HOSTILE, tmp_path / "a", state="failed", error=f"{HOSTILE}: <script>no</script>")
    html = words.file_list(SimpleNamespace(items=[item], is_finished=True, progress=1))
    assert "<img" not in html
    assert "<script" not in html
    assert "\n" not in html
    assert html.count("onerror") == 1  # not once more in the error


def choices(**changed):
    model = SimpleNamespace(name="compact-x4", default_strength=0.7)
    chosen = {
        "strength": 0.3,
        "size": "model",
        "factor": 2,
        "width": 0,
        "height": 0,
        "file_format": "",
        "quality": 95,
        "keep_damaged": False,
    }
    return to_request(model, **{**chosen, **changed})


def test_choices_become_a_request():
    assert choices() == UpscaleRequest(model="compact-x4", strength=0.3)
    assert choices(size="factor").scale == 2
    request = choices(size="pixels", width=500, file_format="jpg", quality=80, keep_damaged=True)
    assert (request.width, request.height, request.scale) == (500, None, None)
    assert (request.format, request.quality, request.damaged) == ("jpg", 80, "keep")
    assert choices(file_format="png", quality=80).quality is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": "factor", "factor": None}, "Enter a factor"),
        ({"size": "factor", "factor": -1}, "The factor: input should be greater than 0"),
        ({"size": "pixels"}, "Enter a width or a height"),
        ({"size": "pixels", "width": 2.5}, "The width: "),
        ({"strength": 7}, "The strength: "),
        ({"file_format": "exe"}, "The format: "),
    ],
)
def test_choices_that_cannot_be_are_explained(changed, message):
    with pytest.raises(RequestError, match=f"^{message}"):
        choices(**changed)


def test_the_examples_are_small():
    assert sum(example.path.stat().st_size for example in EXAMPLES) < 60_000
    listed = (EXAMPLES_FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(example.path.name in listed for example in EXAMPLES)


# --- Batches ------------------------------------------------------------------------------------


class Tasks:
    """A service whose tasks end when the test says so; ``refusals`` are raised first."""

    def __init__(self, folder, refusals=()):
        self.folder, self.refusals, self.tasks = folder, list(refusals), []

    def copy_upload(self, file):
        path = self.folder / f"upload{len(list(self.folder.iterdir()))}"
        path.write_bytes(file.read_bytes())
        return path

    def submit(self, upload, name, request):
        if self.refusals:
            raise self.refusals.pop(0)
        result = upload.with_name(f"{name}_sr")
        result.write_bytes(b"result")
        task = SimpleNamespace(
            name=name, state="queued", progress=0.0, seconds_left=None, position=1, notes=("Note",)
        )
        task.result, task.error, task.cancel = (
            result,
            None,
            lambda: setattr(task, "state", "cancelled"),
        )
        self.tasks.append(task)
        return task

    def discard(self, task):
        task.result.unlink()


def make_batch(tmp_path, service, number=4):
    items = []
    for n in range(number):
        (tmp_path / f"{n}.jpg").write_bytes(b"source")
        items.append(Item(f"{n}.jpg", tmp_path / f"{n}.jpg"))
    (tmp_path / "batch").mkdir()
    return Batch(service, items, UpscaleRequest(), tmp_path / "batch")


@pytest.fixture
def queue(tmp_path):
    (tmp_path / "queue").mkdir()
    return Tasks(tmp_path / "queue")


def test_a_few_files_are_in_the_queue_at_a_time(tmp_path, queue):
    batch = make_batch(tmp_path, queue)
    for _ in range(3):
        batch.step()
    assert len(queue.tasks) == AHEAD
    queue.tasks[0].state = "done"
    batch.step()
    assert [item.state for item in batch.items] == ["done", "queued", "queued", "waiting"]
    assert batch.items[0].result.read_bytes() == b"result"
    assert batch.items[0].notes == ("Note",)
    assert not queue.tasks[0].result.exists()  # discarded


def test_a_full_queue_is_tried_again(tmp_path, queue, monkeypatch):
    monkeypatch.setattr("torch_sr.serving.page.batch._RETRY", 0.0)
    queue.refusals = [RequestError("2 requests are waiting", status=429)] * 3
    batch = make_batch(tmp_path, queue, 1)
    batch.step()
    assert batch.items[0].state == "waiting"
    for _ in range(3):
        batch.step()
    assert batch.items[0].state == "queued"


def test_errors_concern_one_file(tmp_path, queue):
    queue.refusals = [RequestError("0.jpg: not an image", remedy="send one")]
    batch = make_batch(tmp_path, queue, 2)
    batch.step()
    queue.tasks[0].state, queue.tasks[0].error = "failed", RequestError("too slow")
    batch.step()
    assert batch.is_finished
    assert [item.error for item in batch.items] == ["0.jpg: not an image; send one", "too slow"]
    assert words.summary(batch) == "0 files upscaled, 2 not possible."


def test_everything_is_canceled(tmp_path, queue):
    batch = make_batch(tmp_path, queue)
    batch.step()
    batch.cancel()
    batch.step()
    assert {task.state for task in queue.tasks} == {"cancelled"}
    assert batch.is_finished
    assert words.summary(batch) == "Canceled."


def test_a_closed_page_leaves_no_task(tmp_path, queue):
    batch = make_batch(tmp_path, queue)
    batch.step()
    for task in queue.tasks:
        task.state, task.cancel = "running", lambda: None  # until the end of a tile
    batch.close()
    assert batch.is_finished
    assert not any(task.result.exists() for task in queue.tasks)  # discarded


def test_an_upload_that_was_deleted_is_reported(tmp_path, queue):
    (tmp_path / "batch").mkdir()
    batch = Batch(queue, [Item("a.jpg", tmp_path / "a.jpg")], UpscaleRequest(), tmp_path / "batch")
    assert batch.items[0].error == "was deleted after a while: choose it again"


def test_old_files_are_deleted_and_those_in_use_are_kept(tmp_path, queue):
    (tmp_path / "page").mkdir()
    (tmp_path / "page/left").write_bytes(b"by an earlier process")
    visitors = Visitors(tmp_path / "page", keep_seconds=0.05)
    assert not list(visitors.folder.iterdir())
    batch = make_batch(tmp_path, queue, 1)
    batch.folder = visitors.new_folder()
    (batch.folder / "a").write_bytes(b"1234")
    visitors.set("page", batch)
    assert visitors.num_bytes() >= 4
    (visitors.folder / "upload").mkdir()
    (visitors.folder / "upload/a.jpg").touch()
    time.sleep(0.1)
    visitors.sweep()
    assert list(visitors.folder.iterdir()) == [batch.folder]
    batch.close()
    time.sleep(0.1)
    visitors.sweep()
    visitors.sweep()
    assert not list(visitors.folder.iterdir())


# --- What is reachable --------------------------------------------------------------------------


async def page(scope, receive, send):
    await PlainTextResponse(scope["path"])(scope, receive, send)


def guarded(tmp_path, token=None, has_room=True):
    guard = Guard(
        page,
        Visitors(tmp_path / "page"),
        has_room=lambda: has_room,
        is_stopping=lambda: False,
        token=token,
    )
    return TestClient(guard, follow_redirects=False)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://example.com/a.png",
        "/gradio_api/file=//example.com://a",
        "/gradio_api/proxy=http://example.com",
        "/gradio_api/info",
        "/gradio_api/runs",
        "/gradio_api/deep_link?session_hash=a",
        "/gradio_api/process_recording",
        "/gradio_api/call/upscale",
        "/gradio_api/component_server",
        "/monitoring",
        "/docs",
        "/login",
        "/gradio_api/dev/reload",
    ],
)
def test_only_what_the_page_uses_is_reachable(tmp_path, path):
    client = guarded(tmp_path)
    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["http://127.0.0.1:9/a.png", "/etc/passwd", "page/../b", None, "\0"]
)
def test_a_request_names_only_uploaded_files(tmp_path, path):
    client = guarded(tmp_path)
    body = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]]}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 400
    body["data"][0][0]["path"] = str(tmp_path / "page/a.png")
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200


def test_other_bodies_are_refused(tmp_path):
    client = guarded(tmp_path)
    for content in (b"no JSON", b"[" * 100_000, b'"' + b"a" * 1_100_000 + b'"'):
        assert client.post("/gradio_api/queue/join", content=content).status_code == 400


def test_uploads_are_refused_when_there_is_no_room(tmp_path):
    assert guarded(tmp_path).post("/gradio_api/upload").status_code == 200
    assert guarded(tmp_path, has_room=False).post("/gradio_api/upload").status_code == 507


def test_a_token_opens_the_page(tmp_path):
    client = guarded(tmp_path, token="secret")
    for path in ("/theme.css", "/gradio_api/queue/data", "/assets/a.js"):
        assert client.get(path).status_code == 401
    assert client.post("/gradio_api/upload").status_code == 401
    asked = client.get("/")
    assert asked.status_code == 401
    assert "Token" in asked.text
    assert client.get("/?token=guessed").status_code == 401
    assert "This is not the token" in client.post("/", data={"token": "guessed"}).text
    for give in (
        lambda: client.get("/?token=secret"),
        lambda: client.post("/", data={"token": " secret "}),
    ):
        answer = give()
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "secret" not in cookie
        assert client.get("/").text == "/"
        client.cookies.clear()
    client.cookies.set("torch-sr", "0" * 64)
    assert client.get("/").status_code == 401


# --- In a browser -------------------------------------------------------------------------------

LARGE = (1500, 1500)  # takes some seconds
TILE = 64


@contextmanager
def serving(folder, limits=None, **options):
    """A service with its page, at an address."""
    limits = limits or Limits()
    service = Service(ServiceSettings(folder, devices=("cpu",), tile_size=TILE, limits=limits))
    service.start()
    app = make_app(service, **options)
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=20)
    server = _Server(config, service, 1.0, lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield SimpleNamespace(service=service, address=f"http://127.0.0.1:{port}/")
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_pair(folder / "pair", monkeypatch)
        monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # restored at the end
        with serving(folder / "service") as server:
            yield server


GRADIO_ERROR = "Cannot read properties of undefined (reading 'map')"
"""Of a script of Gradio 6.31, seen once in several runs; the page worked nevertheless."""


@pytest.fixture
def visit(browser, server):
    """Open the page; at the end, there was no error, and no request to another server."""
    problems, requests, contexts = [], [], []

    def visit(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda m: m.type == "error" and problems.append(m.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(server.address)
        page.get_by_role("button", name="Upscale").wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not [text for text in problems if text != GRADIO_ERROR]
    assert all(url.startswith((server.address, "blob:", "data:")) for url in requests)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A real photograph with EXIF."""
    path = tmp_path_factory.mktemp("photo") / "Größe (1).jpg"
    image = PillowImage.fromarray(np.ascontiguousarray(chelsea()[40:140, 100:250]))
    exif = PillowImage.Exif()
    exif[0x010F] = "Camera"
    image.save(path, quality=85, exif=exif)
    return path


@pytest.fixture
def large(tmp_path):
    PillowImage.new("RGB", LARGE, (90, 120, 80)).save(tmp_path / "large.png")
    return tmp_path / "large.png"


def drop(page, *paths):
    """Drop files onto the page, as from a file manager."""
    files = [[path.name, list(path.read_bytes())] for path in paths]
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of files)
                transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        files,
    )
    page.locator("#images button[aria-dropeffect]").dispatch_event(
        "drop", {"dataTransfer": transfer}
    )
    page.locator("#images .file").nth(len(paths) - 1).wait_for()


def start(page):
    page.get_by_role("button", name="Upscale").click()


def wait_until(condition):
    """Poll; Playwright's own waiting needs eval, which the page's policy forbids."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def download(page, name):
    with page.expect_download() as started:
        page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name)).click()
    return started.value


def command(run, source, folder, *options):
    """The result of the command ``torch-sr upscale``."""
    code, _, stderr = run(
        "upscale", source, "--out", folder, "--device", "cpu", "--tile-size", TILE, *options
    )
    assert code == 0, stderr
    (result,) = folder.iterdir()
    return result.read_bytes()


def test_drop_compare_download(visit, photo, run, tmp_path):
    page = visit()
    drop(page, photo)
    start(page)
    page.get_by_text("1 file upscaled.").wait_for()
    images = page.locator("#comparison img")
    images.nth(1).wait_for()
    wait_until(lambda: images.first.evaluate("image => image.naturalWidth") == 600)
    assert "From 150 by 100 to 600 by 400 pixels." in page.locator("#results").inner_text()

    def share():
        return float(re.search(r"([\d.]+)%\)", images.nth(1).get_attribute("style"))[1])

    assert share() == pytest.approx(50, abs=1)
    handle = page.locator("#comparison [data-testid=slider]").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up()
    assert share() > 60
    divider = page.get_by_role("slider", name="divider")
    divider.focus()
    for _ in range(3):
        divider.press("ArrowLeft")
    wait_until(lambda: 46 < share() < 48)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)  # zoom
    wait_until(lambda: re.search(r"scale\(1\.[0-9]", images.first.get_attribute("style")))
    page.get_by_label("Detail 1:1").check()
    page.locator("#comparison.detail").wait_for()
    assert images.first.evaluate("image => getComputedStyle(image).objectFit") == "none"

    found = download(page, "Download Größe (1)_sr.jpg")
    assert found.suggested_filename == "Größe (1)_sr.jpg"
    expected = command(run, photo, tmp_path / "out")
    assert found.path().read_bytes() == expected
    assert b"Camera" in expected


def test_options_and_several_files(visit, photo, run, tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    PillowImage.open(photo).save(tmp_path / "b.png")
    page = visit()
    drop(page, photo, tmp_path / "broken.jpg", tmp_path / "b.png")
    strength = page.get_by_role("spinbutton", name="Strength")
    strength.fill("0.2")
    strength.press("Tab")
    page.get_by_label("Width or height in pixels").check()
    page.get_by_role("spinbutton", name="Width").fill("320")
    page.get_by_role("button", name="More options").click()
    page.get_by_label("Format of the result").click()
    page.get_by_role("option", name="WebP").click()
    start(page)
    page.get_by_text("2 files upscaled, 1 not possible.").wait_for()
    failed = page.locator("#files .failed").inner_text()
    assert failed.startswith("broken.jpg is not an image")
    assert "convert it to PNG" in failed

    page.get_by_label("Show").click()
    page.get_by_role("option", name="b.png").click()
    found = download(page, "Download b_sr.webp")
    options = ("--strength", 0.2, "--width", 320, "--format", "webp")
    expected = command(run, tmp_path / "b.png", tmp_path / "out", *options)
    assert found.path().read_bytes() == expected
    archive = download(page, "Download all as ZIP")
    with zipfile.ZipFile(archive.path()) as contents:
        assert sorted(contents.namelist()) == ["Größe (1)_sr.webp", "b_sr.webp"]
        assert contents.read("b_sr.webp") == expected


def test_cancel(visit, large, server, photo):
    page = visit()
    drop(page, large, photo)
    start(page)
    page.locator("#files progress").first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("anceled.").wait_for()
    assert page.locator("#files").inner_text().count("canceled") >= 1
    wait_until_idle(server)
    page.get_by_role("button", name="Upscale").wait_for()
    assert page.get_by_role("button", name="Upscale").is_enabled()
    assert not page.get_by_role("button", name="Cancel").is_visible()


def test_closing_the_page_cancels(visit, large, server):
    page = visit()
    drop(page, large)
    start(page)
    page.locator("#files progress").first.wait_for()
    assert any(workers.running for workers in server.service._workers)
    page.close()
    wait_until_idle(server)


def wait_until_idle(server):
    """Much less time than the image takes."""
    deadline = time.monotonic() + 5
    while any(workers.running for workers in server.service._workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_paste_and_examples(visit, photo):
    page = visit()
    start(page)
    page.get_by_text("Choose an image first.").wait_for()
    page.evaluate(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "pasted.jpg"));
            const options = { clipboardData: transfer, bubbles: true, cancelable: true };
            document.dispatchEvent(new ClipboardEvent("paste", options));
        }""",
        list(photo.read_bytes()),
    )
    page.locator("#images .file", has_text="pasted").wait_for()
    page.get_by_role("button", name="An astronaut").press("Enter")
    page.locator("#images .file", has_text="astronaut").wait_for()
    start(page)
    page.get_by_text("astronaut.jpg: done").wait_for()


def test_files_of_others_cannot_be_read(visit, server, photo):
    page = visit()
    drop(page, photo)
    start(page)
    page.locator("#comparison img").first.wait_for()
    folder = server.service.settings.folder
    for path in (
        folder / "jobs.sqlite",
        folder / "page",
        folder / "page/../jobs.sqlite",
        "/etc/passwd",
    ):
        answer = httpx.get(f"{server.address}gradio_api/file={path}")
        assert answer.status_code in (403, 404)


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone(visit, photo, tmp_path, width):
    long = tmp_path / f"{'a_very_long_name_' * 6}.jpg"
    long.write_bytes(photo.read_bytes())
    page = visit(width, 800, has_touch=True, is_mobile=True)
    fits = "document.documentElement.scrollWidth <= innerWidth && innerWidth <= " + str(width)
    assert page.evaluate(fits)
    button = page.get_by_role("button", name="Upscale").bounding_box()
    assert button["y"] + button["height"] <= 800  # always in reach
    page.get_by_label("Width or height in pixels").check()
    page.get_by_role("button", name="More options").click()
    drop(page, long, photo)
    page.get_by_label("4 times").check()
    start(page)
    page.get_by_text("2 files upscaled.").wait_for()
    page.locator("#comparison img").first.wait_for()
    assert page.evaluate(fits)
    assert 0 <= page.locator("#status").bounding_box()["y"] < 400  # scrolled to
    for locator in page.get_by_role("button").all():
        box = locator.bounding_box()
        assert box is None or box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(visit, photo, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (tmp_path / "broken.jpg").write_text("no image")
    PillowImage.open(photo).save(tmp_path / "b.png")
    page = visit(color_scheme=scheme, bypass_csp=True)  # for the script of axe only

    def check():
        page.wait_for_timeout(300)  # colors change slowly
        found = severe(axe.run(page))
        assert not found, json.dumps(found, indent=1)

    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title() == "torch-sr: enlarge images"
    page.get_by_role("button", name="More options").click()
    check()
    drop(page, photo, tmp_path / "broken.jpg", tmp_path / "b.png")
    start(page)
    page.get_by_text("2 files upscaled, 1 not possible.").wait_for()
    page.locator("#comparison img").first.wait_for()
    check()
    assert page.get_by_role("status").first.inner_text().startswith("2 files upscaled")
    reached = set()
    page.keyboard.press("Home")
    page.evaluate("document.activeElement.blur()")
    for _ in range(45):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """(e => e.ariaLabel || e.labels?.[0]?.innerText || e.innerText)
                (document.activeElement)"""
            ).strip()
        )
    for name in (
        "Upscale",
        "Download Größe (1)_sr.jpg",
        "Download all as ZIP",
        "Clear",
        "Fullscreen",
    ):
        assert name in reached, reached


def test_login_and_stop(browser, tmp_path, monkeypatch):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    make_pair(tmp_path / "pair", monkeypatch)
    monkeypatch.setenv("GRADIO_TEMP_DIR", os.environ.get("GRADIO_TEMP_DIR", ""))
    context = browser.new_context(bypass_csp=True, color_scheme="dark")
    context.set_default_timeout(10_000)
    limits = Limits(max_upload=3000)
    with serving(tmp_path / "service", limits, token="secret") as server:
        page = context.new_page()
        page.goto(server.address)
        assert not severe(axe.run(page))
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("This is not the token; check it and try again.").wait_for()
        page.get_by_label("Token").fill("secret")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Upscale").wait_for()
        assert page.url == server.address
        cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
        assert upload(server, cookies, 2000, 2000) == 200
        assert upload(server, cookies, 2000, 4000) == 413
        assert upload(server, {}, 2000) == 401
        began = time.monotonic()
    assert time.monotonic() - began < 8  # an open page does not delay the stop
    assert not (tmp_path / "service/page").exists()
    context.close()


def upload(server, cookies, *sizes):
    """Send files to the page's own address; the status."""
    files = [("files", (f"{n}.jpg", b"a" * size)) for n, size in enumerate(sizes)]
    address = f"{server.address}gradio_api/upload"
    return httpx.post(address, files=files, cookies=cookies).status_code


def severe(results):
    """The violations that axe calls serious or critical."""
    return [v for v in results.response["violations"] if v["impact"] in ("serious", "critical")]
