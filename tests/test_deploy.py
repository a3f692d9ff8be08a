"""The files for operators: image, compose file, systemd unit, proxy. No container is started."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
import threading
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from torch_sr.cli.main import app
from torch_sr.cli.serve.application import read_options
from torch_sr.cli.serve.options import ServeOptions
from torch_sr.serving import server, service

tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRAINING = {
    "albumentations",
    "lightning-fabric",
    "matplotlib",
    "opencv-python-headless",
    "spandrel",
    "tensorboard",
    "torch",
    "torchmetrics",
    "torchvision",
}
"""What the image for CPUs does not have."""


def instructions():
    """The instructions of the Dockerfile, without comments, each with its arguments."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line:
            name, _, arguments = line.partition(" ")
            yield name, arguments


def last(name):
    return [arguments for each, arguments in instructions() if each == name][-1]


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def unit():
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / "torch-sr.service", encoding="utf-8")
    return parser


def parse_serve(words, monkeypatch):
    """Let the command line parse ``torch-sr serve`` and its options."""
    assert words[:2] == ["torch-sr", "serve"]
    monkeypatch.setenv("TORCH_SR_TOKEN", "0123456789abcdef")
    command = typer.main.get_command(app).commands["serve"].lazy.load("serve")
    return command.make_context("serve", words[2:]).params


# --- The image ------------------------------------------------------------------------------------


def test_the_image_runs_the_command(monkeypatch):
    words = [*json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    params = parse_serve(words, monkeypatch)
    assert (params["host"], str(params["port"])) == ("0.0.0.0", last("EXPOSE"))


def test_the_image_is_restricted():
    user, _, group = last("USER").partition(":")
    assert min(int(user), int(group)) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    writable = last("VOLUME")
    settings = dict(word.split("=", 1) for word in last("ENV").split())
    assert {settings[name] for name in ("HOME", "TMPDIR", "TORCH_SR_HOME")} == {writable}
    assert f"--owner={user} --group={group} --mode=700 {writable}" in last("RUN")


def python_of_the_image():
    (version,) = {
        text.removeprefix("PYTHON=") for name, text in instructions() if name == "ARG"
    } & {line.rpartition(" ")[2] for line in PROJECT["classifiers"]}
    return version


def test_the_python_of_the_image_is_supported():
    version = python_of_the_image()
    bases = [arguments for name, arguments in instructions() if name == "FROM"]
    assert version
    assert {base.partition(" ")[0] for base in bases} == {"python:${PYTHON}-slim-trixie"}


def test_the_image_has_what_the_service_needs():
    extras = re.search(r"\[([\w,]+)\]\"", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))[1]
    optional = [PROJECT["optional-dependencies"][name] for name in extras.split(",")]
    python = {"python_version": python_of_the_image()}
    needed = [
        need
        for need in map(Requirement, sum(optional, PROJECT["dependencies"]))
        if need.marker is None or need.marker.evaluate(python)
    ]
    lines = (DEPLOY / "requirements-cpu.txt").read_text(encoding="utf-8").splitlines()
    listed = [Requirement(line) for line in lines if not line.startswith("#")]
    assert lines == sorted(lines)
    assert {need.name for need in needed} - TRAINING == {each.name for each in listed}
    assert {need.name: need.extras for need in needed if need.extras} == {
        each.name: each.extras for each in listed if each.extras
    }


def test_the_image_is_built_from_files_that_are_there():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in kept)
    copied = {
        name
        for each, arguments in instructions()
        if each == "COPY" and "--from" not in arguments
        for name in arguments.split()[:-1]
    }
    assert copied <= kept | {"."}
    for name in ("readme", "license-files"):
        assert {*([PROJECT[name]] if name == "readme" else PROJECT[name])} <= kept


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check(status, code):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if status is None:
        server.server_close()
    else:
        threading.Thread(target=server.handle_request, daemon=True).start()
    python, *arguments = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert python == "python"
    assert last("EXPOSE") in arguments[1]
    arguments[1] = arguments[1].replace(last("EXPOSE"), str(server.server_port))
    command = [sys.executable, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, timeout=30)
    server.server_close()
    assert done.returncode == code


# --- What runs it ---------------------------------------------------------------------------------


def seconds_to_stop():
    """How long a stop may take: the grace, the last tile, and the last responses."""
    return ServeOptions().grace + max(service._SECONDS_TO_END, server._SECONDS_TO_SEND)


def test_both_services_of_the_compose_file_are_restricted():
    services = compose()["services"]
    assert set(services) == {"torch-sr", "torch-sr-cuda"}
    for each in services.values():
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
        assert each["volumes"] == [f"data:{last('VOLUME')}"]
        assert each["ports"] == [f"127.0.0.1:{last('EXPOSE')}:{last('EXPOSE')}"]
        assert int(each["stop_grace_period"].removesuffix("s")) > seconds_to_stop()
        assert {"mem_limit", "pids_limit", "tmpfs", "restart"} <= each.keys()
        build = each["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert services["torch-sr-cuda"]["build"]["args"] == {"DEVICE": "cuda"}
    assert services["torch-sr-cuda"]["profiles"]


def test_the_unit(monkeypatch):
    section = unit()["Service"]
    words = shlex.split(section["ExecStart"])
    assert words.pop() == "$OPTIONS"
    words[0] = Path(words[0]).name
    assert parse_serve(words, monkeypatch)["host"] == "127.0.0.1"
    assert int(section["TimeoutStopSec"]) > seconds_to_stop()
    assert section["ProtectSystem"] == "strict"
    assert f"TORCH_SR_HOME=%S/{section['StateDirectory']}" in section["Environment"].split()
    assert unit()["Install"]["WantedBy"] == "multi-user.target"


def test_the_proxy_passes_what_the_service_needs():
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    port = ServeOptions().port
    for line in (
        f"proxy_pass http://127.0.0.1:{port};",
        "proxy_set_header Host $http_host;",
        "proxy_buffering off;",
        "proxy_request_buffering off;",
    ):
        assert line in text
    megabytes = int(re.search(r"client_max_body_size (\d+)m;", text)[1])
    assert megabytes * 2**20 > ServeOptions().limits.max_upload + 100_000
    assert re.search(r"proxy_read_timeout (\d+)h;", text)[1] == "1"
    assert ServeOptions().limits.time_limit == 3600


# --- Kubernetes -----------------------------------------------------------------------------------


def ray_service():
    """The specification of the RayService."""
    text = (DEPLOY / "kubernetes" / "serve.yaml").read_text(encoding="utf-8")
    claim, service = yaml.safe_load_all(text)
    assert (claim["kind"], service["kind"]) == ("PersistentVolumeClaim", "RayService")
    (volume,) = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    return service["spec"]


def ray_application():
    (application,) = yaml.safe_load(ray_service()["serveConfigV2"])["applications"]
    return application


def test_the_application_of_the_manifest():
    application = ray_application()
    module, _, name = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    options = read_options(application["args"])
    assert options.folder.is_relative_to("/data")
    (group,) = ray_service()["rayClusterConfig"]["workerGroupSpecs"]
    assert options.cluster.workers == (group["minReplicas"], group["maxReplicas"])
    (container,) = group["template"]["spec"]["containers"]
    resources = container["resources"]
    assert options.cluster.worker_cpus == float(resources["requests"]["cpu"])
    assert options.cluster.worker_gpus == resources["limits"]["nvidia.com/gpu"]


def test_the_manifest_keeps_the_jobs():
    spec = ray_service()
    assert spec["upgradeStrategy"] == {"type": "None"}  # two ingresses cannot use one folder
    head = spec["rayClusterConfig"]["headGroupSpec"]
    (ingress,) = ray_application()["deployments"]
    wanted = ingress["ray_actor_options"]["resources"]
    assert json.loads(json.loads(head["rayStartParams"]["resources"])) == wanted
    pod = head["template"]["spec"]
    (container,) = pod["containers"]
    (variable,) = container["env"]
    assert variable["name"] == "TORCH_SR_TOKEN"
    (mounted,) = container["volumeMounts"]
    folder = read_options(ray_application()["args"]).folder
    assert folder.is_relative_to(mounted["mountPath"])
    grace = read_options(ray_application()["args"]).grace
    assert pod["terminationGracePeriodSeconds"] > grace + server._SECONDS_TO_SEND


def ray_job():
    """The specification of the RayJob."""
    text = (DEPLOY / "kubernetes" / "upscale.yaml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)
    assert job["kind"] == "RayJob"
    return job["spec"]


def test_the_job_of_the_manifest():
    program, command, *words = shlex.split(ray_job()["entrypoint"])
    assert (program, command) == ("torch-sr", "upscale")
    command = typer.main.get_command(app).commands["upscale"].lazy.load("upscale")
    parsed = command.make_context("upscale", words).params
    (group,) = ray_job()["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    resources = container["resources"]
    assert parsed["ray_workers"] == (group["minReplicas"], group["maxReplicas"])
    assert parsed["ray_cpus"] == float(resources["requests"]["cpu"])
    assert parsed["ray_gpus"] == resources["limits"]["nvidia.com/gpu"]
    assert parsed["skip_existing"]
    assert (
        ray_job()["rayClusterSpec"]["rayVersion"] == ray_service()["rayClusterConfig"]["rayVersion"]
    )


@pytest.mark.parametrize(
    "cluster",
    [ray_service()["rayClusterConfig"], ray_job()["rayClusterSpec"]],
    ids=["serve", "upscale"],
)
def test_the_pods_are_restricted(cluster):
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert str(pod["securityContext"]["runAsUser"]) == last("USER").partition(":")[0]
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_ray_accepts_the_manifest():
    schema = pytest.importorskip("ray.serve.schema", reason="needs the extra cluster")
    spec = ray_service()
    schema.ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"]))
    application = importlib.import_module("torch_sr.cli.serve.application")
    built = application.build(ray_application()["args"])
    (ingress,) = ray_application()["deployments"]
    assert built._bound_deployment.name == ingress["name"]
    text = (DEPLOY / "kubernetes" / "Dockerfile").read_text(encoding="utf-8")
    assert f"'ray[data,serve]=={spec['rayClusterConfig']['rayVersion']}'" in text
