"""The files that train on several machines: a script of Slurm, a Job of Kubernetes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
import typer
import yaml
from torch.distributed.run import get_args_parser

from torch_sr.cli.main import app

ROOT = Path(__file__).parents[1]
SBATCH = ROOT / "deploy" / "slurm" / "train.sbatch"
DOCS = ROOT / "docs" / "guides" / "cluster_training.md"
SBATCH_OPTIONS = {
    "cpus-per-task", "gpus-per-node", "job-name", "mem", "nodes", "ntasks-per-node", "open-mode",
    "output", "requeue", "signal", "time",
}  # fmt: skip
"""Those that are used, all in Slurm's manual."""


def parse_torchrun(words):
    """Let torchrun parse its options, and torch-sr those of its own."""
    options = get_args_parser().parse_args(words)
    assert (options.module, options.training_script) == (True, "torch_sr")
    name, *rest = options.training_script_args
    assert name == "train"
    command = typer.main.get_command(app).commands["train"].lazy.load("train")
    return options, command.make_context("train", rest).params


def documents():
    text = (ROOT / "deploy" / "kubernetes" / "train.yaml").read_text(encoding="utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_the_parts_of_the_job_fit_together():
    claim, service, job = (
        documents()[kind] for kind in ("PersistentVolumeClaim", "Service", "Job")
    )
    spec, template = job["spec"], job["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["torchrun"]
    options, train = parse_torchrun(container["args"])
    limits = container["resources"]["limits"]

    assert spec["completionMode"] == "Indexed"
    assert {options.nnodes} == {str(spec["completions"]), str(spec["parallelism"])}
    assert options.nproc_per_node == str(limits["nvidia.com/gpu"])
    assert options.max_restarts > 0
    assert spec["backoffLimit"] > 0
    assert pod["restartPolicy"] == "OnFailure"

    host, port = options.rdzv_endpoint.split(":")
    assert options.rdzv_backend == "c10d"
    assert host == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert [int(port)] == [each["port"] for each in service["spec"]["ports"]]

    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for path in (train["config"], train["data_root"], train["out"]):
        assert PurePosixPath(mounts["data"]) in PurePosixPath(path).parents
    assert train["name"]
    assert train["resume"] == "auto"


def test_the_job_runs_the_image():
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    pod = documents()["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (
        f"docker build -f deploy/Dockerfile -t {container['image']} --build-arg DEVICE=cuda ."
        in (dockerfile.replace("# ", ""))
    )
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    security = pod["securityContext"]
    assert [str(security[key]) for key in ("runAsUser", "runAsGroup")] == list(user.groups())
    assert security["fsGroup"] == security["runAsGroup"]
    home = re.search(r"HOME=(\S+)", dockerfile)[1]  # of the cache and the downloaded weights
    assert home in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_script_of_slurm(tmp_path):
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)
    text = SBATCH.read_text(encoding="utf-8")
    assert set(re.findall(r"^#SBATCH --([\w-]+)", text, re.MULTILINE)) == SBATCH_OPTIONS
    assert "#SBATCH --ntasks-per-node=1\n" in text
    # Run it, with programs in place of Slurm's that print what they get.
    for name, body in (("srun", 'printf "%s\\n" "$@"'), ("scontrol", "printf 'a7\\na8\\n'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "a[7-8]"}
    env |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_ID": "11"}
    own = ["my config.json", "--out", "/shared/runs", "--name", "first-try"]
    done = subprocess.run(
        ["bash", str(SBATCH), *own], env=env, check=True, capture_output=True, text=True
    )
    words = done.stdout.splitlines()
    assert words[:2] == ["--kill-on-bad-exit=1", "torchrun"]
    options, train = parse_torchrun(words[2:])
    assert (options.nnodes, options.nproc_per_node, options.rdzv_id) == ("2", "8", "11")
    assert options.rdzv_endpoint == "a7:29500"
    assert (str(train["config"]), train["resume"]) == ("my config.json", "auto")


def test_the_commands_of_the_documentation():
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line)[1:] for line in lines if line.startswith("torchrun ")]
    assert found
    for words in found:
        options, train = parse_torchrun(words)
        assert (options.nnodes, train["resume"]) == ("2", "auto")
        assert (ROOT / train["config"]).is_file()
