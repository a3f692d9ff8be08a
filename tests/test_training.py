"""Whole runs: both stages, their logs and files, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch
from training_kit import TINY, Recorder, weights_of

from torch_sr.config import parse_config
from torch_sr.errors import (
    ConfigError,
    DataError,
    LogError,
    MissingExtraError,
    ModelError,
    TorchSRError,
)
from torch_sr.models.reading import read_model
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.loggers.tensorboard import TensorBoardLogger
from torch_sr.training.loggers.wandb import WandbLogger, check_wandb
from torch_sr.training.run import train_run
from torch_sr.training.settings import Every, Intervals


def test_training_learns_logs_and_stores(settings, tmp_path):
    settings = replace(settings, intervals=Intervals(store_model=Every(2)))
    config = parse_config(TINY, overrides=["pretraining.num_epoch=30"])
    logs = tmp_path / "logs" / "1"
    recorder = Recorder()
    loggers = [recorder, JSONLinesLogger(logs), TensorBoardLogger(logs)]
    result = train_run(config, settings, run="1", loggers=loggers)
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
    not_measured, too_short = (lines.pop(0)["message"] for _ in range(2))
    assert "val/perceptual_loss is not measured" in not_measured
    assert "after 60 of them a network from scratch" in too_short
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert list(logs.glob("pretraining/events.out.tfevents.*"))
    stored = {path.name for path in settings.models_dir.iterdir()}
    assert {f"1_RRDB_PSNR_x2_epoch_{n}_model.safetensors" for n in range(2, 31, 2)} <= stored
    assert {
        "1_RRDB_PSNR_x2_best_model.safetensors", "1_RRDB_PSNR_x2_best_checkpoint.pth",
        "1_RRDB_PSNR_x2_model.safetensors", "1_RRDB_PSNR_x2_checkpoint.pth",
    } <= stored  # fmt: skip
    info = read_model(result.model).info
    assert (info.scale_factor, info.stage) == (2, "pretraining")
    assert info.metadata["dataset"] == "photos"
    assert json.loads(info.metadata["configuration"])["seed"] == 3


def test_same_seed_same_weights_and_another_seed_others(settings):
    config = parse_config(TINY)
    paths = [train_run(config, settings, run=name).model for name in "ab"]
    other = parse_config(TINY, overrides=["seed=4"])
    paths.append(train_run(other, settings, run="c").model)
    first, same, different = (weights_of(path) for path in paths)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["conv_first.weight"], different["conv_first.weight"])


def test_steps_end_the_stage_inside_an_epoch(settings):
    config = parse_config(TINY, overrides=["pretraining.num_steps=3"])
    recorder = Recorder()
    train_run(config, settings, run="1", loggers=[recorder])
    assert [step for step, _ in recorder.losses] == [1, 2, 3]
    assert recorder.epochs[-1][:2] == (2, 3)


def test_best_model_waits_for_the_warm_up(settings):
    late = replace(settings, intervals=Intervals(best_warmup=3))
    train_run(parse_config(TINY), late, run="1")
    assert not list(settings.models_dir.glob("*best*"))


def test_unfit_data_stop_before_the_first_step(settings):
    for overrides, words in (
        (["pretraining.cr_patch_size=[64, 64]"], "fewer than the crop"),
        (['pretraining.train_datasets=["div2k"]'], "DIV2K not found"),
        (['pretraining.val_datasets=["nothing"]'], "nothing"),
    ):
        with pytest.raises(DataError, match=words) as refusal:
            train_run(parse_config(TINY, overrides=overrides), settings, run="1")
        assert isinstance(refusal.value, TorchSRError)
        assert "\n" not in str(refusal.value)


def test_both_stages_run_one_after_the_other(settings, both_stages):
    recorder = Recorder()
    result = train_run(both_stages, settings, run="1", loggers=[recorder])
    assert result.model.name == "1_RRDB_ESRGAN_x2_model.safetensors"
    assert read_model(result.model).info.stage == "training"
    assert [step for step, _ in recorder.losses] == [1, 2, 3, 4, 1, 2, 3, 4]
    first, *_, last = recorder.epochs
    assert {"val/content_loss", "val/perceptual_loss", "val/PSNR", "val/SSIM"} <= first[2].keys()
    assert {f"train/{name}" for name in (
        "content_loss", "perceptual_loss", "g_adversarial_loss", "g_total_loss",
        "d_adversarial_loss", "g_lr", "d_lr",
    )} <= last[2].keys()  # fmt: skip
    assert (last[2]["train/g_lr"], last[2]["train/d_lr"]) == (5e-5, 1e-4)


def test_unet_discriminator_is_chosen_by_the_configuration(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(),
        overrides=["discriminator.kind=unet", "discriminator.unet_channels=2"],
    )
    assert train_run(config, settings, run="1").finished


def test_missing_vgg_weights_stop_before_the_first_step(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(), overrides=["perceptual_loss.weights=nowhere/vgg.pth"]
    )
    recorder = Recorder()
    with pytest.raises(ModelError, match=r"vgg\.pth"):
        train_run(config, settings, run="1", loggers=[recorder])
    assert not recorder.losses


def test_no_stage_at_all_is_refused(settings):
    with pytest.raises(ConfigError, match="both 0"):
        train_run(parse_config(TINY, overrides=["pretraining.num_epoch=0"]), settings, run="1")


@pytest.fixture
def set_wandb_mode(monkeypatch):
    """Set the mode, which wandb reads only once in a process unless it is torn down."""
    wandb = pytest.importorskip("wandb")

    def set_mode(mode):
        monkeypatch.setenv("WANDB_MODE", mode)
        monkeypatch.setenv("WANDB_SILENT", "true")
        wandb.teardown()

    yield set_mode
    wandb.teardown()


def test_weights_and_biases_offline(settings, both_stages, tmp_path, monkeypatch, set_wandb_mode):
    set_wandb_mode("offline")
    logger = WandbLogger(tmp_path / "logs", "7")
    logged = []
    log = logger._log
    monkeypatch.setattr(logger, "_log", lambda values: (logged.append(values), log(values)))
    train_run(both_stages, settings, run="7", loggers=[logger])
    graphs = {f"training/{name}" for name in ("generator", "discriminator")}
    assert graphs < set(logger._run.summary.keys())
    logger.close()
    assert list((tmp_path / "logs").glob("wandb/offline-run-*-7/run-7.wandb"))
    scalars = [values for values in logged if "train/g_lr" in values]
    assert [values["step"] for values in scalars] == [2, 4]
    assert "train/d_adversarial_loss" in scalars[-1]
    assert any("val/photos/0/sr" in values for values in logged)


def test_disabled_wandb_logs_nothing_and_trains(settings, both_stages, tmp_path, set_wandb_mode):
    set_wandb_mode("disabled")
    logger = WandbLogger(tmp_path / "logs", "7")
    recorder = Recorder()
    result = train_run(both_stages, settings, run="7", loggers=[logger, recorder])
    logger.close()
    assert result.finished
    assert recorder.epochs
    assert not list((tmp_path / "logs").glob("wandb/*run*"))


def test_missing_wandb_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-sr\[wandb\]'"):
        WandbLogger(tmp_path, "1")


class Wandb:
    """What check_wandb asks of wandb, and a service that cannot be reached."""

    def __init__(self, mode="online", api_key=None):
        self.settings = self
        self.mode, self.api_key, self.base_url = mode, api_key, "https://api.wandb.ai"

    def setup(self):
        return self

    def init(self, **options):
        raise RuntimeError("connection\nrefused")


@pytest.fixture
def no_wandb_login(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_wandb_without_a_login_is_refused_in_one_line(tmp_path, monkeypatch, no_wandb_login):
    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    with pytest.raises(LogError, match=r"'wandb login'.*WANDB_MODE=offline") as refusal:
        WandbLogger(tmp_path / "logs", "1")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "logs").exists()
    no_wandb_login.write_text("machine api.wandb.ai login user password secret\n")
    no_wandb_login.chmod(0o600)
    assert check_wandb() == "online"
    no_wandb_login.unlink()
    for wandb in (Wandb("offline"), Wandb(api_key="secret")):
        monkeypatch.setitem(sys.modules, "wandb", wandb)
        assert check_wandb() == wandb.mode
    monkeypatch.setitem(sys.modules, "wandb", Wandb())
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert check_wandb() == "offline"


def test_wandb_that_cannot_be_reached_stops_a_run_only_if_it_was_requested(
    settings, tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "wandb", Wandb(api_key="secret"))
    config = parse_config(TINY)
    asked = WandbLogger(tmp_path / "logs", "1")
    with pytest.raises(LogError, match="cannot be started: connection refused"):
        train_run(config, settings, run="1", loggers=[asked])
    optional = WandbLogger(tmp_path / "logs", "2", optional=True)
    assert train_run(config, settings, run="2", loggers=[optional]).finished
    optional.close()
    assert "logged without it" in caplog.text


def test_a_graph_of_every_network_is_logged(settings, both_stages, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path / "logs")
    train_run(both_stages, settings, run="1", loggers=[logger])
    logger.close()
    for folder in ("pretraining/generator", "training/generator", "training/discriminator"):
        events = EventAccumulator(str(tmp_path / "logs" / folder)).Reload()
        assert any("convolution" in node.op for node in events.Graph().node), folder


def test_what_is_logged_has_no_influence(settings, both_stages, tmp_path):
    """Drawing a discriminator, for one, would change the averages of its batch normalization."""
    loggers = [TensorBoardLogger(tmp_path / "logs"), JSONLinesLogger(tmp_path / "logs")]
    logged, bare = (
        weights_of(train_run(both_stages, settings, run=name, loggers=chosen).model)
        for name, chosen in (("logged", loggers), ("bare", []))
    )
    assert all(torch.equal(logged[key], bare[key]) for key in bare)


def test_numbers_that_are_not_finite_are_null_in_json(tmp_path):
    logger = JSONLinesLogger(tmp_path)
    logger.on_start({"stage": "pretraining"})
    logger.on_epoch(1, 2, {"val/PSNR": float("inf"), "train/content_loss": 0.5})
    logger.on_message("a word")
    logger.close()
    epoch, message = (
        json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    )
    assert epoch == {
        "stage": "pretraining", "epoch": 1, "step": 2, "val/PSNR": None, "train/content_loss": 0.5
    }  # fmt: skip
    assert message == {"stage": "pretraining", "message": "a word"}


def test_precision_and_layout_are_settings_of_the_run(settings):
    """bf16 rounds to three digits; the order of the memory, to none."""
    config = parse_config(TINY)
    expected = weights_of(train_run(config, settings, run="1").model)
    planar = replace(settings, channels_last=False)
    for name, weight in weights_of(train_run(config, planar, run="2").model).items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-5)
    rounded = replace(settings, precision="bf16")
    found = weights_of(train_run(config, rounded, run="3").model)
    assert any(not torch.equal(found[name], expected[name]) for name in found)
    for name, weight in found.items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1.2e-2)


def test_compiled_networks_learn_the_same(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(), overrides=["pretraining.num_steps=2", "training.num_steps=2"]
    )
    expected = weights_of(train_run(config, settings, run="1").model)
    found = weights_of(train_run(config, replace(settings, compile=True), run="2").model)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4)
