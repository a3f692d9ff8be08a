"""Every example of docs/guides/serving.md works: it is run against a service on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from live_service import live_service

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


CURL = [text for text in blocks("sh") if "curl" in text]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with the shipped models."""
    with live_service(tmp_path_factory.mktemp("service")) as (url, service):
        yield url, service


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "dahlia.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_curl(text, url):
    """Run a block in a shell: what it prints."""
    environment = {**os.environ, "TORCH_SR_TOKEN": "any", "CURL_HOME": "/", "no_proxy": "*"}
    command = ["bash", "-euo", "pipefail", "-c", text.replace(ADDRESS, url)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kinds(folder):
    """The files, by the first bytes of their content."""
    starts = {b"\xff\xd8": "JPEG", b"\x89P": "PNG", b"RI": "WebP"}
    return {
        path.name: starts.get(path.read_bytes()[:2])
        for path in sorted(folder.iterdir())
        if path.name != "photo.jpg"
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("text", "written", "printed"),
    [
        (CURL[0], {"large.jpg": "JPEG", "large.png": "PNG", "large.webp": "WebP"}, ""),
        (CURL[1], {"job.json": None, "large.jpg": "JPEG"}, '"state": "done"'),
        (CURL[2], {}, '"name":"compact-x4"'),
        (CURL[3], {}, "did you mean compact-x4?"),
    ],
    ids=["images", "jobs", "token", "errors"],
)
def test_curl(service, folder, text, written, printed):
    assert printed in run_curl(text, service[0])
    assert kinds(folder) == written


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_problem_document_is_the_one_shown(service, folder):
    (shown,) = blocks("json")
    assert json.loads(run_curl(CURL[-1], service[0])) == json.loads(shown)


def test_no_curl_example_is_left_out():
    assert len(CURL) == 4
    assert PAGE.count("curl ") == sum(text.count("curl ") for text in CURL)


@pytest.mark.parametrize(
    ("text", "written", "printed"),
    [
        (blocks("python")[0], {"large.png": "PNG"}, r"\['compact-x4', 'compact-x4-real'"),
        (blocks("python")[1], {"double.jpg": "JPEG"}, r"(\d+%, .+\n)*100%, seconds left: "),
        (blocks("python")[2], {}, r"422 model did you mean compact-x4\?$"),
    ],
    ids=["images", "jobs", "errors"],
)
def test_python(service, folder, capsys, text, written, printed):
    exec(compile(text.replace(ADDRESS, service[0]), "docs/guides/serving.md", "exec"), {})
    out = capsys.readouterr().out
    assert kinds(folder) == written
    assert re.match(printed, out)


def test_no_python_example_is_left_out():
    assert len(blocks("python")) == 3


def test_addresses_and_options_are_those_of_the_api(service):
    with urllib.request.urlopen(f"{service[0]}/v1/openapi.json") as response:
        document = json.load(response)
    shown = re.findall(r"^\| `(\w+) /v1(\S+)` \|", PAGE, re.MULTILINE)
    assert {(method.lower(), path.replace("ID", "{job_id}")) for method, path in shown} == {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    table = PAGE.partition("| option | meaning |")[2].partition("\n\n")[0]
    known = {each["name"] for each in document["paths"]["/upscale"]["post"]["parameters"]}
    names = {name for line in table.splitlines() for name in line.split("|")[1:2]}
    assert set(re.findall(r"`(\w+)`", " ".join(names))) == known
    statuses = {
        status
        for methods in document["paths"].values()
        for method in methods.values()
        for status in method["responses"]
        if status >= "400"
    }
    table = PAGE.partition("| status | meaning |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"\b\d{3}\b", " ".join(re.findall(r"^\|([^|]*)", table, re.MULTILINE))))
    assert listed <= statuses | {"401", "421"}
    assert statuses - listed <= {"404", "406", "416", "500"}


def test_options_of_the_command(run):
    _, out, _ = run("serve", "--help")
    tables = [rest.partition("\n\n")[0] for rest in PAGE.split("| option | default |")[1:]]
    assert len(tables) == 2
    first_cells = re.findall(r"^\|([^|]*)", "\n".join(tables), re.MULTILINE)
    names = set(re.findall(r"`(--[\w-]+)`", " ".join(first_cells)))
    assert len(names) >= 19
    assert all(name in out for name in names)


def test_metrics_and_alerts(service):
    scrape, alerts = map(yaml.safe_load, blocks("yaml"))
    assert scrape["scrape_configs"][0]["static_configs"][0]["targets"] == [ADDRESS[7:]]
    assert all({"alert", "expr", "for"} <= each.keys() for each in alerts["groups"][0]["rules"])
    with urllib.request.urlopen(f"{service[0]}/metrics") as response:
        figures = response.read().decode()
    names = set(re.findall(r"\btorch_sr_\w+", PAGE))
    assert len(names) == 9
    assert all(f"# TYPE {name.removesuffix('_total')}" in figures for name in names)


def test_files_that_are_named_exist():
    for name in set(re.findall(r"\bdeploy/[\w./-]+\w", PAGE)):
        assert (ROOT / name).is_file(), name
