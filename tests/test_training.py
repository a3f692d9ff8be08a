"""Pre-training: one step, schedules, averages, exact resume, files, and what is refused."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from skimage.data import chelsea

from torch_sr.config import PretrainingConfig, TrainingConfig, parse_config
from torch_sr.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MissingExtraError,
    ModelError,
    TorchSRError,
)
from torch_sr.images import Image, write_image
from torch_sr.losses import PerceptualLoss
from torch_sr.models.discriminators import VGGDiscriminator
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.training.checkpoints import load_checkpoint, load_newest, save_checkpoint
from torch_sr.training.ema import WeightAverage
from torch_sr.training.loggers import JSONLinesLogger, Logger, TensorBoardLogger, WandbLogger
from torch_sr.training.resume import read_start
from torch_sr.training.run import train
from torch_sr.training.schedules import pretraining_factor
from torch_sr.training.settings import Intervals, RunSettings
from torch_sr.training.stages import GANStage, PSNRStage

TINY = {
    "scale_factor": 2,
    "batch_size": 2,
    "seed": 3,
    "pretraining": {
        "num_epoch": 3,
        "cr_patch_size": [16, 16],
        "lr": 1e-3,
        "train_datasets": ["photos"],
        "val_datasets": ["photos"],
        "ema_decay": 0.9,
        "augmentation": {"spatial": "dihedral", "compression": 0, "coarse_dropout": 0},
    },
    "training": {"num_epoch": 0},
    "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Five photographs of 64x48 pixels, in a folder named photos."""
    root = tmp_path_factory.mktemp("data")
    (root / "photos").mkdir()
    cat = chelsea()
    for number in range(5):
        pixels = np.ascontiguousarray(cat[40 * number : 40 * number + 48, 100:164])
        write_image(root / "photos" / f"{number}.png", Image.from_array(pixels))
    return root


@pytest.fixture
def settings(data_root, tmp_path):
    return RunSettings(
        data_root=data_root, out_dir=tmp_path, device="cpu", cache_dir=data_root / "cache"
    )


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights for the first convolution of a VGG11: the trained ones are 500 MB."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg11.pth"
    state = {
        "features.0.weight": 0.1 * torch.randn(64, 3, 3, 3),
        "features.0.bias": torch.zeros(64),
    }
    torch.save(state, path)
    return path


@pytest.fixture
def both_stages(vgg_file):
    """A configuration with two epochs of each stage."""
    return parse_config(
        {
            **TINY,
            "pretraining": {**TINY["pretraining"], "num_epoch": 2},
            "training": {
                "num_epoch": 2,
                "cr_patch_size": [16, 16],
                "g_sched_steps": [2],
                "train_datasets": ["photos"],
                "val_datasets": ["photos"],
            },
            "discriminator": {"vgg_blk_ch": [4, 4, 8, 8], "fc_features": [5]},
            "perceptual_loss": {
                "vgg_type": "vgg11",
                "layer_weights": {"conv1_1": 1.0},
                "weights": str(vgg_file),
            },
        }
    )


class Recorder(Logger):
    """Remember everything; optionally do something after a given step."""

    def __init__(self, at_step=None, action=None):
        self.epochs, self.losses, self.images = [], [], {}
        self._at_step, self._action = at_step, action

    def on_step(self, epoch, step, losses):
        self.losses.append((step, float(losses["content_loss"])))
        if len(self.losses) == self._at_step:
            self._action()

    def on_epoch(self, epoch, step, metrics):
        self.epochs.append((epoch, step, dict(metrics)))

    def on_images(self, step, images):
        self.images |= images


def weights_of(path):
    return load_generator(path).network.state_dict()


def test_one_step_is_adam_on_the_content_loss():
    torch.manual_seed(0)
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    generator = RRDBNet(2, 3, 4, 2, 1)
    reference = RRDBNet(2, 3, 4, 2, 1)
    reference.load_state_dict(generator.state_dict())
    stage = PSNRStage(Fabric(accelerator="cpu", devices=1), generator, PretrainingConfig(), "l1", 9)
    losses = [stage.train_step(lr, hr)["content_loss"] for _ in range(3)]

    optimizer = torch.optim.Adam(reference.parameters(), lr=2e-4, betas=(0.9, 0.99))
    for loss in losses:
        expected = (reference(lr) - hr).abs().mean()
        assert loss == pytest.approx(expected.item(), abs=1e-7)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    for ours, theirs in zip(generator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def _torch_rates(scheduler, optimizer, steps):
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedules_are_those_of_torch():
    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    step = PretrainingConfig(sched_step=7, sched_gamma=0.5)
    sgd = optimizer()
    expected = _torch_rates(torch.optim.lr_scheduler.StepLR(sgd, 7, 0.5), sgd, 30)
    assert [pretraining_factor(i, step, 30) for i in range(30)] == pytest.approx(expected)

    cosine = PretrainingConfig(scheduler="cosine")
    sgd = optimizer()
    expected = _torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 30), sgd, 30)
    assert [pretraining_factor(i, cosine, 30) for i in range(30)] == pytest.approx(expected)
    assert pretraining_factor(30, cosine, 30) == pytest.approx(0)


def test_warm_up_rises_in_a_straight_line():
    config = PretrainingConfig(warmup_steps=4, sched_step=1000)
    rates = [pretraining_factor(i, config, 100) for i in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_average_follows_its_formula():
    network = torch.nn.Linear(2, 1)
    average = WeightAverage(network, 0.5)
    expected = network.weight.detach().numpy().copy()
    for update in range(1, 6):
        with torch.no_grad():
            network.weight.add_(1.0)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network.weight.detach().numpy()
    np.testing.assert_allclose(average.module.weight.numpy(), expected, rtol=1e-6)
    assert WeightAverage(network, 0).module is network


def test_training_learns_logs_and_stores(settings, tmp_path):
    settings = RunSettings(**{**vars(settings), "intervals": Intervals(store_model=2)})
    config = parse_config(TINY, overrides=["pretraining.num_epoch=30"])
    logs = tmp_path / "logs" / "1"
    recorder = Recorder()
    loggers = [recorder, JSONLinesLogger(logs), TensorBoardLogger(logs)]
    result = train(config, settings, run="1", loggers=loggers)
    for logger in loggers:
        logger.close()

    assert result.finished
    assert len(recorder.losses) == 60  # five images, two a batch, the odd one dropped
    first, *_, last = recorder.epochs
    assert last[2]["train/content_loss"] < first[2]["train/content_loss"] / 2
    assert last[2].keys() == {
        "train/content_loss", "train/lr", "val/content_loss", "val/PSNR", "val/SSIM",
        "val/color_shift",
    }  # fmt: skip
    assert recorder.images["val/photos/0/sr"].shape == (3, 48, 64)
    lines = [json.loads(line) for line in (logs / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert list(logs.glob("pretraining/events.out.tfevents.*"))
    stored = {path.name for path in settings.models_dir.iterdir()}
    assert {f"1_RRDB_PSNR_x2_epoch_{n}_model.safetensors" for n in range(2, 31, 2)} <= stored
    assert {
        "1_RRDB_PSNR_x2_best_model.safetensors", "1_RRDB_PSNR_x2_best_checkpoint.pth",
        "1_RRDB_PSNR_x2_model.safetensors", "1_RRDB_PSNR_x2_checkpoint.pth",
    } <= stored  # fmt: skip
    info = load_generator(result.model).info
    assert (info.scale_factor, info.stage) == (2, "pretraining")
    assert info.metadata["dataset"] == "photos"
    assert json.loads(info.metadata["configuration"])["seed"] == 3


def test_same_seed_same_weights_and_another_seed_others(settings):
    config = parse_config(TINY)
    paths = [train(config, settings, run=name).model for name in "ab"]
    other = parse_config(TINY, overrides=["seed=4"])
    paths.append(train(other, settings, run="c").model)
    first, same, different = (weights_of(path) for path in paths)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["conv_first.weight"], different["conv_first.weight"])


@pytest.mark.parametrize("at_step", [1, 2, 3, 5])
def test_interrupted_run_ends_at_the_very_same_weights(settings, at_step):
    config = parse_config(TINY, overrides=["pretraining.scheduler=cosine"])
    whole = Recorder()
    expected = weights_of(train(config, settings, run="whole", loggers=[whole]).model)

    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train(config, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    assert interrupt.losses[-1][0] == at_step
    resumed = RunSettings(**{**vars(settings), "resume": stopped.checkpoint})
    assert read_start(stopped.checkpoint).checkpoint["run"] == "stopped"
    rest = Recorder()
    model = train(config, resumed, run="stopped", loggers=[rest]).model

    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    found = weights_of(model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_steps_end_the_stage_inside_an_epoch(settings):
    config = parse_config(TINY, overrides=["pretraining.num_steps=3"])
    recorder = Recorder()
    train(config, settings, run="1", loggers=[recorder])
    assert [step for step, _ in recorder.losses] == [1, 2, 3]
    assert recorder.epochs[-1][:2] == (2, 3)


def test_best_model_waits_for_the_warm_up(settings):
    late = RunSettings(**{**vars(settings), "intervals": Intervals(best_warmup=3)})
    train(parse_config(TINY), late, run="1")
    assert not list(settings.models_dir.glob("*best*"))


def test_a_model_is_a_starting_point(settings):
    config = parse_config(TINY)
    model = train(config, settings, run="1").model
    again = RunSettings(**{**vars(settings), "resume": model})
    recorder = Recorder()
    train(config, again, run="2", loggers=[recorder])
    assert recorder.losses[0][0] == 1
    fresh = Recorder()
    train(config, settings, run="3", loggers=[fresh])
    assert recorder.losses[0][1] < fresh.losses[0][1]


def test_checkpoint_serves_as_model_by_its_average(settings):
    result = train(parse_config(TINY), settings, run="1")
    from_checkpoint, from_model = weights_of(result.checkpoint), weights_of(result.model)
    assert all(torch.equal(from_checkpoint[key], from_model[key]) for key in from_model)


def test_checkpoints_that_do_not_fit_are_refused(settings, tmp_path):
    result = train(parse_config(TINY), settings, run="1")
    again = RunSettings(**{**vars(settings), "resume": result.checkpoint})
    wider = parse_config(TINY, overrides=["generator.rrdb_channels=8"])
    with pytest.raises(CheckpointError, match="rrdb_channels"):
        train(wider, again, run="1")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(result.checkpoint.read_bytes()[:5000])
    for path, words in (
        (cut, "cut short"),
        (tmp_path / "none.pth", "no such"),
        (result.model, "checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"value": 1})

    def broken(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, {"value": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
    assert load_checkpoint(path)["value"] == 1


def test_unfit_data_stop_before_the_first_step(settings):
    for overrides, words in (
        (["pretraining.cr_patch_size=[64, 64]"], "fewer than the crop"),
        (['pretraining.train_datasets=["div2k"]'], "DIV2K not found"),
        (['pretraining.val_datasets=["nothing"]'], "nothing"),
    ):
        with pytest.raises(DataError, match=words) as refusal:
            train(parse_config(TINY, overrides=overrides), settings, run="1")
        assert isinstance(refusal.value, TorchSRError)
        assert "\n" not in str(refusal.value)


def test_one_gan_step_is_that_of_the_paper(vgg_file):
    torch.manual_seed(0)
    lr, hr = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 16, 16)
    generator = RRDBNet(2, 3, 4, 2, 1)
    discriminator = VGGDiscriminator((16, 16), 3, (4, 4), (5,))
    perceptual = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file)
    g, d = copy.deepcopy(generator), copy.deepcopy(discriminator)
    fabric = Fabric(accelerator="cpu", devices=1)
    stage = GANStage(fabric, generator, discriminator, perceptual, TrainingConfig(), "l1")
    losses = stage.train_step(lr, hr)

    def realness(a, b):
        return torch.sigmoid(a - b.mean())

    g_adam = torch.optim.Adam(g.parameters(), lr=1e-4, betas=(0.9, 0.99))
    d_adam = torch.optim.Adam(d.parameters(), lr=1e-4, betas=(0.9, 0.99))
    sr = g(lr)
    real, fake = d(hr), d(sr)
    adversarial = -(1 - realness(real, fake)).log().mean() - realness(fake, real).log().mean()
    total = perceptual(sr, hr) + 0.005 * adversarial + 0.01 * (sr - hr).abs().mean()
    g_adam.zero_grad()
    total.backward()
    g_adam.step()
    real, fake = d(hr), d(sr.detach())
    d_loss = -realness(real, fake).log().mean() - (1 - realness(fake, real)).log().mean()
    d_adam.zero_grad()
    d_loss.backward()
    d_adam.step()

    assert list(losses) == [
        "content_loss", "perceptual_loss", "g_adversarial_loss", "g_total_loss",
        "d_adversarial_loss",
    ]  # fmt: skip
    assert losses["g_adversarial_loss"].item() == pytest.approx(adversarial.item(), rel=1e-5)
    assert losses["g_total_loss"].item() == pytest.approx(total.item(), rel=1e-5)
    assert losses["d_adversarial_loss"].item() == pytest.approx(d_loss.item(), rel=1e-5)
    # Adam's first step has the size 1e-4 and the gradient's sign, whatever the gradient's size, so
    # rounding shows where a gradient vanishes; there only, hence the mean. It vanishes altogether
    # in the last bias of the discriminator, which the relativistic differences cancel.
    named = [*zip(generator.named_parameters(), g.parameters(), strict=True)]
    named += [*zip(discriminator.named_parameters(), d.parameters(), strict=True)][:-1]
    for (name, ours), theirs in named:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5, msg=name)
    apart = torch.cat([(ours - theirs).flatten() for (_, ours), theirs in named])
    assert apart.abs().mean() < 1e-7
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_both_stages_run_one_after_the_other(settings, both_stages):
    recorder = Recorder()
    result = train(both_stages, settings, run="1", loggers=[recorder])
    assert result.model.name == "1_RRDB_ESRGAN_x2_model.safetensors"
    assert load_generator(result.model).info.stage == "training"
    assert [step for step, _ in recorder.losses] == [1, 2, 3, 4, 1, 2, 3, 4]
    first, *_, last = recorder.epochs
    assert {"val/content_loss", "val/perceptual_loss", "val/PSNR", "val/SSIM"} <= first[2].keys()
    assert {f"train/{name}" for name in (
        "content_loss", "perceptual_loss", "g_adversarial_loss", "g_total_loss",
        "d_adversarial_loss", "g_lr", "d_lr",
    )} <= last[2].keys()  # fmt: skip
    assert (last[2]["train/g_lr"], last[2]["train/d_lr"]) == (5e-5, 1e-4)


@pytest.mark.parametrize("at_step", [1, 4, 5, 6, 7])
def test_interrupted_anywhere_both_stages_end_at_the_same_weights(settings, both_stages, at_step):
    whole = Recorder()
    expected = weights_of(train(both_stages, settings, run="whole", loggers=[whole]).model)
    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train(both_stages, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    resumed = RunSettings(**{**vars(settings), "resume": stopped.checkpoint})
    rest = Recorder()
    found = weights_of(train(both_stages, resumed, run="stopped", loggers=[rest]).model)
    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_finished_pretraining_starts_the_gan_stage(settings, both_stages):
    whole = Recorder()
    expected = weights_of(train(both_stages, settings, run="1", loggers=[whole]).model)
    model = settings.models_dir / "1_RRDB_PSNR_x2_model.safetensors"
    again = RunSettings(**{**vars(settings), "resume": model})
    alone = Recorder()
    found = weights_of(train(both_stages, again, run="2", loggers=[alone]).model)
    assert alone.losses == whole.losses[4:]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_unet_discriminator_is_chosen_by_the_configuration(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(),
        overrides=["discriminator.kind=unet", "discriminator.unet_channels=2"],
    )
    assert train(config, settings, run="1").finished


def test_missing_vgg_weights_stop_before_the_first_step(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(), overrides=["perceptual_loss.weights=nowhere/vgg.pth"]
    )
    recorder = Recorder()
    with pytest.raises(ModelError, match=r"vgg\.pth"):
        train(config, settings, run="1", loggers=[recorder])
    assert not recorder.losses


def test_no_stage_at_all_is_refused(settings):
    with pytest.raises(ConfigError, match="both 0"):
        train(parse_config(TINY, overrides=["pretraining.num_epoch=0"]), settings, run="1")


def test_a_flipped_bit_is_noticed_and_the_one_before_serves(tmp_path, caplog):
    path = tmp_path / "checkpoint.pth"
    for value in range(4):
        save_checkpoint(path, {"value": value, "tensor": torch.full((1000,), value)}, keep=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint.pth", "checkpoint_1.pth", "checkpoint_2.pth"
    ]  # fmt: skip
    assert load_newest(path)["value"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="hash is wrong"):
        load_checkpoint(path)
    assert load_newest(path)["value"] == 2
    assert "checkpoint_1.pth" in caplog.text
    alone = tmp_path / "alone" / "checkpoint.pth"
    alone.parent.mkdir()
    alone.write_bytes(content)
    with pytest.raises(CheckpointError, match="hash is wrong"):  # it is not taken for a model
        load_newest(alone)
    path.unlink()  # as when the power fails between two renames
    (tmp_path / "checkpoint_1.pth").write_bytes(b"")
    assert load_newest(path)["value"] == 1


KILLED = """
import os, signal, sys
from torch_sr.config import load_config
from torch_sr.training.loggers import Logger
from torch_sr.training.run import train
from torch_sr.training.settings import RunSettings
from pathlib import Path
config, root, out, moment = sys.argv[1:]

class Killer(Logger):
    steps = 0
    def on_step(self, epoch, step, losses):
        Killer.steps += 1
        if moment == str(Killer.steps):
            os.kill(os.getpid(), signal.SIGKILL)

if moment == "saving":
    import torch
    save, calls = torch.save, []
    def half(state, file):
        calls.append(1)
        save(state, file)
        if len(calls) == 3:
            Path(file).write_bytes(Path(file).read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half
settings = RunSettings(Path(root), Path(out), device="cpu", cache_dir=Path(root, "cache"))
train(load_config(config), settings, run="killed", loggers=[Killer()])
"""


@pytest.mark.parametrize("moment", ["3", "7", "saving"])
def test_killed_at_any_moment_it_ends_at_the_very_same_weights(
    settings, both_stages, tmp_path, moment
):
    expected = weights_of(train(both_stages, settings, run="whole").model)
    (tmp_path / "config.json").write_text(both_stages.to_json())
    arguments = [tmp_path / "config.json", settings.data_root, settings.out_dir, moment]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert killed.returncode == -signal.SIGKILL
    stage = "ESRGAN" if moment == "7" else "PSNR"
    checkpoint = settings.models_dir / f"killed_RRDB_{stage}_x2_checkpoint.pth"
    resumed = RunSettings(**{**vars(settings), "resume": checkpoint})
    found = weights_of(train(both_stages, resumed, run="killed").model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_weights_and_biases_offline(settings, both_stages, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(tmp_path / "logs", "7")
    logged = []
    log = logger._run.log
    monkeypatch.setattr(logger._run, "log", lambda values: (logged.append(values), log(values)))
    train(both_stages, settings, run="7", loggers=[logger])
    logger.close()
    assert list((tmp_path / "logs").glob("wandb/offline-run-*-7/run-7.wandb"))
    scalars = [values for values in logged if "training/epoch" in values]
    assert [values["training/step"] for values in scalars] == [2, 4]
    assert "training/train/d_adversarial_loss" in scalars[-1]
    assert any("pretraining/val/photos/0/sr" in values for values in logged)


def test_missing_wandb_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-sr\[wandb\]'"):
        WandbLogger(tmp_path, "1")


TOGETHER = """
import sys
from pathlib import Path
from torch_sr.config import load_config
from torch_sr.training.run import train
from torch_sr.training.settings import RunSettings
config, root, out = sys.argv[1:]
settings = RunSettings(Path(root), Path(out), device="cpu", cache_dir=Path(root, "cache"))
train(load_config(config), settings, run="together")
"""


def test_two_processes_are_one_with_the_doubled_batch(settings, both_stages, tmp_path):
    # The U-Net discriminator, for batch normalisation sees half of the mini-batch by design.
    overrides = ["discriminator.kind=unet", "discriminator.unet_channels=2"]
    alone = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=4"])
    expected = weights_of(train(alone, settings, run="alone").model)

    halves = parse_config(both_stages.to_dict(), overrides=[*overrides, "batch_size=2"])
    (tmp_path / "config.json").write_text(halves.to_json())
    (tmp_path / "together.py").write_text(TOGETHER)
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d",
            "--rdzv-endpoint", "127.0.0.1:0",
            *map(str, (tmp_path / "together.py", tmp_path / "config.json")),
            *map(str, (settings.data_root, settings.out_dir)),
        ],
        check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    found = weights_of(settings.models_dir / "together_RRDB_ESRGAN_x2_model.safetensors")
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=1e-5)
