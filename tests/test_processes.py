"""Several processes train like one, also if one of them is killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from training_kit import weights_of

from torch_sr.config import parse_config
from torch_sr.errors import DeviceError
from torch_sr.networks.synced_norm import SyncedBatchNorm2d
from torch_sr.training.run import train, train_run
from torch_sr.training.settings import RunSettings

# torch-sr, whose second process is killed before the second step of the GAN stage if torchrun has
# not restarted it yet.
COMMAND = """
import os
import signal
import torch_sr.training.stages as stages
from torch_sr.cli.main import program

train_step = stages.GANStage.train_step

def step_or_die(stage, lr, hr):
    if stage.generator_learner._steps == 1 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(stage, lr, hr)

if __name__ == "__main__":
    if os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
        stages.GANStage.train_step = step_or_die
    program()
"""


@pytest.fixture
def train_together(settings, tmp_path):
    """Train in processes of their own; wait for all of them."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND)

    def train_together(config, launchers, *options):
        (tmp_path / "config.json").write_text(config.to_json())
        words = [script, "train", tmp_path / "config.json", "--data-root", settings.data_root]
        words += ["--out", settings.out_dir, "--name", "together", "--device", "cpu", *options]
        env = {**os.environ, "TORCH_SR_HOME": str(tmp_path)}
        env |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
        env |= {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        started = [
            subprocess.Popen(
                [sys.executable, *launcher, *map(str, words), "--no-tensorboard"],
                env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for launcher in launchers
        ]  # fmt: skip
        outputs = [process.communicate(timeout=300)[0] for process in started]
        for process, output in zip(started, outputs, strict=True):
            assert process.returncode == 0, output
        return "".join(outputs)

    return train_together


def torchrun(machines):
    """The words that start torchrun on each of some machines, which are all this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    words = [
        "-m", "torch.distributed.run", "--nnodes", str(machines), "--nproc-per-node", "1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--local-addr", "127.0.0.1",
        "--max-restarts", "3", "--monitor-interval", "0.1",
    ]  # fmt: skip
    return [words] * machines


def assert_like(found, expected, config):
    """Compare the models and losses of two folders."""
    for stage in ("PSNR", "ESRGAN"):
        name = f"_RRDB_{stage}_x2_model.safetensors"
        left, right = (
            weights_of(folder / "saved_models" / f"{run}{name}")
            for folder, run in ((found, "together"), (expected, "alone"))
        )
        for key in right:
            torch.testing.assert_close(left[key], right[key], rtol=0, atol=1e-5)
    left, right = (losses_of(found / "logs" / "together"), losses_of(expected / "logs" / "alone"))
    assert left.keys() == right.keys()
    for key in right:
        assert left[key] == pytest.approx(right[key], abs=1e-5)


def losses_of(folder):
    """The last losses of each stage and step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {
        (line["stage"], line["step"]): {key: line[key] for key in line if key.endswith("_loss")}
        for line in lines
        if "step" in line
    }


def train_alone(config, settings, tmp_path):
    """Train in this process; return its folder."""
    alone = replace(settings, out_dir=tmp_path / "alone", name="alone", tensorboard=False)
    train(config, alone)
    return alone.out_dir


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_two_machines_are_one_with_the_doubled_batch_though_one_is_killed(
    settings, both_stages, train_together, tmp_path
):
    expected = train_alone(
        parse_config(both_stages.to_dict(), overrides=["batch_size=4"]), settings, tmp_path
    )
    output = train_together(both_stages, torchrun(2), "--resume", "auto")
    assert_like(settings.out_dir, expected, both_stages)
    assert "no checkpoint of the run together" in output
    assert "resuming" in output
    assert "another process ended or cannot be reached" in output
    assert output.count("use the new model") == 1


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch(
    settings, both_stages, train_together, tmp_path
):
    overrides = ["discriminator.kind=unet", "discriminator.unet_channels=2"]
    halves = parse_config(both_stages.to_dict(), overrides=overrides)
    whole = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=4"])
    expected = train_alone(whole, settings, tmp_path)
    train_together(halves, [[]], "--devices", "2")
    assert_like(settings.out_dir, expected, halves)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_more_devices_than_there_are_is_refused(settings, both_stages):
    many = RunSettings(settings.data_root, settings.out_dir, device="cuda", devices=999)
    with pytest.raises(DeviceError, match="999 devices"):
        train_run(both_stages, many, run="1")


def test_machines_with_different_numbers_of_processes_are_refused(
    settings, both_stages, monkeypatch
):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match="2 of 3 processes are on this one"):
        train_run(both_stages, settings, run="1")


def test_one_process_normalizes_like_pytorch(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    torch.manual_seed(0)
    ours, theirs = SyncedBatchNorm2d(3), torch.nn.BatchNorm2d(3)
    results = []
    for norm in (ours, theirs):
        norm.load_state_dict({**norm.state_dict(), "weight": torch.tensor([1.0, 2.0, 3.0])})
        x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        (norm(x) ** 3).sum().backward()
        results.append(
            [x.grad, *(p.grad for p in norm.parameters()), *norm.buffers(), norm.eval()(x)]
        )
    assert len(results[0]) == 7
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def test_several_processes_do_not_plan_a_training_on_photographs(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, errors = run("train", "--images", "photos")
    assert code == 2
    assert "or torchrun with several processes" in errors
