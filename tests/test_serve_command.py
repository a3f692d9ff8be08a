"""``torch-sr serve``: wrong options, what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from live_service import save_tiny_model

TOKEN = "a-token-of-many-characters"


@pytest.fixture
def started(monkeypatch):
    """Record what would be served, instead of serving it."""
    calls = []

    def run_server(app, service, listening, **options):
        calls.append((app, service, listening.getsockname(), options))
        options["on_start"]()
        listening.close()
        service.stop(0)

    monkeypatch.setattr("torch_sr.serving.server.run_server", run_server)
    return calls


@pytest.fixture
def serve(run, tmp_path):
    """Run the command with a tiny model, without the page."""

    def serve(*options, model=True, folder=True):
        chosen = ["--model", save_tiny_model(tmp_path)] if model else []
        where = ["--folder", tmp_path / "serve"] if folder else []
        port = [] if "--port" in options else ["--port", 0]
        return run("serve", "--no-page", "--device", "cpu", *port, *chosen, *where, *options)

    return serve


# --- Wrong options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "give a --token"),
        (["--host", "192.168.1.5"], "--no-token lets everyone use it"),
        (["--host", "example.org"], "give a --token"),
        (["--host", ""], "give a --token"),
        (["--host", "127.0.0.1.evil.example"], "give a --token"),
        (["--token", "short"], "it has 5 characters, at least 16 are needed"),
        (["--token", ""], "at least 16"),
        (["--token", TOKEN, "--no-token"], "give one of them"),
        (["--port", "70000"], "less than or equal to 65535"),
        (["--port", "-1"], "greater than or equal to 0"),
        (["--max-upload", "many"], "500K, 100M or 2G"),
        (["--max-upload", "0"], "500K, 100M or 2G"),
        (["--max-upload", "-5M"], "500K, 100M or 2G"),
        (["--max-pixels", "0"], "max-pixels"),
        (["--queue", "0"], "queue"),
        (["--time-limit", "0"], "time-limit"),
        (["--keep-hours", "0"], "keep-hours"),
        (["--max-storage", "1X"], "500K, 100M or 2G"),
        (["--grace", "-1"], "grace"),
        (["--unknown"], "--unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_usage_errors(serve, started, options, words):
    code, out, error = serve(*options, model=False)
    assert code == 2
    assert out == ""
    assert words in " ".join(re.sub(r"[│╭╮╰╯─]", " ", error).split())
    assert not started


def test_a_token_in_the_environment_counts_as_well(serve, started, monkeypatch):
    monkeypatch.setenv("TORCH_SR_TOKEN", "short")
    assert serve(model=False)[0] == 2
    monkeypatch.setenv("TORCH_SR_TOKEN", TOKEN)
    code, _, error = serve("--host", "0.0.0.0")
    assert (code, len(started)) == (0, 1), error
    assert TOKEN not in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "nowhere.invalid", "--token", TOKEN], "check the name"),
        (["--host", "x" * 70, "--token", TOKEN], "check the name"),
        (["--host", "192.0.2.1", "--token", TOKEN], "choose another --host"),
        (["--device", "tpu"], "tpu"),
        (["--model", "no such model"], "no such model"),
        (["--model", "missing.safetensors"], "missing.safetensors"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_reported_in_one_line(serve, started, options, words):
    code, out, error = serve(*options, model="--model" not in options)
    assert code == 1
    assert out == ""
    assert words in error
    assert len(error.splitlines()) == 1, error
    assert not started


def test_a_port_that_is_in_use(serve, started):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, error = serve("--port", port)
    assert code == 1
    assert f"--port {port}: choose another --port" in error
    assert len(error.splitlines()) == 1
    assert not started


def test_a_folder_that_another_server_uses(serve, started, tmp_path):
    from filelock import FileLock

    (tmp_path / "serve").mkdir()
    with FileLock(tmp_path / "serve" / "lock"):
        code, _, error = serve()
    assert code == 1
    assert "another torch-sr serve uses this folder" in error
    assert not started


# --- What it does ---------------------------------------------------------------------------------


def test_it_prints_where_it_listens_and_where_jobs_are(serve, started, tmp_path):
    code, out, error = serve()
    assert code == 0, error
    ((_, service, (host, port), _),) = started
    assert host == "127.0.0.1"
    assert out == f"API: http://127.0.0.1:{port}/v1/models\n"
    assert f"jobs: {tmp_path / 'serve'}" in error
    assert [model.name for model in service.offers] == ["tiny-x4"]


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")]
)
def test_addresses(serve, started, host, shown):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    code, out, error = serve("--host", host, "--no-token")
    if code == 1 and ":" in host:
        pytest.skip(error)
    assert code == 0, error
    assert f"http://{shown}:" in out


def test_options_become_settings(serve, started, tmp_path):
    code, _, error = serve(
        *("--port", 0, "--max-upload", "5M", "--max-pixels", 9000, "--queue", 3),
        *("--time-limit", 7, "--keep-hours", 0.5, "--max-storage", "1G", "--grace", 4),
        *("--threads", 1, "--tile-size", 32, "--precision", "fp32", "--access-log"),
    )
    assert code == 0, error
    ((_, service, _, options),) = started
    limits = service.settings.limits
    assert (limits.max_upload, limits.max_pixels, limits.queue) == (5_000_000, 9000, 3)
    assert (limits.time_limit, limits.keep_hours, limits.max_storage) == (7, 0.5, 10**9)
    assert (service.settings.threads, service.settings.tile_size) == (1, 32)
    assert (options["grace"], options["access_log"]) == (4, True)


def test_jobs_are_not_kept_in_the_cache(serve, started, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    assert serve(folder=False)[0] == 0
    assert started[0][1].settings.folder == tmp_path / "home" / "serve"
    monkeypatch.delenv("TORCH_SR_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert serve(folder=False)[0] == 0
        assert started[1][1].settings.folder == tmp_path / "data" / "torch-sr" / "serve"


def test_without_the_extra(run, monkeypatch):
    for name in ("fastapi", "uvicorn", "gradio", "prometheus_client"):
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert "--max-upload" in out
    code, out, error = run("serve", "--port", 0)
    assert (code, out) == (1, "")
    assert "pip install 'torch-sr[serve]'" in error
    assert len(error.splitlines()) == 1


def test_the_help_names_defaults(run):
    code, out, _ = run("serve", "--help")
    assert code == 0
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", out).split())
    for part in ("127.0.0.1", "7860", "TORCH_SR_TOKEN", "100000000", "50000000"):
        assert part in words, words


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("sig", [signal.SIGTERM])
def test_a_signal_is_a_normal_end(tmp_path, sig):
    command = [sys.executable, "-m", "torch_sr", "serve", "--no-page", "--port", "0"]
    command += ["--device", "cpu", "--folder", str(tmp_path / "serve")]
    command += ["--model", str(save_tiny_model(tmp_path))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_SR_TOKEN": TOKEN}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        address = process.stdout.readline().split()[1]
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert json.load(response)["models"][0]["name"] == "tiny-x4"
        process.send_signal(sig)
        out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert out == ""
    assert "Traceback" not in error


def test_small_parts_of_a_response_are_not_held_back():
    server = pytest.importorskip("torch_sr.serving.server")
    with server.bind("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY only then
