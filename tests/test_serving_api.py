"""The API: the bytes of ``torch-sr upscale``, options, names, formats, jobs, events and figures."""

from __future__ import annotations

import io
import json
import re
import threading
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms
from serving_kit import (
    call_app,
    connect,
    files_in,
    gate,
    image_bytes,
    start_service,
    wait_for_job,
    wait_until,
)

from torch_sr import Upscaler
from torch_sr.images import WriteOptions
from torch_sr.inference.files.sizes import target_size
from torch_sr.serving.requests import FORMATS

__all__ = ["connect", "gate", "start_service"]  # fixtures


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def post(client, content=None, path="/v1/upscale", name=None, headers=None, **options):
    """Send an image as the body."""
    sent = {"content-type": "application/octet-stream", **(headers or {})}
    if name is not None:
        sent["content-disposition"] = f'attachment; filename="{name}"'
    content = image_bytes() if content is None else content
    return client.post(path, content=content, params=options, headers=sent)


def problem(response, status):
    """The problem document of a response."""
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    assert "\n" not in document["detail"]
    return document


# --- The same bytes as the command ----------------------------------------------------------------


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def deep_png():
    from torch_sr.images import Image, write_image

    def write(path):
        write_image(path, Image.from_array(noise(9, 11, 3, dtype=np.uint16)))
        return path.read_bytes()

    return write


def sources():
    rgb, rgba = Pillow.fromarray(noise(12, 10, 3)), Pillow.fromarray(noise(12, 10, 4))
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    return {
        "photo.jpg": saved(rgb, "JPEG", exif=exif, icc_profile=profile),
        "gray.png": saved(rgb.convert("L"), "PNG"),
        "alpha.png": saved(rgba, "PNG", icc_profile=profile),
        "animated.gif": saved(rgb, "GIF", duration=[20, 50, 70], loop=0, **frames),
        "animated.png": saved(rgb, "PNG", duration=[20, 50, 70], **frames),
        "animated.webp": saved(rgb, "WEBP", lossless=True, duration=40, **frames),
        "scan.tif": saved(rgb, "TIFF", compression="tiff_lzw", dpi=(300, 300)),
        "old.bmp": saved(rgb, "BMP"),
    }


@pytest.fixture
def expected(pair, tmp_path):
    """The file that ``torch-sr upscale`` writes for the same options."""

    def upscale(name, content, *, model=None, strength=None, tta=False, size=None, **write):
        target = write.pop("target")
        damaged = write.pop("damaged", "refuse")
        (tmp_path / name).write_bytes(content)
        upscaler = Upscaler(model, strength=strength, device="cpu", threads=1, tta=tta)
        options = WriteOptions(**write)
        path = upscaler.upscale_file(
            tmp_path / name, tmp_path / target, options=options, size=size, damaged=damaged
        )
        return path.read_bytes()

    return upscale


def test_all_kinds_of_images_keep_their_properties(connect, expected, tmp_path):
    client = connect()
    images = {**sources(), "deep.png": deep_png()(tmp_path / "deep_source.png")}
    for name, content in images.items():
        response = post(client, content, name=name)
        assert response.status_code == 200, response.text[:300]
        stem, _, suffix = name.rpartition(".")
        target = f"{stem}_sr.{'png' if suffix == 'bmp' else suffix}"
        assert f'filename="{target}"' in response.headers["content-disposition"]
        kind = "png" if suffix == "bmp" else suffix
        assert response.headers["content-type"] == FORMATS[kind]
        assert response.content == expected(name, content, target=target), name
    assert files_in(client.service) == []


@pytest.mark.parametrize(
    ("query", "command"),
    [
        ({"strength": 0}, {"strength": 0.0}),
        ({"strength": 0.25}, {"strength": 0.25}),
        ({"model": "compact-x4-real"}, {"model": "compact-x4-real"}),
        ({"scale": 2}, {"size": target_size(2)}),
        ({"scale": 2.5}, {"size": target_size(2.5)}),
        ({"width": 33}, {"size": target_size(None, 33)}),
        ({"height": 20, "width": 60}, {"size": target_size(None, 60, 20)}),
        ({"format": "jpg", "quality": 30}, {"quality": 30, "target": "a_sr.jpg"}),
        ({"format": "webp", "lossless": "true"}, {"lossless": True, "target": "a_sr.webp"}),
        ({"format": "tif"}, {"target": "a_sr.tif"}),
        ({"tta": "true"}, {"tta": True}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_options_mean_the_same_as_for_the_command(connect, expected, query, command):
    client, content = connect(), image_bytes(9, 12)
    wanted = expected("a.png", content, **{"target": "a_sr.png", **command})
    as_body = post(client, content, name="a.png", **query)
    as_form = client.post("/v1/upscale", files={"image": ("a.png", content)}, data=query)
    mixed = client.post("/v1/upscale", files={"image": ("a.png", content)}, params=query)
    for response in (as_body, as_form, mixed):
        assert response.status_code == 200, response.text[:300]
        assert response.content == wanted


def test_damaged_images_are_refused_or_kept(connect, expected):
    client, content = connect(), image_bytes(64, 64, "JPEG", quality=90)[:2500]
    document = problem(post(client, content, name="a.jpg"), 422)
    assert (document["field"], document["value"]) == ("image", "a.jpg")
    response = post(client, content, name="a.jpg", damaged="keep")
    assert response.status_code == 200
    assert response.content == expected("a.jpg", content, target="a_sr.jpg", damaged="keep")
    assert response.headers["torch-sr-notes"]


def test_what_the_result_cannot_keep_is_in_a_header(connect):
    response = post(connect(), sources()["animated.gif"], name="a.gif", format="jpg")
    notes = response.headers["torch-sr-notes"]
    assert "frames were left out" in notes
    assert notes.isascii()


# --- Names ----------------------------------------------------------------------------------------

NAMES = [
    ("photo.png", "photo_sr.png"),
    ("a cät.png", "a cät_sr.png"),
    ("日本.PNG", "日本_sr.PNG"),
    ("../../etc/passwd.png", "passwd_sr.png"),
    (r"..\..\windows\win.png", "win_sr.png"),
    ("/absolute/a.png", "a_sr.png"),
    (r"C:\a.png", "a_sr.png"),
    ("..", "image_sr.png"),
    ("", "image_sr.png"),
    (".png", "png_sr.png"),
    ("a.png/", "a_sr.png"),
    ("no suffix", "no suffix_sr.png"),
    ("a.exe", "a.exe_sr.png"),
    ("CON.png", "_CON_sr.png"),
    ("nul", "_nul_sr.png"),
    ("com1.tar.png", "_com1.tar_sr.png"),
    ("a:b|c?.png", "bc_sr.png"),
    ('say "hi".png', "say hi_sr.png"),
    ("x" * 300 + ".png", "x" * 100 + "_sr.png"),
    ("é" * 300 + ".png", "é" * 50 + "_sr.png"),
    ("a\u202egnp.exe.png", "agnp.exe_sr.png"),
    ("-rf.png", "-rf_sr.png"),
    ("~.png", "~_sr.png"),
    ("%2e%2e%2fa.png", None),
    ("a;b.png", "a;b_sr.png"),
]


def name_of(response):
    """The file name of a response."""
    header = response.headers["content-disposition"]
    if found := re.search(r"filename\*=utf-8''(\S+)", header):
        return unquote(found[1])
    return re.search(r'filename="([^"]*)"', header)[1]


def test_names_of_files(connect):
    client = connect()
    for name, result in NAMES:
        if '"' not in name and name:  # which forms write in other ways
            kind = "multipart/form-data; boundary=x"
            form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n'
            form = form % name.encode() + image_bytes() + b"\r\n--x--\r\n"
            response = client.post("/v1/upscale", content=form, headers={"content-type": kind})
            assert response.status_code == 200, (name, response.text[:300])
            assert result in (None, name_of(response)), name
        quoted = name.replace("\\", r"\\").replace('"', r"\"")
        header = f'attachment; filename="{quoted}"'.encode()
        headers = [(b"content-disposition", header)]
        response = client.post("/v1/upscale", content=image_bytes(), headers=headers)
        assert response.status_code == 200, (name, response.text[:300])
        assert result in (None, name_of(response)), name
    assert files_in(client.service) == []


def test_names_in_the_notation_of_rfc_5987(connect):
    client = connect()
    for header, result in (
        ("attachment; filename*=UTF-8''na%C3%AFve%20cat.png", "naïve cat_sr.png"),
        ("attachment; filename*=utf-8'en'..%2F..%2Fa.png", "a_sr.png"),
        ("inline; filename=plain.png", "plain_sr.png"),
        ("attachment; filename*=undefined''%C3.png", None),
        ("attachment; filename*=nonsense''%C3.png", None),
        ("attachment; filename", "image_sr.png"),
        ("attachment; filename*0=long; filename*1=er.png", "longer_sr.png"),
        (";;;===\"''", "image_sr.png"),
        ('attachment; filename="a\r\n.png"'.replace("\r\n", ""), "a_sr.png"),
    ):
        response = post(client, headers={"content-disposition": header})
        assert response.status_code == 200, (header, response.text)
        if result:
            assert name_of(response) == result


def test_a_name_cannot_add_headers(connect):
    client = connect()
    for name in ("a\r\nSet-Cookie: x=1\r\n.png", "a\nb.png", "a\0b.png", '"; filename="b.png'):
        form = (
            b"--x\r\nContent-Disposition: form-data; name=image; filename*=utf-8''"
            + "".join(f"%{byte:02x}" for byte in name.encode()).encode()
            + b"\r\n\r\n"
            + image_bytes()
            + b"\r\n--x--\r\n"
        )
        response = client.post(
            "/v1/upscale", content=form, headers={"content-type": "multipart/form-data; boundary=x"}
        )
        assert "set-cookie" not in response.headers
        for value in response.headers.values():
            assert not re.search(r"[\r\n\0]", value)


@pytest.mark.parametrize(
    "charset", ["utf-16", "undefined", "idna", "rot13", "nonsense", "utf-7", "punycode"]
)
def test_forms_in_strange_encodings(connect, charset):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="\xff\xfe\xd8+AD-.png"'
        b"\r\n\r\n" + image_bytes() + b"\r\n--x--\r\n"
    )
    client = connect()
    response = client.post(
        "/v1/upscale",
        content=form,
        headers={"content-type": f"multipart/form-data; boundary=x; charset={charset}"},
    )
    assert response.status_code in (200, 400, 422), response.text[:300]
    assert files_in(client.service) == []


# --- Formats --------------------------------------------------------------------------------------


def test_accept_chooses_the_format(connect):
    client = connect()
    for accept, kind in [
        ("*/*", "image/png"),
        ("", "image/png"),
        ("image/*", "image/png"),
        ("image/webp", "image/webp"),
        ("IMAGE/WEBP", "image/webp"),
        ("text/html, image/jpeg", "image/jpeg"),
        ("image/webp;q=0.5, image/jpeg;q=0.9", "image/jpeg"),
        ("image/webp;q=0, image/jpeg;q=0.1", "image/jpeg"),
        ("image/webp;q=nonsense", "image/webp"),
        ("application/json, */*;q=0.1", "image/png"),
    ]:
        response = post(client, headers={"accept": accept})
        assert response.headers["content-type"] == kind, accept
        assert saved(Pillow.open(io.BytesIO(response.content)), "PNG")


def test_the_option_wins_over_accept(connect):
    response = post(connect(), headers={"accept": "image/webp"}, format="tif")
    assert response.headers["content-type"] == "image/tiff"


@pytest.mark.parametrize(
    "accept", ["text/html", "image/jxl", "application/json", "image/png;q=0", ","]
)
def test_types_that_are_not_written_are_refused(connect, accept):
    client = connect()
    document = problem(post(client, headers={"accept": accept}), 406)
    assert document["field"] == "Accept"
    assert "image/png" in document["remedy"]
    assert files_in(client.service) == []


# --- Wrong requests -------------------------------------------------------------------------------

WRONG = [
    ({"model": "compakt-x4"}, "model", "compact-x4"),
    ({"model": "../../etc/passwd"}, "model", "compact-x4"),
    ({"model": "x" * 300}, "model", ""),
    ({"strength": 1.01}, "strength", ""),
    ({"strength": "nan"}, "strength", ""),
    ({"strength": "much"}, "strength", ""),
    ({"scale": 0}, "scale", ""),
    ({"scale": "inf"}, "scale", ""),
    ({"scale": 2, "height": 5}, "scale", "one of them"),
    ({"width": -1}, "width", ""),
    ({"width": 1.5}, "width", ""),
    ({"width": 10**30}, "width", ""),
    ({"format": "exe"}, "format", ""),
    ({"format": "../png"}, "format", ""),
    ({"quality": 101}, "quality", ""),
    ({"lossless": "perhaps"}, "lossless", ""),
    ({"damaged": "invent"}, "damaged", ""),
    ({"max_pixels": 1}, "max_pixels", "/v1/openapi.json"),
]


def test_wrong_options_are_named(connect):
    client = connect()
    form = {"files": {"image": ("a.png", image_bytes())}}
    for options, field, remedy in WRONG:
        data = {key: str(value) for key, value in options.items()}
        for path in ("/v1/upscale", "/v1/jobs"):
            in_query = client.post(path, params=data, **form)
            for response in (in_query, client.post(path, data=data, **form)):
                document = problem(response, 422)
                assert document["field"] == field, options
                assert document["remedy"]
                assert remedy in document["remedy"]
    assert files_in(client.service) == []


def test_options_may_be_given_once(connect):
    client = connect()
    form = {"files": {"image": ("a.png", image_bytes())}}
    for response in (
        client.post("/v1/upscale?scale=2&scale=3", **form),
        client.post("/v1/upscale?scale=2", data={"scale": "2"}, **form),
        client.post("/v1/upscale", data={"scale": ["2", "3"]}, **form),
    ):
        document = problem(response, 422)
        assert document["field"] == "scale"
        assert "once" in document["remedy"]
    assert client.post("/v1/upscale?scale=&model=", **form).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "image/png", 422),
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (b"<html></html>", "text/html", 415),
        (b"not an image", "image/png", 415),
        (b"%PDF-1.7\n", "image/png", 415),
        (b"", "multipart/form-data", 400),
        (b"nonsense", "multipart/form-data; boundary=x", 422),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", 400),
        (b"--x--", "multipart/form-data; boundary=x", 422),
        (b"", "multipart/form-data; boundary=" + "x" * 3000, 422),
    ],
)
def test_requests_without_an_image_are_refused(connect, content, kind, status):
    client = connect()
    for path in ("/v1/upscale", "/v1/jobs"):
        response = client.post(path, content=content, headers={"content-type": kind})
        document = problem(response, response.status_code)
        assert response.status_code in (status, 400, 415, 422)
        assert document.get("remedy") or document.get("field")
    assert files_in(client.service) == []


def test_forms_with_other_files_are_refused(connect):
    client = connect()
    image = ("a.png", image_bytes())
    document = problem(client.post("/v1/upscale", files={"photo": image}), 422)
    assert (document["field"], document["remedy"]) == ("photo", "name its part image")
    two = [("image", image), ("image", image)]
    assert "one part" in problem(client.post("/v1/upscale", files=two), 400)["remedy"]
    empty = client.post("/v1/upscale", files={"image": ("a.png", b"")})
    assert problem(empty, 422)["field"] == "image"
    texts = {f"field{n}": "x" for n in range(100)}
    problem(client.post("/v1/upscale", files={"image": image}, data=texts), 400)
    long = {"model": "x" * 2_000_000}
    problem(client.post("/v1/upscale", files={"image": image}, data=long), 400)
    assert files_in(client.service) == []


def test_paths_and_methods_that_do_not_exist(connect):
    client = connect()
    assert "openapi.json" in problem(client.get("/v1/nothing"), 404)["remedy"]
    assert problem(client.get("/v1"), 404)
    assert problem(client.get("/v1/models/"), 404)
    assert problem(client.get("/nothing"), 404)
    for method, path, allowed in (
        ("GET", "/v1/upscale", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("TRACE", "/v1/models", "GET"),
        ("PUT", "/healthz", "GET"),
        ("BREW", "/v1/jobs", "POST"),
    ):
        response = client.request(method, path)
        problem(response, 405)
        assert allowed in response.headers["allow"]


def test_a_head_request_has_the_headers_of_get(connect):
    client = connect()
    for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/v1/openapi.json"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert client.head("/v1/upscale").status_code == 405
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    wait_for_job(client.service, job["id"])
    head = client.head(f"/v1/jobs/{job['id']}/result")
    assert int(head.headers["content-length"]) == len(
        client.get(f"/v1/jobs/{job['id']}/result").content
    )
    assert client.head(f"/v1/jobs/{job['id']}/events").status_code == 200


def test_too_many_requests(connect, gate):
    client = connect(queue=1, tasks_per_device=1)
    form = {"files": {"image": ("a.png", image_bytes())}}
    assert client.post("/v1/jobs", **form).status_code == 202
    gate.wait()
    assert client.post("/v1/jobs", **form).status_code == 202
    for path in ("/v1/upscale", "/v1/jobs"):
        response = client.post(path, **form)
        assert problem(response, 429)["remedy"] == "try again later"
        assert 1 <= int(response.headers["retry-after"]) <= 600
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json() == {"status": "the queue is full"}
    assert client.get("/healthz").status_code == 200


# --- Jobs -----------------------------------------------------------------------------------------


def test_a_job_from_its_upload_to_its_deletion(connect, expected):
    client, content = connect(), image_bytes(9, 7)
    response = client.post(
        "/v1/jobs", files={"image": ("a cät.png", content)}, data={"format": "webp"}
    )
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["state"] in ("queued", "running", "done")
    wait_for_job(client.service, job["id"])
    job = client.get(response.headers["location"]).json()
    assert (job["state"], job["progress"], job["name"]) == ("done", 1, "a cät.png")
    assert job["created"] <= job["started"] <= job["finished"]
    assert job["error"] is None
    result = client.get(job["result_url"])
    assert result.content == expected("a.png", content, target="a_sr.webp")
    assert result.headers["content-type"] == "image/webp"
    assert name_of(result) == "a cät_sr.webp"
    deleted = client.delete(response.headers["location"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/result", "/events"):
        document = problem(client.get(response.headers["location"] + path), 404)
        assert (document["field"], document["value"]) == ("job_id", job["id"])
    problem(client.delete(response.headers["location"]), 404)


def test_a_job_that_is_not_finished_has_no_result(connect, gate):
    client = connect()
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    gate.wait()
    document = problem(client.get(f"/v1/jobs/{job['id']}/result"), 409)
    assert "running" in document["detail"]
    assert "wait" in document["remedy"]
    assert client.get(f"/v1/jobs/{job['id']}").json()["result_url"] is None


def test_a_result_that_was_deleted_is_missing(connect):
    client = connect()
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    wait_for_job(client.service, job["id"]).result.unlink()
    document = problem(client.get(f"/v1/jobs/{job['id']}/result"), 404)
    assert "deleted" in document["detail"]
    assert document["remedy"] == "send the image again"


def test_a_failed_job_says_why(connect):
    client = connect()
    content = image_bytes(200, 200, "JPEG")[:3000]
    job = client.post("/v1/jobs", files={"image": ("a.jpg", content)}).json()
    wait_for_job(client.service, job["id"])
    job = client.get(f"/v1/jobs/{job['id']}").json()
    assert (job["state"], job["error"]["status"], job["error"]["field"]) == ("failed", 422, "image")
    document = problem(client.get(f"/v1/jobs/{job['id']}/result"), 409)
    assert "failed" in document["detail"]


@pytest.mark.parametrize("job_id", ["x", "x" * 64, "..", "%2e%2e", "jobs.sqlite", "a%00b", "'--"])
def test_ids_of_no_job(connect, job_id):
    problem(connect().get(f"/v1/jobs/{job_id}"), 404)


def test_ids_that_are_too_long(connect):
    assert problem(connect().get("/v1/jobs/" + "x" * 65), 422)["field"] == "job_id"


def test_idempotency_keys(connect):
    client = connect()

    def send(key, seed=0):
        return client.post(
            "/v1/jobs",
            files={"image": ("a.png", image_bytes(seed=seed))},
            headers={"idempotency-key": key},
        )

    assert send("k").json()["id"] == send("k").json()["id"]
    assert problem(send("k", seed=1), 409)["field"] == "Idempotency-Key"
    assert problem(send(""), 422)["field"].lower() == "idempotency-key"
    assert problem(send("x" * 201), 422)["field"].lower() == "idempotency-key"


def events_of(answer):
    """The names and documents of server-sent events."""
    found = []
    for block in answer.body.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_follow_a_job_to_its_end(connect, gate, monkeypatch):
    monkeypatch.setattr("torch_sr.serving.api.routes._SECONDS_BETWEEN_EVENTS", 0.01)
    client = connect()
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    gate.wait()
    wait_until(lambda: client.service.find_job(job["id"]).progress == 0.25)
    threading.Timer(0.1, gate.open).start()
    answer = call_app(client.app, f"/v1/jobs/{job['id']}/events", b"", method="GET")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer)
    assert events[0][0] == "running"
    assert events[0][1]["progress"] == 0.25
    assert events[-1][0] == "done"
    assert events[-1][1] == client.get(f"/v1/jobs/{job['id']}").json()


def test_events_end_when_the_job_is_deleted_or_the_server_stops(connect, gate, monkeypatch):
    monkeypatch.setattr("torch_sr.serving.api.routes._SECONDS_BETWEEN_EVENTS", 0.01)
    client = connect()
    jobs = [
        client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()["id"]
        for _ in range(2)
    ]
    gate.wait(2)
    threading.Timer(0.05, client.delete, [f"/v1/jobs/{jobs[0]}"]).start()
    answer = call_app(client.app, f"/v1/jobs/{jobs[0]}/events", b"", method="GET")
    assert events_of(answer)[-1] == ("cancelled", {"id": jobs[0], "state": "cancelled"})
    threading.Timer(0.05, client.service.stop, [0]).start()
    answer = call_app(client.app, f"/v1/jobs/{jobs[1]}/events", b"", method="GET")
    assert events_of(answer)[-1][0] in ("running", "queued")


def test_events_end_when_the_client_goes_away(connect, gate):
    client = connect()
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    gate.wait()
    answer = call_app(client.app, f"/v1/jobs/{job['id']}/events", b"", 0.05, None, method="GET")
    assert events_of(answer)[-1][0] == "running"
    assert client.service.find_job(job["id"]).state == "running"


def test_parts_of_a_result(connect):
    client = connect()
    job = client.post("/v1/jobs", files={"image": ("a.png", image_bytes())}).json()
    wait_for_job(client.service, job["id"])
    url = f"/v1/jobs/{job['id']}/result"
    whole = client.get(url).content
    part = client.get(url, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    for header in ("bytes=999999-", "lines=1-2", "bytes=5-2", "bytes=", "nonsense"):
        response = client.get(url, headers={"range": header})
        if response.status_code == 200:
            assert response.content == whole
            continue
        document = problem(response, response.status_code)
        assert response.status_code in (400, 416)
        assert (document["field"], document["value"]) == ("Range", header)


def test_a_range_of_an_upscaled_image_is_ignored(connect):
    client = connect()
    for header in ("bytes=0-1", "bytes=99999999-", "nonsense"):
        assert len(post(client, headers={"range": header}).content) > 100
    assert files_in(client.service) == []


# --- Models, figures, health ----------------------------------------------------------------------


def test_models(connect):
    models = connect().get("/v1/models").json()["models"]
    assert [model["name"] for model in models][:2] == ["compact-x4", "compact-x4-real"]
    assert [model["is_default"] for model in models][:2] == [True, False]
    assert (models[0]["scale_factor"], models[0]["default_strength"]) == (4, 0.7)
    assert not any("/" in str(model) for model in models)


def test_figures(connect):
    client = connect()
    assert post(client).status_code == 200
    problem(post(client, b"nonsense"), 415)
    problem(client.get("/v1/nothing/at/all"), 404)
    client.request("BREW" * 10, "/v1/models")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    lines = response.text.splitlines()
    for line in (
        'torch_sr_requests_total{method="POST",route="/upscale",status="200"} 1.0',
        'torch_sr_requests_total{method="POST",route="/upscale",status="415"} 1.0',
        'torch_sr_requests_total{method="other",route="/models",status="405"} 1.0',
        'torch_sr_tasks_total{state="done"} 1.0',
        "torch_sr_megapixels_total 6.4e-05",
        "torch_sr_queue_length 0.0",
        "torch_sr_tasks_running 0.0",
        "torch_sr_models_loaded 1.0",
        "torch_sr_ready 1.0",
        "torch_sr_task_seconds_count 1.0",
    ):
        assert line in lines, response.text[:300]
    assert "at/all" not in response.text


def test_paths_of_strangers_do_not_fill_the_figures(connect):
    client = connect()
    for number in range(20):
        client.get(f"/v1/jobs/{number}")
        client.get(f"/v1/{number}")
        client.get(f"/{number}")
    routes = set(re.findall(r'route="([^"]*)"', client.get("/metrics").text))
    assert routes <= {"/jobs/{job_id}", "unknown", "page", "/v1", "/metrics"}, routes


def test_health(connect):
    client = connect()
    for path in ("/healthz", "/readyz"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
    client.service.stop(0)
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json() == {"status": "stopping"}
    assert client.get("/healthz").status_code == 200
    response = post(client)
    assert problem(response, 503)
    assert int(response.headers["retry-after"]) > 0


def test_a_fault_is_reported(connect, monkeypatch):
    client = connect()
    monkeypatch.setattr(client.service._workers[0]._threads[0], "is_alive", lambda: False)
    assert client.get("/healthz").status_code == 503


def test_the_document_of_the_api_is_valid(connect):
    document = connect().get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            for status, response in operation["responses"].items():
                assert response["description"], (path, method, status)
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
    form = document["paths"]["/v1/upscale" if "/v1/upscale" in document["paths"] else "/upscale"]
    assert "multipart/form-data" in form["post"]["requestBody"]["content"]
