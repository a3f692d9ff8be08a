"""``torch-sr train --check`` finds what would stop a training, and only leaves drawn crops."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.io import imread
from training_kit import TINY

from torch_sr.config import parse_config
from torch_sr.errors import DeviceError, LogError
from torch_sr.training.preflight import batch_memory, validation_memory
from torch_sr.training.preflight.check import check_training
from torch_sr.training.preflight.memory import StepMemory, measure_step_memory, used_memory
from torch_sr.training.settings import Every, Intervals
from torch_sr.training.stage_data import open_crops

MEGABYTE = 1 << 20


def findings_of(config, settings):
    return {finding.subject: finding for finding in check_training(config, settings)}


def failures_of(config, settings):
    findings = findings_of(config, settings).values()
    assert all("\n" not in finding.text for finding in findings)
    return {finding.subject: finding.text for finding in findings if not finding.passed}


def test_a_valid_configuration_passes_and_its_crops_are_drawn(settings, both_stages, tmp_path):
    settings = replace(settings, cache_dir=tmp_path / "cache")
    findings = findings_of(both_stages, settings)
    assert list(findings) == [
        "start", "options", "logs", "device", "pretraining data", "training data", "disk",
        "VGG weights", "pretraining memory", "training memory", "pretraining validation",
        "training validation", "pretraining crops", "training crops",
    ]  # fmt: skip
    assert all(finding.passed for finding in findings.values()), findings
    assert "5 images to train on, crops of 16x16, 2 steps" in findings["training data"].text
    assert not (tmp_path / "cache").exists()
    assert not settings.models_dir.exists()

    crops = open_crops("training", both_stages, settings, decode=False)
    order = np.random.default_rng(both_stages.seed).permutation(5)
    sheet = imread(tmp_path / "check_training.png")
    assert sheet.shape == (3 * 16 + 2 * 4, 2 * 32 + 4, 3)
    lr, hr = (image.permute(1, 2, 0).numpy() for image in crops[0, int(order[1])])
    np.testing.assert_array_equal(sheet[:16, 36 + 16 : 36 + 32], hr)
    np.testing.assert_array_equal(sheet[:16:2, 36 : 36 + 16 : 2], lr)


def test_all_errors_are_found_in_one_check(settings, both_stages):
    overrides = [
        "pretraining.cr_patch_size=[64, 64]",
        'training.train_datasets=["div2k"]',
        "perceptual_loss.weights=nowhere/vgg.pth",
    ]
    config = parse_config(both_stages.to_dict(), overrides=overrides)
    failures = failures_of(config, replace(settings, resume=settings.out_dir / "none.pth"))
    assert list(failures) == ["start", "pretraining data", "training data", "VGG weights"]
    assert "none.pth" in failures["start"]
    assert "fewer than the crop 64x64" in failures["pretraining data"]
    assert "DIV2K not found" in failures["training data"]
    assert "nowhere/vgg.pth" in failures["VGG weights"]


def test_a_partner_of_the_wrong_size_is_found(settings, save_photo, tmp_path):
    save_photo(tmp_path / "data" / "odd" / "HR" / "a.png", 32, 32)
    save_photo(tmp_path / "data" / "odd" / "LR_bicubic" / "X2" / "ax2.png", 16, 12)
    config = parse_config(TINY, overrides=['pretraining.train_datasets=["odd"]'])
    failures = failures_of(config, replace(settings, data_root=tmp_path / "data"))
    assert "LR is 12x16 and HR 32x32" in failures["pretraining data"]


def test_too_large_batches_are_reported_with_one_that_fits(settings, monkeypatch):
    config = parse_config(TINY, overrides=["batch_size=16"])

    def measured(step, device, base):
        step(1)
        return StepMemory(fixed=MEGABYTE, per_crop=10 * MEGABYTE)

    monkeypatch.setattr(batch_memory, "measure_step_memory", measured)
    monkeypatch.setattr(batch_memory, "free_memory", lambda device: 70 * MEGABYTE)
    text = failures_of(config, settings)["pretraining memory"]
    assert "16 crops at once takes 0.17 GB of 0.07 GB free on cpu; 6 would fit" in text
    assert "--accumulate 3, or batch_size 6" in text
    split = replace(settings, accumulate=3)
    assert findings_of(config, split)["pretraining memory"].passed
    monkeypatch.setattr(batch_memory, "free_memory", lambda device: 7 * MEGABYTE)
    assert "not even one fits" in failures_of(config, settings)["pretraining memory"]


def test_crops_that_are_halved_to_a_pixel_are_reported(settings, both_stages):
    config = parse_config(
        both_stages.to_dict(), overrides=["discriminator.vgg_blk_ch=[4, 4, 4, 4, 4]"]
    )
    text = failures_of(config, settings)["training memory"]
    assert "use crops larger than 16x16, or fewer repeated numbers" in text


def test_probable_mistakes_in_options_are_noted(settings):
    hardly = replace(
        settings,
        intervals=Intervals(
            checkpoint=Every(7, "steps"), validate=Every(4), store_model=Every(9), best_warmup=3
        ),
        num_workers=999,
        accumulate=3,
    )
    notes = [f for f in check_training(parse_config(TINY), hardly) if f.note]
    assert all(note.verdict == "note" for note in notes)
    for note, words in zip(
        notes,
        (
            "--num-workers 999: this machine has",
            "--accumulate 3: a batch of 2 has no more than 2 parts",
            "--checkpoint-interval '7 steps': longer than pretraining (6 steps)",
            "--validation-interval '4 epochs': longer",
            "--store-model-interval '9 epochs': longer",
            "--best-checkpoint-warmup 3: pretraining has 3 epochs",
        ),
        strict=True,
    ):
        assert words in note.text
    assert not [f for f in check_training(parse_config(TINY), settings) if f.note]


def test_invalid_options_are_found(settings, monkeypatch):
    settings.logs_dir("mine").mkdir(parents=True)
    (settings.logs_dir("mine") / "metrics.jsonl").touch()
    config = parse_config(TINY)
    for changes, subject, words in (
        ({"name": "mine"}, "options", "--name mine: choose another"),
        ({"name": "../x"}, "options", "--name"),
        ({"val_metrics": ("vmaf",)}, "options", "--val-metrics vmaf: choose from"),
        ({"precision": "fp16"}, "device", "fp16"),
    ):
        assert words in failures_of(config, replace(settings, **changes))[subject]
    monkeypatch.setattr("torch_sr.training.preflight.options.shutil.which", lambda name: None)
    failures = failures_of(config, replace(settings, compile=True))
    assert failures["options"].startswith("--compile: install a C++ compiler")


def test_logs_that_cannot_be_sent_or_written_are_found(settings, tmp_path, monkeypatch):
    def refuse():
        raise LogError("wandb: run 'wandb login'")

    monkeypatch.setattr("torch_sr.training.preflight.options.check_wandb", refuse)
    config = parse_config(TINY)
    assert "wandb login" in failures_of(config, replace(settings, wandb=True))["logs"]
    assert not (settings.out_dir / "logs").exists()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    assert "--no-tensorboard" in failures_of(config, settings)["logs"]
    (tmp_path / "logs").write_text("a file")
    bare = replace(settings, tensorboard=False)
    assert "cannot write logs" in failures_of(config, bare)["logs"]


def test_a_validation_image_that_does_not_fit_is_found(settings, monkeypatch):
    monkeypatch.setattr(validation_memory, "free_memory", lambda device: 10_000)
    text = failures_of(parse_config(TINY), settings)["pretraining validation"]
    assert "photos/0, the largest image, 64x48, whole takes about" in text
    assert "leave it out of val_datasets" in text


def test_a_full_disk_is_found(settings, monkeypatch):
    monkeypatch.setattr("torch_sr.training.preflight.disk.free_space", lambda folder: 1000)
    assert "make room" in failures_of(parse_config(TINY), settings)["disk"]


def test_a_folder_that_cannot_be_made_is_found(settings, tmp_path):
    (tmp_path / "file").write_text("")
    failures = failures_of(parse_config(TINY), replace(settings, out_dir=tmp_path / "file"))
    assert "cannot write checkpoints and models there" in failures["disk"]
    assert "check_pretraining.png" in failures["pretraining crops"]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is measured anew on Linux alone")
def test_memory_is_measured_with_real_steps():
    kept = []

    def step(crops):
        kept.append(torch.ones(5 * MEGABYTE))  # 4 bytes each
        return torch.ones(crops * 10 * MEGABYTE).sum()

    device = torch.device("cpu")
    memory = measure_step_memory(step, device, used_memory(device))
    # One more buffer is kept by each step: 20 MB beside the 40 MB a crop.
    assert memory.per_crop == pytest.approx(60 * MEGABYTE, rel=0.1)
    assert memory.needed(3) - memory.needed(1) == 2 * memory.per_crop


def test_running_out_of_memory_is_reported(monkeypatch):
    def step(crops):
        if crops == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")

    with pytest.raises(DeviceError, match="2 crops at once are too many"):
        measure_step_memory(step, torch.device("cpu"), 0)


def test_the_command_fails_if_a_check_fails(run, data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(parse_config(TINY).to_json())
    command = ["train", "config.json", "--check", "--device", "cpu", "--data-root", data_root]
    code, out, err = run(*command)
    assert (code, err) == (0, "")
    assert all(line.startswith("ok    ") for line in out.splitlines())
    code, out, err = run(*command, "--set", 'pretraining.train_datasets=["nothing"]')
    assert (code, err) == (1, "")
    assert "FAIL  pretraining data:" in out
