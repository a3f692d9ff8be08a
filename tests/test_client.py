"""The client, against a service that listens on this machine."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from live_service import live_service, save_tiny_model
from PIL import Image as PillowImage

from torch_sr import Client, ImageError, MissingExtraError, ServiceError, Upscaler
from torch_sr.serving.batching import SharedEngine
from torch_sr.serving.settings import Limits

TOKEN = "a-token-of-many-characters"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    with live_service(folder, token=TOKEN, models=(str(model),), tile_size=32) as (url, service):
        yield url, service


@pytest.fixture
def client(served):
    with Client(served[0], TOKEN) as client:
        yield client


@pytest.fixture
def image(tmp_path, save_photo):
    path = tmp_path / "a cät.png"
    save_photo(path)
    return path


@pytest.fixture
def slow(monkeypatch):
    """Make each tile take a while."""
    compute = SharedEngine.__call__

    def slowly(engine, lr):
        time.sleep(0.03)
        return compute(engine, lr)

    monkeypatch.setattr(SharedEngine, "__call__", slowly)


@pytest.fixture
def large(tmp_path, save_photo):
    """An image of many tiles."""
    path = tmp_path / "large.png"
    save_photo(path, height=96, width=96)
    return path


@pytest.fixture(scope="module")
def upscaled(model):
    """The file that torch-sr upscale would write."""
    upscaler = Upscaler(str(model), device="cpu", tile_size=32)

    def upscale(source, target):
        return upscaler.upscale_file(source, target).read_bytes()

    return upscale


def refusal(call, *arguments, **options):
    with pytest.raises(ServiceError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return caught.value


# --- Images ---------------------------------------------------------------------------------------


def test_the_result_is_that_of_the_command(client, image, tmp_path, upscaled):
    expected = upscaled(image, tmp_path / "expected.png")
    assert client.upscale(image) == expected
    assert client.upscale(str(image)) == expected
    assert client.upscale(image.read_bytes()) == expected
    with image.open("rb") as file:
        assert client.upscale(file) == expected
    assert client.upscale(io.BytesIO(image.read_bytes())) == expected


def test_options(client, image):
    result = client.upscale(image, scale=2, format="webp", lossless=True, quality=None)
    with PillowImage.open(io.BytesIO(result)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (64, 48))


def test_a_file_has_the_format_of_its_suffix(client, image, tmp_path):
    for name, file_format in (("a.jpg", "JPEG"), ("a.tiff", "TIFF"), ("a", "PNG")):
        target = client.upscale_file(image, tmp_path / name)
        with PillowImage.open(target) as opened:
            assert (opened.format, opened.size) == (file_format, (128, 96))
    assert client.upscale_file(image, tmp_path / "b.png", format="gif").read_bytes()[:3] == b"GIF"


def test_files_that_exist_are_kept(client, image, tmp_path):
    target = tmp_path / "b.png"
    target.write_bytes(b"earlier")
    with pytest.raises(ImageError, match=r"b\.png exists; pass overwrite=True"):
        client.upscale_file(image, target)
    assert refusal(client.upscale_file, b"?", target, overwrite=True).status == 415
    assert target.read_bytes() == b"earlier"
    assert client.upscale_file(image, target, overwrite=True) == target
    assert target.read_bytes() != b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a cät.png", "b.png"]


def test_targets_that_cannot_be_written(client, image, tmp_path):
    with pytest.raises(ImageError, match=r"make the folder .*missing first"):
        client.upscale_file(image, tmp_path / "missing" / "a.png")
    (tmp_path / "d.png").mkdir()
    with pytest.raises(ImageError, match=r"d\.png"):
        client.upscale_file(image, tmp_path / "d.png", overwrite=True)


def test_what_the_result_could_not_keep_is_logged(client, tmp_path, caplog):
    frames = [PillowImage.new("L", (8, 8), shade) for shade in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    client.upscale(tmp_path / "a.gif", format="jpg")
    client.upscale_file(tmp_path / "a.gif", tmp_path / "a.jpg")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "the other 2 frames were left out" in caplog.text


def test_models(client):
    (model,) = client.models()
    assert (model["name"], model["scale_factor"], model["is_default"]) == ("tiny-x4", 4, True)


# --- Errors ---------------------------------------------------------------------------------------


def test_a_refusal_names_field_value_and_remedy(client, image):
    error = refusal(client.upscale, image, model="tiny-x5")
    assert (error.status, error.field, error.value) == (422, "model", "tiny-x5")
    assert error.remedy == "did you mean tiny-x4?"
    assert str(error) == "this model is not offered; did you mean tiny-x4?"
    assert refusal(client.upscale, image, colour=1).field == "colour"
    assert refusal(client.upscale, b"").field == "image"
    assert refusal(client.job, "../models").status == 404


def test_tokens(served, image):
    with Client(served[0]) as client:
        assert refusal(client.models).field == "Authorization"
    with Client(served[0], "wrong") as client:
        assert refusal(client.submit, image).status == 401


def test_a_missing_source_is_an_error_of_the_system(client, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.upscale(tmp_path / "missing.png")


@pytest.mark.parametrize("url", ["127.0.0.1:7860", "ftp://a", "http://", ""])
def test_wrong_addresses(url):
    assert "write the address as in http://127.0.0.1:7860" in str(refusal(Client, url))


def test_no_service():
    with Client("http://127.0.0.1:9") as client:
        error = refusal(client.models)
    assert error.status is None
    assert error.remedy == "check the address, and whether the service runs"
    assert str(error).startswith("http://127.0.0.1:9")


def test_without_httpx(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-sr\[client\]'"):
        Client("http://127.0.0.1:7860")


# --- Jobs -----------------------------------------------------------------------------------------


def test_a_job(client, large, tmp_path, slow, upscaled):
    job = client.submit(large, format="png")
    assert (job.state in ("queued", "running"), job.name) == (True, "large.png")
    assert "the job has no result" in str(refusal(job.result))
    seen = []
    assert job.wait(lambda job: seen.append((job.state, job.progress))) is job
    assert seen[-1] == ("done", 1.0)
    assert seen == sorted(seen, key=lambda pair: pair[1])
    assert len(seen) > 2
    assert job.result() == upscaled(large, tmp_path / "expected.png")
    assert job.save(tmp_path / "saved.png").read_bytes() == job.result()
    with pytest.raises(ImageError, match="exists"):
        job.save(tmp_path / "saved.png")
    assert client.job(job.id).wait().result() == job.result()
    assert repr(job) == f"RemoteJob('{job.id}', state='done', progress=1.00)"


def test_a_job_is_cancelled(client, large, slow):
    job = client.submit(large)
    threading.Timer(0.2, job.cancel).start()
    assert "was cancelled" in str(refusal(job.wait))
    assert refusal(job.refresh).status == 404
    assert refusal(job.cancel).status == 404


def test_a_job_fails(client, image, monkeypatch):
    def fail(engine, lr):
        raise RuntimeError("a bug")

    monkeypatch.setattr(SharedEngine, "__call__", fail)
    job = client.submit(image)
    error = refusal(job.wait)
    assert (error.status, job.state) == (500, "failed")
    assert "ask its operator" in str(error)
    assert "failed" in str(refusal(job.result))


def test_a_job_is_polled_if_events_end_early(client, large, slow, monkeypatch):
    monkeypatch.setattr("torch_sr.client.jobs._POLL_SECONDS", 0.05)
    monkeypatch.setattr("torch_sr.client.jobs._SILENCE_SECONDS", 0.05)  # less than between events
    seen = []
    client.submit(large).wait(lambda job: seen.append(job.state))
    assert seen[-1] == "done"


def test_a_job_survives_a_restart_of_the_service(model, tmp_path, large, slow, monkeypatch):
    monkeypatch.setattr("torch_sr.client.jobs._POLL_SECONDS", 0.05)
    settings = {"models": (str(model),), "tile_size": 32, "grace": 0}
    with live_service(tmp_path / "service", **settings) as (url, _):
        client = Client(url, retries=5)
        job = client.submit(large)
        running = threading.Event()
        done = threading.Thread(target=job.wait, args=(lambda job: running.set(),))
        done.start()
        assert running.wait(10)
    assert job.state != "done"
    with live_service(tmp_path / "service", port=int(url.rpartition(":")[2]), **settings):
        done.join(20)
        assert job.state == "done"
        assert job.result()
        client.close()


# --- Retries --------------------------------------------------------------------------------------

JOB = {"id": "j", "state": "done", "progress": 1.0}


@contextmanager
def scripted(*answers):
    """A server that gives these answers one after another: status, headers, body; None hangs up."""
    received, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received.append((self.path, self.headers, body))
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status, detail="wait", **headers):
    return status, headers, json.dumps({"status": status, "detail": detail}).encode()


@pytest.fixture
def waits(monkeypatch):
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def test_a_lost_connection_makes_no_second_job(waits, image):
    accepted = 202, {}, json.dumps(JOB).encode()
    with (
        scripted(None, accepted) as (url, received),
        Client(url, retries=1) as client,
        image.open("rb") as file,
    ):
        assert client.submit(file).id == "j"
    assert {headers["Idempotency-Key"] for _, headers, _ in received} == {
        received[0][1]["Idempotency-Key"]
    }
    assert [body for *_, body in received] == [image.read_bytes()] * 2
    assert waits == [1]


def test_each_job_has_its_own_key(image):
    accepted = 202, {}, json.dumps(JOB).encode()
    with scripted(accepted, accepted) as (url, received), Client(url) as client:
        client.submit(image)
        client.submit(image)
    assert len({headers["Idempotency-Key"] for _, headers, _ in received}) == 2


def test_a_busy_service_is_asked_again_after_the_time_it_names(waits, image):
    busy = problem(429, **{"Retry-After": "7"}), problem(503, **{"Retry-After": "3600"})
    with scripted(*busy, (200, {}, b"result")) as (url, _), Client(url, retries=2) as client:
        assert client.upscale(image) == b"result"
    assert waits == [7, 60]


def test_retries_are_bounded_and_only_for_busy_services(waits, image):
    with scripted(*[problem(429)] * 5, problem(422)) as (url, received):
        with Client(url) as client:
            assert refusal(client.upscale, image).status == 429
        assert (len(received), waits) == (1, [])
        with Client(url, retries=3) as client:
            assert refusal(client.upscale, image).status == 429
            assert (len(received), waits) == (5, [1, 2, 4])
            assert refusal(client.upscale, image).status == 422
    assert len(received) == 6


def test_a_result_that_breaks_off_is_not_written(image, tmp_path):
    broken = 200, {"Content-Length": "100"}, b"half"
    with scripted(broken) as (url, _), Client(url) as client:
        assert refusal(client.upscale_file, image, tmp_path / "b.png").status is None
    assert [path.name for path in tmp_path.iterdir()] == [image.name]


def test_answers_of_other_servers(image):
    answers = (
        (502, {}, b"<html>"),
        (301, {"Location": "https://a.b/v1/upscale"}, b""),
        (200, {}, b"<html>"),
    )
    with scripted(*answers) as (url, _), Client(url) as client:
        assert str(refusal(client.upscale, image)).endswith("502 Bad Gateway; check the address")
        assert "use the address https://a.b/v1/upscale" in str(refusal(client.upscale, image))
        assert "this is not torch-sr" in str(refusal(client.models))


def test_an_address_below_a_path(image):
    with scripted((200, {}, b"result")) as (url, received), Client(f"{url}/sr/") as client:
        assert client.upscale(image) == b"result"
    assert received[0][0] == "/sr/v1/upscale"


def test_a_full_queue(model, tmp_path, large, slow):
    settings = {"models": (str(model),), "tile_size": 32, "limits": Limits(queue=1)}
    jobs = []

    def submit():
        for _ in range(20):
            jobs.append(client.submit(large))

    with live_service(tmp_path / "service", **settings) as (url, _), Client(url) as client:
        error = refusal(submit)
        assert (error.status, error.retry_after > 0) == (429, True)
        for job in jobs:
            job.cancel()
