"""Validation: failures do not lose an epoch; flat images; large images in tiles."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_kit import TINY, Recorder, weights_of

from torch_sr.config import parse_config
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.errors import CheckpointError
from torch_sr.evaluation.averages import PSNR_CEILING, mean_over_images
from torch_sr.evaluation.tiled_network import TiledNetwork
from torch_sr.files import write_failure
from torch_sr.images import Image, write_image
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.run import train_run
from torch_sr.training.runs.checkpoints import load_checkpoint, save_checkpoint
from torch_sr.training.runs.export import model_metadata
from torch_sr.training.settings import Every, Intervals
from torch_sr.training.signals import Stop, stop_on_signal
from torch_sr.training.validation import Validation

INF, NAN = float("inf"), float("nan")


class InValidation(Recorder):
    """Do something when so many images of the second validation are done."""

    def __init__(self, action, at_image=2):
        super().__init__()
        self._do, self._at_image, self.stops = action, at_image, 0

    def on_activity(self, activity, done, total):
        if (activity, done, len(self.epochs)) == ("validate", self._at_image, 1):
            self._do()

    def on_stop(self):
        self.stops += 1


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def terminate_twice():
    terminate()
    terminate()


def run_out_of_memory():
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("interval", [1, 50])
@pytest.mark.parametrize("action", [terminate, terminate_twice, run_out_of_memory])
def test_a_failing_validation_does_not_lose_the_epoch(settings, tmp_path, action, interval):
    config = parse_config(TINY)
    settings = replace(settings, intervals=Intervals(checkpoint=Every(interval)))
    log = JSONLinesLogger(tmp_path / "whole")
    expected = weights_of(train_run(config, settings, run="whole", loggers=[log]).model)

    broken = InValidation(action)
    loggers = [broken, JSONLinesLogger(tmp_path / "broken")]
    checkpoint = settings.models_dir / "broken_RRDB_PSNR_x2_checkpoint.pth"
    if action is terminate:
        result = train_run(config, settings, run="broken", loggers=loggers)
        assert (result.finished, result.checkpoint) == (False, checkpoint)
    else:
        with pytest.raises((KeyboardInterrupt, RuntimeError)):
            train_run(config, settings, run="broken", loggers=loggers)
    assert broken.stops == (action is not run_out_of_memory)
    state = load_checkpoint(checkpoint)
    assert (state["progress"]["epoch"], state["validates"], state["good"]) == (2, True, False)
    before = load_checkpoint(checkpoint.with_name(f"{checkpoint.stem}_1.pth"))
    assert before["progress"]["epoch"] == (1 if interval == 1 else 0)

    loggers = [JSONLinesLogger(tmp_path / "broken")]
    result = train_run(config, replace(settings, resume=checkpoint), run="broken", loggers=loggers)
    found = weights_of(result.model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]
    best = [
        weights_of(settings.models_dir / f"{name}_RRDB_PSNR_x2_best_model.safetensors")
        for name in ("whole", "broken")
    ]
    assert all(torch.equal(best[0][key], best[1][key]) for key in expected)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_checkpoints_stored_before_a_validation_take_no_place_of_others(settings, keep):
    intervals = Intervals(keep_checkpoints=keep)
    train_run(parse_config(TINY), replace(settings, intervals=intervals), run="1")
    found = [
        load_checkpoint(path) for path in sorted(settings.models_dir.glob("1_*_x2_checkpoint*.pth"))
    ]
    assert [state["progress"]["epoch"] for state in found] == [3, 2, 1][: keep + 1]
    assert all(state["good"] and not state["validates"] for state in found)


@pytest.mark.parametrize("keep", [0, 1])
def test_a_collapse_rolls_back_past_the_checkpoint_stored_before_it(settings, monkeypatch, keep):
    super_resolve, seen = TiledNetwork.super_resolve, []

    def collapsed(self, lr):
        sr = super_resolve(self, lr)
        seen.append(1)
        return 0 * sr - 1 if 5 < len(seen) <= 15 else sr  # epoch 2, twice

    monkeypatch.setattr(TiledNetwork, "super_resolve", collapsed)
    recorder = Recorder()
    settings = replace(settings, intervals=Intervals(keep_checkpoints=keep, best_warmup=9))
    assert train_run(parse_config(TINY), settings, run="1", loggers=[recorder]).finished
    back = [message for message in recorder.messages if "rolled back to epoch 1" in message]
    assert len(back) == 2
    assert [epoch for epoch, _, _ in recorder.epochs] == [1, 2, 2, 2, 3]


def test_a_second_request_waits_for_what_is_shielded():
    stop = Stop()
    with stop_on_signal(stop):
        terminate()
        assert stop.is_set()
        done = []

        def write():
            with stop.shield():
                terminate()
                done.append(1)

        with pytest.raises(KeyboardInterrupt):
            write()
        assert done
        with pytest.raises(KeyboardInterrupt):
            terminate()
    assert not Stop().is_set()


def test_means_leave_out_what_is_not_finite():
    mean = mean_over_images({"a": 30.0, "b": INF, "c": NAN, "d": 70.0}, PSNR_CEILING)
    assert mean.value == pytest.approx((30 + 60 + 60) / 3)
    assert mean.bounded == {"b": INF, "d": 70.0}
    assert list(mean.left_out) == ["c"]
    unbounded = mean_over_images({"a": 0.5, "b": INF})
    assert (unbounded.value, unbounded.left_out) == (0.5, {"b": INF})
    assert np.isnan(mean_over_images({"a": NAN}).value)


def test_a_flat_validation_image_affects_neither_mean_nor_best_nor_watch(settings, monkeypatch):
    """Its SR equals HR in every other validation."""
    root = settings.data_root.parent / f"{settings.data_root.name}-flat"
    pixels = np.zeros((48, 64, 3), np.uint8)
    (root / "flat").mkdir(parents=True, exist_ok=True)
    write_image(root / "flat" / "black.png", Image.from_array(pixels))
    (root / "photos").mkdir(exist_ok=True)
    for path in (settings.data_root / "photos").glob("*.png"):
        (root / "photos" / path.name).write_bytes(path.read_bytes())
    super_resolve, seen = TiledNetwork.super_resolve, []

    def equal(self, lr):
        sr = super_resolve(self, lr)
        if lr.max() > 0:
            return sr
        seen.append(1)
        return 0 * sr if len(seen) % 2 else 0 * sr + 0.004

    monkeypatch.setattr(TiledNetwork, "super_resolve", equal)
    config = parse_config(TINY, overrides=['pretraining.val_datasets=["photos","flat"]'])
    recorder = Recorder()
    settings = replace(settings, data_root=root)
    result = train_run(config, settings, run="1", loggers=[recorder])
    assert result.finished
    assert all(np.isfinite(value) for _, _, m in recorder.epochs for value in m.values())
    assert not [text for text in recorder.messages if "rolled back" in text]
    (message,) = [text for text in recorder.messages if "flat/black" in text]
    assert message == "flat/black: SR equals HR; its PSNR counts as 60 dB in the mean"
    psnr = [metrics["val/PSNR"] for _, _, metrics in recorder.epochs]
    assert max(psnr) < 40
    assert result.best.psnr < 40


def test_figures_that_are_not_finite_are_null_in_a_model():
    metadata = model_metadata(
        "pretraining", parse_config(TINY).to_dict(), {"epoch": 1, "step": 2}, {"val/SSIM": NAN}, {}
    )
    assert metadata["metrics"] == {"val/SSIM": None}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1).eval()


def test_tiles_give_what_the_whole_image_does(network, photo):
    lr = torch.from_numpy(photo(150, 170).transpose(2, 0, 1)[None] / 255).float()
    whole = TiledNetwork(network, 2, 3)
    assert whole.fits(150, 170)
    looks = []
    tiled = TiledNetwork(network, 2, 3, lambda: looks.append(1), budget=whole.needed_bytes(40, 40))
    assert not tiled.fits(150, 170)
    with torch.inference_mode():
        expected = network(lr)
    torch.testing.assert_close(whole.super_resolve(lr), expected, rtol=0, atol=0)
    torch.testing.assert_close(tiled.super_resolve(lr), expected, rtol=0, atol=0.1 / 255)
    assert len(looks) > 4


def test_a_large_validation_image_is_measured_in_tiles(settings, network, photo):
    """Its losses, too, in pieces, whose mean is that of the whole."""
    from torch_sr.training.stages import PSNRStage

    hr = photo(1100, 160)
    lr = np.ascontiguousarray(hr[::2, ::2])

    class Pair(ImagePairs):
        def __init__(self):
            self.scale_factor, self.names = 2, ["large"]

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return lr, hr

    class Stage:
        evaluated = network

        def validation_losses(self, sr, hr):
            assert sr.shape == hr.shape
            return {"content_loss": (sr - hr).abs().mean()}

    assert PSNRStage.name == "pretraining"
    whole = Validation(Pair()).measure(Stage()).metrics
    needed = TiledNetwork(network, 2, 3).needed_bytes(50, 50)
    tiled = Validation(Pair(), budget=needed).measure(Stage()).metrics
    assert tiled.keys() == whole.keys()
    for name, value in whole.items():
        assert tiled[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    ],
)
def test_a_full_disk_is_named_with_what_is_needed(tmp_path, monkeypatch, error):
    from training_kit import checkpoint_state

    path = tmp_path / "a.pth"
    save_checkpoint(path, checkpoint_state(tensor=torch.zeros(10)))

    def broken(state, file):
        raise error

    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("torch_sr.files.shutil.disk_usage", lambda folder: usage)
    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(CheckpointError) as refusal:
        save_checkpoint(path, checkpoint_state(tensor=torch.zeros(2_500_000)))
    text = str(refusal.value)
    assert "make room in" in text
    assert "the disk is full, 10.0 MB are needed, 1.0 MB are free" in text
    assert "the previous checkpoint is kept" in text
    assert "\n" not in text
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_other_failures_do_not_mention_the_disk(tmp_path):
    assert write_failure(PermissionError(13, "Permission denied"), tmp_path) == "Permission denied"
    assert "full" not in write_failure(RuntimeError("a shape is wrong"), tmp_path)
