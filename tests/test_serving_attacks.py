"""What a service withstands: floods, bombs, lies, foreign web sites and clients that go away."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from live_service import live_service, save_tiny_model
from PIL import Image as Pillow
from serving_kit import (
    call_app,
    connect,
    files_in,
    gate,
    image_bytes,
    start_service,
    upload,
    wait_until,
)
from test_serving_api import post, problem, saved

from torch_sr.models.catalog import ZOO
from torch_sr.serving import connections
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.settings import Limits

__all__ = ["connect", "gate", "start_service"]  # fixtures
TOKEN = "a-token-of-many-characters"
RAW = [("content-type", "image/png")]
FORM = [("content-type", "multipart/form-data; boundary=x")]
FORM_HEAD = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


def refusal_of(answer, status):
    """The problem document of an answer of ``call_app``."""
    import json

    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["status"] == status
    return document


# --- Limits of uploads ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/upscale", "/v1/jobs"])
def test_an_announced_upload_that_is_too_large_is_refused_before_it_is_read(connect, path):
    client = connect(max_upload=1000)
    headers = [*RAW, ("content-length", "9" * 30)]
    answer = call_app(client.app, path, headers=headers, timeout=2)  # no body ever comes
    document = refusal_of(answer, 413)
    assert "1000 bytes" in document["detail"]
    assert document["field"] == "image"
    assert files_in(client.service) == []


@pytest.mark.parametrize("headers", [RAW, FORM])
@pytest.mark.parametrize("announced", [None, "10"])
def test_an_upload_that_grows_too_large_is_cut_off(connect, headers, announced):
    client = connect(max_upload=200_000)
    if announced:
        headers = [*headers, ("content-length", announced)]
    start = FORM_HEAD if headers[0] == FORM[0] else b""
    read = []

    def parts():
        yield start + b"\x89PNG"
        for _ in range(100):
            read.append(1)
            yield bytes(100_000)

    answer = call_app(client.app, "/v1/upscale", *parts(), headers=headers)
    refusal_of(answer, 413)
    assert files_in(client.service) == []


def test_an_upload_of_the_largest_size_is_accepted(connect):
    content = image_bytes(60, 60)
    client = connect(max_upload=len(content))
    assert post(client, content).status_code == 200
    form = {"files": {"image": ("a.png", content)}}
    assert client.post("/v1/upscale", **form).status_code == 200


def test_a_body_just_above_the_largest_size_is_refused(connect):
    """The limit is that of the file; a form may be a little longer."""
    content = image_bytes(60, 60)
    client = connect(max_upload=len(content) - 1)
    document = problem(post(client, content), 413)
    assert document["field"] == "image"
    problem(client.post("/v1/upscale", files={"image": ("a.png", content)}), 413)
    problem(client.post("/v1/jobs", files={"image": ("a.png", content)}), 413)
    assert files_in(client.service) == []


@pytest.mark.parametrize("headers", [RAW, FORM])
def test_an_upload_that_pauses_too_long_is_refused(connect, headers):
    client = connect(idle_seconds=0.1)
    start = FORM_HEAD if headers is FORM else b""
    answer = call_app(client.app, "/v1/upscale", start + b"\x89PNG", 5, b"", headers=headers)
    assert "too slow" in refusal_of(answer, 408)["detail"]
    assert files_in(client.service) == []


def test_an_upload_that_trickles_is_refused(connect):
    client = connect(upload_seconds=0.2, idle_seconds=0.15)
    parts = [part for _ in range(40) for part in (b"a", 0.02)]
    begin = time.monotonic()
    refusal_of(call_app(client.app, "/v1/upscale", *parts, b"", headers=RAW), 408)
    assert time.monotonic() - begin < 0.7
    assert files_in(client.service) == []


@pytest.mark.parametrize("headers", [RAW, FORM])
@pytest.mark.parametrize("path", ["/v1/upscale", "/v1/jobs"])
def test_a_client_that_goes_away_during_its_upload_leaves_nothing(connect, caplog, path, headers):
    client = connect()
    start = FORM_HEAD if headers is FORM else b""
    part = start + image_bytes()[:50]
    answer = call_app(client.app, path, part, None, headers=headers, ends_early=True)
    assert answer.status in (None, 499)
    assert files_in(client.service) == []
    assert not caplog.records
    assert client.get("/healthz").status_code == 200


def test_uploads_on_their_way_are_bounded(connect):
    client = connect(queue=3, tasks_per_device=2)

    def send_slowly():
        parts = [part for _ in range(100) for part in (b"a", 0.05)]
        with contextlib.suppress(TimeoutError):
            call_app(client.app, "/v1/upscale", *parts, headers=RAW, timeout=0.8)

    threads = [threading.Thread(target=send_slowly) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(files_in(client.service)) == 5)
    response = post(client)
    document = problem(response, 429)
    assert "waiting" in document["detail"]
    assert int(response.headers["retry-after"]) > 0
    assert client.get("/readyz").status_code == 200
    for thread in threads:
        thread.join()
    wait_until(lambda: files_in(client.service) == [])
    assert post(client).status_code == 200


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_client_that_goes_away_cancels_its_task(connect, gate, state, monkeypatch):
    client = connect(tasks_per_device=1)
    if state == "queued":
        blocking = client.service.submit(upload(client.service), "b.png", UpscaleRequest())
        gate.wait()
    kept = files_in(client.service)
    tasks = []
    submit = client.service.submit
    monkeypatch.setattr(
        client.service, "submit", lambda *a, **b: tasks.append(submit(*a, **b)) or tasks[0]
    )
    answer = call_app(client.app, "/v1/upscale", image_bytes(), 0.05, None, headers=RAW)
    assert answer.status == 499
    wait_until(lambda: files_in(client.service) == kept)
    if state == "queued":
        assert len(client.service._queue) == 0
        client.service.discard(blocking)
    (task,) = tasks
    assert task.wait(10)
    assert task.state == "cancelled"
    assert (task.started is None) == (state == "queued")


def test_the_files_of_a_result_are_deleted_if_the_client_does_not_take_it(connect, monkeypatch):
    client = connect()

    async def broken(message):
        raise OSError("the connection is gone")

    import asyncio

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/upscale",
        "raw_path": b"/v1/upscale",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"image/png")],
        "asgi": {"spec_version": "2.4"},
    }
    parts = [{"type": "http.request", "body": image_bytes(), "more_body": False}]

    async def receive():
        if parts:
            return parts.pop()
        return await asyncio.sleep(30)

    with pytest.raises(OSError, match="gone"):
        asyncio.run(client.app(scope, receive, broken))
    assert files_in(client.service) == []


# --- Files that lie -------------------------------------------------------------------------------


def png(width, height, *chunks):
    """A PNG that claims a size."""
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def gif(width, height):
    data = bytearray(saved(Pillow.new("P", (8, 8)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    at = data.index(b",")
    data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def webp(width, height):
    image = saved(Pillow.new("RGBA", (8, 8)), "WEBP", lossless=True)
    extended = (
        b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )
    body = b"WEBPVP8X" + struct.pack("<I", 10) + extended + image[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(width, height):
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((16, 16, 3), np.uint8), photometric="rgb", rowsperstrip=16)
    data = bytearray(file.getvalue())
    (offset,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[offset : offset + 2])
    for at in range(offset + 2, offset + 2 + 12 * count, 12):
        (tag,) = struct.unpack("<H", data[at : at + 2])
        if tag in (256, 257):
            size = width if tag == 256 else height
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, size)
    return bytes(data)


def avif(width, height):
    data = bytearray(saved(Pillow.new("RGB", (16, 16)), "AVIF"))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


def svg(text):
    return f'<svg xmlns="http://www.w3.org/2000/svg" {text}</svg>'.encode()


def bombs():
    zeros = zlib.compress(bytes(100_000_000), 9)
    nested = "".join(f'<g id="l{n}">' + f'<use href="#l{n + 1}"/>' * 10 + "</g>" for n in range(9))
    entities = "<!DOCTYPE svg [<!ENTITY a0 'aaaaaaaaaa'>" + "".join(
        f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 9)
    )
    return {
        "png": png(60_000, 60_000),
        "png-line": png(2**31 - 1, 1),
        "png-icc": png(8, 8, (b"iCCP", b"a\0\0" + zeros)),
        "png-text": png(8, 8, (b"zTXt", b"Comment\0\0" + zeros)),
        "png-text-many": png(8, 8, *[(b"zTXt", b"Comment\0\0" + zeros)] * 30),
        "png-chunks": png(8, 8, *[(b"tEXt", b"a\0b")] * 100_000),
        "png-data": png(4000, 4000).replace(zlib.compress(bytes(100)), zeros),
        "gif": gif(65_535, 65_535),
        "webp": webp(2**24, 2**24),
        "avif": avif(60_000, 60_000),
        "avif-line": avif(2**31 - 1, 1),
        "tiff": tiff(60_000, 60_000),
        "tiff-line": tiff(2**32 - 1, 2**32 - 1),
        "bmp": saved(Pillow.new("RGB", (8, 8)), "BMP").replace(
            struct.pack("<II", 8, 8), struct.pack("<II", 60_000, 60_000)
        ),
        "pnm": b"P6 99999999 99999999 255\n" + bytes(100),
        "farbfeld-like": b"qoif" + struct.pack(">II", 60_000, 60_000) + b"\3\0" + bytes(50),
        "svg": svg('width="100000" height="100000"><rect width="5" height="5"/>'),
        "svg-huge": svg('width="1e30" height="1e30"><rect width="5" height="5"/>'),
        "svg-uses": svg(f'width="9" height="9"><defs>{nested}</defs><use href="#l0"/>'),
        "svg-entities": (
            f"<?xml version='1.0'?>{entities}]>"
            "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><text>&a8;</text></svg>"
        ).encode(),
        "svgz": gzip.compress(svg('width="9" height="9"><!--' + " " * 100_000_000 + "-->"), 9),
        "jpeg-size": image_bytes(8, 8, "JPEG").replace(
            b"\0\x08\0\x08\x03", struct.pack(">HH", 65_500, 65_500) + b"\x03"
        ),
    }


def resident():
    """Bytes of this process in memory."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


@pytest.fixture(scope="module")
def bomb_files():
    return bombs()


@pytest.mark.parametrize(
    "name",
    [
        *("png", "png-line", "png-icc", "png-text", "png-text-many", "png-chunks", "png-data"),
        *(
            "avif",
            "avif-line",
            "gif",
            "webp",
            "tiff",
            "tiff-line",
            "bmp",
            "pnm",
            "farbfeld-like",
            "jpeg-size",
        ),
        *("svg", "svg-huge", "svg-uses", "svg-entities", "svgz"),
    ],
)
def test_bombs_neither_fill_the_memory_nor_take_long(connect, bomb_files, name):
    client = connect(max_pixels=4_000_000)
    most, stop = resident(), threading.Event()

    def watch():
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, resident())

    watching = threading.Thread(target=watch)
    before, begin = resident(), time.monotonic()
    watching.start()
    response = post(client, bomb_files[name], name="a.bin")
    stop.set()
    watching.join()
    assert response.status_code in (200, 413, 415, 422), response.text[:300]
    if response.status_code != 200:
        problem(response, response.status_code)
    assert time.monotonic() - begin < 10
    assert most - before < 400e6, f"{(most - before) / 1e6:.0f} MB more"
    assert files_in(client.service) == []


def test_the_pages_of_an_animation_count_together(connect):
    frames = [Pillow.new("RGB", (100, 100), (8 * n, 0, 0)) for n in range(30)]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    client = connect(max_pixels=200_000)
    document = problem(post(client, content, name="a.gif"), 413)
    assert "0.3 megapixels" in document["detail"]
    assert post(client, content, name="a.gif", format="jpg").status_code == 200


# --- Files that name other files ------------------------------------------------------------------


@pytest.fixture
def listening():
    """A port of this machine that records whether anybody connects."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)

        class Listening:
            port = server.getsockname()[1]

            def was_reached(self):
                with contextlib.suppress(BlockingIOError):
                    server.accept()[0].close()
                    return True
                return False

        yield Listening()


def references(target):
    """SVGs that refer to another file."""
    yield svg(f'width="16" height="16"><image href="{target}" width="16" height="16"/>')
    yield (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="16" height="16"><image xlink:href="{target}" width="16" height="16"/></svg>'
    ).encode()
    yield (
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "{target}">]>'
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><text>&e;</text></svg>'
    ).encode()
    yield (
        f'<?xml version="1.0"?><!DOCTYPE svg SYSTEM "{target}">'
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"/>'
    ).encode()
    yield (
        f'<?xml version="1.0"?><?xml-stylesheet href="{target}" type="text/css"?>'
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"/>'
    ).encode()
    yield svg(f'width="16" height="16"><style>@import url("{target}");</style><rect width="9"/>')
    yield svg(f'width="16" height="16"><use href="{target}#a"/>')
    yield svg(
        'xmlns:xi="http://www.w3.org/2001/XInclude" width="16" height="16">'
        f'<xi:include href="{target}" parse="text"/>'
    )


def test_references_in_svg_are_neither_read_nor_requested(connect, listening, tmp_path):
    client = connect()
    secret = tmp_path / "secret.png"
    secret.write_bytes(image_bytes(16, 16))
    blank = {}
    for target in (secret.as_uri(), str(secret), f"http://127.0.0.1:{listening.port}/a"):
        for number, content in enumerate(references(target)):
            response = post(client, content, name="a.svg", format="png")
            if response.status_code == 200:
                pixels = np.asarray(Pillow.open(io.BytesIO(response.content)).convert("RGB"))
                # The reference has no influence: the same pixels as with a file that is missing.
                missing = list(references("file:///nowhere/at/all"))[number]
                if number not in blank:
                    other = post(client, missing, name="a.svg", format="png")
                    blank[number] = other.content if other.status_code == 200 else None
                if blank[number] is not None:
                    same = np.asarray(Pillow.open(io.BytesIO(blank[number])).convert("RGB"))
                    np.testing.assert_array_equal(pixels, same)
            else:
                problem(response, response.status_code)
                assert response.status_code in (413, 415, 422)
    assert not listening.was_reached()
    assert files_in(client.service) == []


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".avi", ".mkv"])
def test_playlists_are_not_videos(connect, listening, tmp_path, suffix):
    pytest.importorskip("av")
    client = connect()
    address = f"http://127.0.0.1:{listening.port}/a.ts"
    for content in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/a.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile a.ts\n",
        "\ufeffffconcat version 1.0\nfile a.ts\n",
        f"[reference]\nref1={address}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ):
        response = client.post("/v1/jobs", files={"image": (f"a{suffix}", content.encode())})
        assert "playlists" in problem(response, 415)["detail"]
    assert not listening.was_reached()
    assert files_in(client.service) == []


def test_no_request_opens_a_connection(connect, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    client = connect()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert post(client).status_code == 200
    assert post(client, strength=0.5).status_code == 200
    problem(post(client, model="http://127.0.0.1/model.pth"), 422)
    absent = next(model.name for model in ZOO.values() if model.found_path is None)
    problem(post(client, model=absent), 422)  # known, but not on this machine
    for path in ("/v1/models", "/v1/openapi.json", "/metrics", "/healthz"):
        assert client.get(path).status_code == 200


def test_a_model_of_a_file_is_not_loaded(connect, tmp_path):
    client = connect()
    path = next((tmp_path / "pair").iterdir())
    for name in (str(path), path.name, path.as_uri(), f"../pair/{path.name}"):
        assert problem(post(client, model=name), 422)["field"] == "model"


# --- Tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        b"Bearer \xff\xfe",
        b"Bearer \xed\xa0\x80",
        "Bearer " + "x" * 10_000,
    ],
)
def test_wrong_tokens(connect, header):
    client = connect(token=TOKEN)
    headers = {} if header is None else {"authorization": header}
    for method, path in (
        ("POST", "/v1/upscale"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs/x"),
        ("GET", "/v1/models"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
        ("GET", "/v1/nothing"),
        ("GET", "/v1"),
    ):
        response = client.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            document = problem(response, 401)
            assert document["field"] == "Authorization"
            assert TOKEN not in response.text
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("token", [TOKEN, "schlüssel-日本-mit-umlaut"])
def test_the_right_token(connect, token):
    client = connect(token=token)
    for header in (f"Bearer {token}", f"bearer   {token} "):
        response = client.get("/v1/models", headers={"authorization": header.encode()})
        assert response.status_code == 200
    document = client.get(
        "/v1/openapi.json", headers={"authorization": f"Bearer {token}".encode()}
    ).json()
    assert document["security"] == [{"token": []}]


def test_paths_that_only_look_different_need_the_token_as_well(connect):
    client = connect(token=TOKEN)
    for path in ("/v1/models", "//v1/models", "/v1//models", "/./v1/models", "/V1/models"):
        answer = call_app(client.app, path, b"", method="GET")
        assert answer.status in (401, 404), (path, answer.status)


# --- Other web sites ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:7860", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("[::1]:7860", 200),
        ("", 421),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("evil.example@127.0.0.1", 200),
        ("127.0.0.1@evil.example", 421),
        ("[::1", 421),
        ("[nonsense]", 421),
        ("127.0.0.1:port", 200),
        ("\xff", 421),
        ("0.0.0.0", 421),
    ],
)
def test_names_of_the_server(connect, host, status):
    client = connect()
    answer = call_app(client.app, "/v1/models", b"", method="GET", headers=[("host", host)])
    assert answer.status == status
    if status == 421:
        assert refusal_of(answer, 421)["field"] == "Host"
    for path in ("/healthz", "/readyz"):  # probes use addresses
        answer = call_app(client.app, path, b"", method="GET", headers=[("host", "10.1.2.3")])
        assert answer.status == 200


def test_given_names_of_the_server(connect):
    client = connect(hosts=("Images.Example",))
    for host, status in (("images.example", 200), ("images.example:443", 200), ("other", 421)):
        answer = call_app(client.app, "/v1/models", b"", method="GET", headers=[("host", host)])
        assert answer.status == status


@pytest.mark.parametrize("host", ["[::1", "a]b", "", "a b", "\xff", "%00", "a/../b?c#d"])
def test_strange_names_are_no_errors_inside_the_server(connect, host):
    client = connect(hosts=())
    for method, path in (("GET", "/v1/models"), ("GET", "/v1/nothing"), ("GET", "/v1/models/")):
        headers = [("host", host), ("origin", f"http://{host}")]
        answer = call_app(client.app, path, b"", method=method, headers=headers)
        assert answer.status in (200, 404)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 200),
        ("https://127.0.0.1", 200),  # behind a proxy
        ("http://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://127.0.0.1:81", 403),
        ("null", 403),
        ("", 403),
        ("http://[::1", 403),
        ("file://", 403),
        ("http://user@127.0.0.1", 403),
        ("\xff", 403),
    ],
)
def test_other_web_sites_may_not_send_images(connect, origin, status):
    client = connect()
    headers = [*RAW, ("origin", origin)]
    answer = call_app(client.app, "/v1/upscale", image_bytes(), headers=headers)
    assert answer.status == status
    if status == 403:
        assert refusal_of(answer, 403)["field"] == "Origin"
    gone = call_app(client.app, "/v1/jobs/x", b"", method="DELETE", headers=headers)
    assert gone.status == (404 if status == 200 else 403)
    assert files_in(client.service) == []


def test_an_unknown_origin_does_not_match_a_missing_name(connect):
    client = connect(hosts=())
    headers = [*RAW, ("origin", "null"), ("host", "")]
    refusal_of(call_app(client.app, "/v1/upscale", image_bytes(), headers=headers), 403)


def test_browsers_get_no_permission_for_other_sites(connect):
    client = connect()
    headers = {
        "origin": "http://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    for path in ("/v1/upscale", "/v1/models", "/metrics"):
        for method in ("OPTIONS", "GET"):
            response = client.request(method, path, headers=headers)
            assert not [name for name in response.headers if name.startswith("access-control")]
    assert client.options("/v1/upscale", headers=headers).status_code == 405


# --- Headers --------------------------------------------------------------------------------------


def check_headers(headers):
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_security_headers_are_everywhere(connect, monkeypatch, caplog):
    client = connect(token=TOKEN, headers={"authorization": f"Bearer {TOKEN}"})
    for response in (
        post(client),
        post(client, b"nonsense"),
        client.get("/v1/models"),
        client.get("/v1/nothing"),
        client.get("/nothing"),
        client.get("/healthz"),
        client.get("/metrics"),
        client.delete("/v1/models"),
        client.get("/v1/models", headers={"authorization": "x"}),
        client.get("/v1/models", headers={"host": "evil.example"}),
        client.post("/v1/upscale", headers={"origin": "null"}),
        client.post("/v1/upscale", headers={"content-length": "9" * 20}),
    ):
        check_headers(response.headers)
        assert (
            response.headers.get("cache-control") == "no-store" or response.url.path == "/nothing"
        )


@pytest.mark.parametrize("path", ["/v1/models", "/metrics"])
def test_an_error_inside_the_server_reveals_nothing(connect, monkeypatch, path):
    client = connect()

    def fail(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(client.service.metrics, "to_text", fail)
    monkeypatch.setattr(type(client.service), "offers", property(fail))
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    import asyncio

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }
    with contextlib.suppress(ZeroDivisionError):  # which the server logs
        asyncio.run(client.app(scope, receive, send))
    start, *bodies = sent
    assert start["status"] == 500
    headers = {key.decode(): value.decode() for key, value in start["headers"]}
    assert headers["content-type"] == "application/problem+json"
    body = b"".join(message.get("body", b"") for message in bodies)
    assert b"secret" not in body
    assert b"log" in body
    check_headers(headers)


# --- A server that listens ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    model = save_tiny_model(folder)
    limits = Limits(max_upload=300_000, idle_seconds=0.5, upload_seconds=2.0)
    with live_service(folder / "serve", models=(str(model),), limits=limits) as (url, service):
        yield int(url.rpartition(":")[2]), service


def exchange(port, *parts, pause=0.0, read=True):
    """Send bytes to a port; the whole answer, until the server closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(OSError):
            while read and (more := connection.recv(65536)):
                answer += more
                head, _, body = answer.partition(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:") and len(body) >= int(line[15:]):
                        return answer
    return answer


HEAD = b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def test_lengths_that_lie(live):
    port, service = live
    image = image_bytes()
    longer = HEAD + b"Content-Length: %d\r\n\r\n" % (len(image) + 50) + image
    assert b" 408 " in exchange(port, longer).split(b"\r\n")[0]
    shorter = HEAD + b"Content-Length: 30\r\n\r\n" + image
    assert b" 422 " in exchange(port, shorter).split(b"\r\n")[0]
    both = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    status = exchange(port, both).split(b"\r\n")[0]
    assert b" 400 " in status or b" 415 " in status
    for length in (b"-1", b"1e3", b"0x10", b"9" * 25, b"5, 6"):
        status = exchange(port, HEAD + b"Content-Length: " + length + b"\r\n\r\n").split(b"\r\n")[0]
        assert b" 400 " in status or b" 413 " in status, (length, status)
    assert files_in(service) == []


def test_chunks_without_end(live):
    port, service = live
    chunk = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    answer = exchange(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 200)
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert files_in(service) == []


def test_connections_that_end_at_every_stage(live):
    port, service = live
    image = image_bytes(40, 40)
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image
    for end in range(0, len(request), max(1, len(request) // 40)):
        exchange(port, request[:end], read=False)
    exchange(port, request, read=False)
    wait_until(lambda: files_in(service) == [], 5)
    assert b" 200 " in exchange(port, request).split(b"\r\n")[0]
    wait_until(lambda: files_in(service) == [], 5)


def test_what_is_not_http(live):
    port, service = live
    for nonsense in (
        b"\0" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/upscale HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        b"\xff\xfe /v1 HTTP/1.1\r\n\r\n",
    ):
        exchange(port, nonsense, read=False)
    assert b" 200 " in exchange(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")[:20]
    assert service.fault is None


@pytest.fixture
def impatient(monkeypatch):
    """Let the server check its connections often, and wait for a short time only."""
    monkeypatch.setattr(connections, "_SECONDS_BETWEEN_CHECKS", 0.05)
    monkeypatch.setattr(connections, "SECONDS_FOR_HEADERS", 0.3)
    monkeypatch.setattr(connections, "SECONDS_TO_READ", 0.3)


def is_closed_by_server(connection, seconds=5.0):
    """Whether the server ends a connection soon."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def ends_while_sending(connection, parts):
    """Whether the server ends a connection before all parts are sent, slowly."""
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
    except OSError:
        return True
    return False


def test_connections_without_a_request_are_closed(live, impatient):
    with socket.create_connection(("127.0.0.1", live[0])) as silent:
        assert is_closed_by_server(silent)
    with socket.create_connection(("127.0.0.1", live[0])) as slow:
        assert ends_while_sending(slow, [b"GET /healthz HTTP/1.1\r\nX: ", *[b"a"] * 300])


def test_a_refused_upload_that_goes_on_is_closed(live, impatient):
    with socket.create_connection(("127.0.0.1", live[0])) as flooding:
        flooding.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        assert ends_while_sending(flooding, [b"abcdefgh"] * 300)


def test_a_client_that_does_not_read_its_response_is_closed(live, impatient):
    port, service = live
    job = service.submit_job(upload(service), "a.png", UpscaleRequest())
    result = wait_until(lambda: service.find_job(job.id).result)
    result.write_bytes(bytes(30_000_000))
    with socket.create_connection(("127.0.0.1", port)) as lazy:
        path = f"/v1/jobs/{job.id}/result"
        lazy.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(1)
        lazy.settimeout(5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while more := lazy.recv(1 << 20):
                received += len(more)
    assert received < 30_000_000
    service.remove_job(job.id)


def test_a_client_that_reads_slowly_gets_all(live, impatient):
    port, service = live
    job = service.submit_job(upload(service), "a.png", UpscaleRequest())
    result = wait_until(lambda: service.find_job(job.id).result)
    result.write_bytes(bytes(8_000_000))
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(
            b"GET /v1/jobs/%s/result HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            % job.id.encode()
        )
        while more := slow.recv(1 << 20):
            received += more
            time.sleep(0.05)
    assert len(received) > 8_000_000
    service.remove_job(job.id)
