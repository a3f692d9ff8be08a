"""What a training starts from: sizes that must fit, parameters that fit, stage, length."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch
from training_kit import TINY, Recorder, weights_of

from torch_sr.cli.main import main
from torch_sr.config import parse_config
from torch_sr.errors import CheckpointError, ConfigError, DataError, MissingDatasetError, ModelError
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.models.weights import shipped_path
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.building import build_generator
from torch_sr.training.notes import note_on_length, steps_from_scratch
from torch_sr.training.preflight.check import check_training
from torch_sr.training.run import train_run
from torch_sr.training.runs.initial_weights import like_overrides
from torch_sr.training.runs.starting_point import read_start

SIZES = {"scale_factor": 2, "rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1}


@pytest.fixture
def save_model(tmp_path):
    """Write a generator of random weights: ``save_model(name, stage, **sizes)``."""

    def save(name="model", stage="pretraining", **sizes):
        torch.manual_seed(5)
        network = RRDBNet(**{**SIZES, **sizes})
        path = tmp_path / f"{name}.safetensors"
        save_generator(path, network, stage=stage)
        return path

    return save


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run ``torch-sr train`` with a tiny configuration: its stop code, stdout and stderr."""
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))

    def run(*arguments):
        line = ["torch-sr", "train", tmp_path / "tiny.json", *arguments]
        monkeypatch.setattr(sys, "argv", [*map(str, line)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def refusal(path, config, **options):
    with pytest.raises(CheckpointError) as caught:
        read_start(path, **options).check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- sizes --------------------------------------------------------------------------------------


def test_a_model_of_other_sizes_is_refused_with_the_keys_and_the_options_that_fix_it(save_model):
    path = save_model(num_basic_blocks=3, growth_channels=3, use_subpixel_conv=True)
    message = refusal(path, parse_config(TINY))
    start, _, values = message.partition("; ")
    assert start.startswith(f"{path}: add --like {path}, or ")
    fixes = [
        "generator.growth_channels=3",
        "generator.num_basic_blocks=3",
        "generator.use_subpixel_conv=true",
    ]
    assert start.count("--set") == 3
    assert all(f"--set {fix}" in start for fix in fixes)
    assert "generator.num_basic_blocks 3 (here 1)" in values
    assert "generator.use_subpixel_conv true (here false)" in values
    assert read_start(path).check(parse_config(TINY, overrides=fixes)) == []


@pytest.mark.parametrize(
    ("sizes", "key"),
    [
        ({"residual_scaling": 0.1}, "generator.residual_scaling 0.1 (here 0.2)"),
        ({"scale_factor": 3}, "scale_factor 3 (here 2)"),
        ({"pixel_unshuffle": 2}, "generator.pixel_unshuffle 2 (here 1)"),
        ({"img_channels": 1}, "img_channels 1 (here 3)"),
    ],
)
def test_sizes_that_no_shape_shows_must_fit_too(save_model, sizes, key):
    assert key in refusal(save_model(**sizes), parse_config(TINY))


def test_sizes_without_an_effect_need_not_fit(save_model):
    path = save_model(num_residual_blocks=1, growth_channels=9)
    config = parse_config(TINY, overrides=["generator.num_residual_blocks=1"])
    assert read_start(path).check(config) == []


def test_a_model_of_another_architecture_is_refused(tmp_path):
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    path = tmp_path / "compact.pth"
    network = SRVGGNetCompact(
        num_in_ch=3, num_out_ch=3, num_feat=4, num_conv=1, upscale=2, act_type="prelu"
    )
    torch.save({"params": network.state_dict()}, path)
    message = refusal(path, parse_config(TINY))
    assert "start from an RRDBNet" in message
    assert refusal(path, parse_config(TINY), partial=True) == message
    assert "this is a RealESRGAN Compact" in message
    with pytest.raises(ModelError, match="RRDBNet"):
        like_overrides(path)


def test_like_takes_every_size_of_the_generator(save_model):
    sizes = {
        "scale_factor": 2,
        "img_channels": 1,
        "rrdb_channels": 6,
        "growth_channels": 3,
        "num_basic_blocks": 2,
        "num_dense_blocks": 2,
        "num_residual_blocks": 4,
        "residual_scaling": 0.5,
        "use_subpixel_conv": True,
        "pixel_unshuffle": 2,
    }
    config = parse_config({}, overrides=like_overrides(save_model(**sizes)))
    assert config.generator_kwargs == sizes


def test_like_takes_the_sizes_of_a_model_by_name_and_set_wins(run):
    code, out, err = run("--like", "compact-x4", "--print-config")
    assert (code, err) == (0, "")
    printed = json.loads(out)
    hparams = read_model(shipped_path("compact-x4")).network.config.to_dict()
    sizes = ("rrdb_channels", "growth_channels", "num_basic_blocks")
    shipped = {key: hparams[key] for key in sizes}
    assert shipped.items() <= printed["generator"].items()
    assert printed["scale_factor"] == 4
    assert printed["batch_size"] == TINY["batch_size"]
    change = ("--set", "generator.num_basic_blocks=7")
    code, out, err = run("--like", "compact-x4", *change, "--print-config")
    assert code == 0
    assert json.loads(out)["generator"]["num_basic_blocks"] == 7
    replaced = f"generator.num_basic_blocks=7 replaces {shipped['num_basic_blocks']}"
    assert f"{replaced} of the model named with --like" in err


def test_like_and_load_checkpoint_start_from_a_shipped_model(run, settings, tmp_path):
    code, out, err = run(
        *("-l", "compact-x4", "--like", "compact-x4", "--set", "pretraining.num_epoch=1"),
        *("--data-root", settings.data_root, "--out", tmp_path, "--no-tensorboard"),
    )
    assert code == 0, err
    assert "starting the PSNR stage (pretraining) from compact-x4" in err
    assert (
        weights_of(out.strip().rpartition("  ")[2]).keys()
        == weights_of(shipped_path("compact-x4")).keys()
    )


# --- a part of a model --------------------------------------------------------------------------


def test_partial_takes_what_fits_and_lists_the_rest(save_model, settings):
    path = save_model(num_basic_blocks=3, scale_factor=1)
    config = parse_config(TINY, overrides=["generator.num_basic_blocks=2"])
    network, fresh = build_generator(config), build_generator(config)
    lines = read_start(path, partial=True).fill(network)
    stored, filled, before = weights_of(path), network.state_dict(), fresh.state_dict()
    for key, value in filled.items():
        assert torch.equal(value, stored[key] if key in stored else before[key]), key
    assert lines[0] == f"took {len(filled) - 2} of {len(filled)} tensors from {path}"
    assert lines[1:] == [
        "the model has scale_factor 1 (here 2), generator.num_basic_blocks 3 (here 2)",
        "not taken from the model: body.2 (30 tensors)",
        "not in the model, randomly initialized: conv_up1.weight, conv_up1.bias",
    ]
    recorder = Recorder()
    settings = replace(settings, resume=path, partial=True)
    train_run(config, settings, run="1", loggers=[recorder])
    assert set(lines) <= set(recorder.messages)


def test_partial_shows_both_shapes_where_a_name_fits_and_its_shape_does_not(save_model):
    lines = read_start(save_model(pixel_unshuffle=2), partial=True).fill(
        build_generator(parse_config(TINY))
    )
    assert "conv_first.weight (4, 12, 3, 3) instead of (4, 3, 3, 3)" in lines[2]
    assert "conv_first.weight (4, 3, 3, 3) instead of (4, 12, 3, 3)" in lines[3]


def test_partial_says_which_sizes_differ_even_where_every_shape_fits(save_model):
    start = read_start(save_model(residual_scaling=0.1), partial=True)
    took, sizes = start.fill(build_generator(parse_config(TINY)))
    assert took.startswith("took 40 of 40 tensors")
    assert sizes == "the model has generator.residual_scaling 0.1 (here 0.2)"


def test_partial_is_refused_where_nothing_fits(save_model):
    start = read_start(save_model(rrdb_channels=6, growth_channels=5), partial=True)
    with pytest.raises(CheckpointError, match="no weights fit"):
        start.fill(build_generator(parse_config(TINY)))


def test_options_of_a_start_need_a_model(settings, run):
    with pytest.raises(
        CheckpointError, match=r"--load-checkpoint.*--start-stage training and --pa"
    ):
        read_start(None, stage="training", partial=True)
    checkpoint = train_run(parse_config(TINY), settings, run="1").checkpoint
    with pytest.raises(CheckpointError, match=r"leave out --partial.*models extract"):
        read_start(checkpoint, partial=True)
    assert run("--start-stage", "second")[0] == 2


# --- the stage ----------------------------------------------------------------------------------


def test_a_model_starts_the_gan_stage_and_this_is_reported(settings, both_stages, save_model):
    path, recorder = save_model(), Recorder()
    train_run(both_stages, replace(settings, resume=path), run="1", loggers=[recorder])
    assert recorder.stages == ["training"]
    (message,) = recorder.messages
    assert message.startswith(f"starting the GAN stage (training) from {path}, a model of the PSNR")
    assert "--start-stage pretraining" in message
    assert "--set training.num_epoch=0" in message


def test_a_gan_stage_from_scratch_is_noted(settings, both_stages):
    config = parse_config(both_stages.to_dict(), overrides=["pretraining.num_epoch=0"])
    recorder = Recorder()
    train_run(config, settings, run="1", loggers=[recorder])
    assert recorder.messages[0].startswith("the GAN stage (training) starts from scratch")
    start = next(iter(check_training(config, settings)))
    assert start.text.startswith("from scratch; the GAN stage (training) starts from scratch")


def test_both_stages_start_from_a_model_if_requested(settings, both_stages, save_model):
    path, recorder = save_model(stage=None), Recorder()
    settings = replace(settings, resume=path, start_stage="pretraining")
    train_run(both_stages, settings, run="1", loggers=[recorder])
    assert recorder.stages == ["pretraining", "training"]
    assert recorder.messages == [
        f"starting the PSNR stage (pretraining) from {path}, then the GAN stage"
    ]
    fresh = Recorder()
    train_run(
        both_stages, replace(settings, resume=None, start_stage=None), run="2", loggers=[fresh]
    )
    assert fresh.losses[0][1] != recorder.losses[0][1]


def test_a_stage_that_is_left_out_cannot_be_the_first(save_model):
    message = refusal(save_model(), parse_config(TINY), stage="training")
    assert "set training.num_epoch above 0" in message


def test_the_data_of_a_stage_that_does_not_run_are_not_needed(settings, both_stages, save_model):
    config = parse_config(both_stages.to_dict(), overrides=['pretraining.train_datasets=["none"]'])
    settings = replace(settings, resume=save_model())
    assert train_run(config, settings, run="1").finished
    findings = list(check_training(config, settings))
    assert all(finding.passed for finding in findings), findings
    assert "pretraining data" not in [finding.subject for finding in findings]
    with pytest.raises(DataError, match="none"):
        train_run(config, replace(settings, resume=None), run="2")


# --- the length, and validation -----------------------------------------------------------------


def test_too_few_steps_from_scratch_are_noted_with_a_model_to_start_from():
    config = parse_config({})
    needed = steps_from_scratch(config)
    assert 1000 < needed < 10000
    assert note_on_length(config, needed) is None
    note = note_on_length(config, needed - 1)
    assert "--load-checkpoint compact-x4 --like compact-x4" in note
    assert f"after {needed - 1} of them a network from scratch is still worse" in note
    gray = parse_config({"img_channels": 1})
    assert "compact-x4" not in note_on_length(gray, 1)
    assert steps_from_scratch(parse_config({"pretraining": {"lr": 2e-3}})) == needed // 10
    alone = parse_config({"pretraining": {"num_epoch": 0}, "training": {"g_lr": 1e-3}})
    assert steps_from_scratch(alone) == needed // 5


def test_a_training_from_a_model_is_not_called_too_short(settings, save_model):
    config, scratch, started = parse_config(TINY), Recorder(), Recorder()
    train_run(config, settings, run="1", loggers=[scratch])
    assert "a network from scratch is still worse" in " ".join(scratch.messages)
    train_run(config, replace(settings, resume=save_model()), run="2", loggers=[started])
    assert "from scratch" not in " ".join(started.messages)


def test_a_warm_up_longer_than_the_stage_is_noted(settings):
    config, recorder = parse_config(TINY, overrides=["pretraining.warmup_steps=6"]), Recorder()
    train_run(config, settings, run="1", loggers=[recorder])
    expected = "lower pretraining.warmup_steps 6: the stage has 6 steps"
    assert any(expected in message for message in recorder.messages)
    assert any(expected in finding.text for finding in check_training(config, settings))
    recorder = Recorder()
    config = parse_config(TINY, overrides=["pretraining.warmup_steps=5"])
    train_run(config, settings, run="2", loggers=[recorder])
    assert not any("warmup" in message for message in recorder.messages)


def test_a_batch_of_more_crops_than_images_is_noted(settings):
    config, recorder = parse_config(TINY, overrides=["batch_size=64"]), Recorder()
    train_run(config, settings, run="1", loggers=[recorder])
    expected = "mini-batches have 5 crops instead of batch_size 64"
    assert any(expected in message for message in recorder.messages)
    assert any(expected in finding.text for finding in check_training(config, settings))
    repeated = parse_config(TINY, overrides=["batch_size=8", "train_datasets=photos,photos"])
    recorder = Recorder()
    train_run(repeated, settings, run="2", loggers=[recorder])
    assert not any("mini-batches" in message for message in recorder.messages)


def test_errors_about_missing_data_name_the_key_and_how_to_set_it(settings):
    training = {key: value for key, value in TINY["pretraining"].items() if "datasets" not in key}
    unset = parse_config({**TINY, "pretraining": training})
    with pytest.raises(MissingDatasetError) as caught:
        train_run(unset, settings, run="1")
    expected = (
        "add --set train_datasets=FOLDER: pretraining.train_datasets is not set and defaults to"
    )
    assert str(caught.value).startswith(expected)
    assert "DIV2K not found" in str(caught.value)
    given = parse_config(TINY, overrides=["val_datasets=div2k"])
    with pytest.raises(MissingDatasetError, match=r"^pretraining\.val_datasets: data set DIV2K"):
        train_run(given, settings, run="2")


def test_without_validation_a_note_is_logged_and_the_last_model_stored(settings):
    config = parse_config(TINY, overrides=["pretraining.val_datasets=[]", "watch.psnr_drop=0.01"])
    recorder = Recorder()
    result = train_run(config, settings, run="1", loggers=[recorder])
    assert result.finished
    assert any("val_datasets is empty: no validation" in message for message in recorder.messages)
    assert not any(key.startswith("val/") for key in recorder.epochs[-1][2])
    stored = {path.name for path in settings.models_dir.glob("1_*")}
    assert "1_RRDB_PSNR_x2_model.safetensors" in stored
    assert not any("best" in name for name in stored)
    findings = list(check_training(config, settings))
    assert all(finding.passed for finding in findings)
    assert any("no validation" in finding.text for finding in findings)


def test_training_data_cannot_be_left_out():
    with pytest.raises(Exception, match="train_datasets is \\[\\]; it must not be empty"):
        parse_config(TINY, overrides=["pretraining.train_datasets=[]"])


# --- a pixel-unshuffled generator ---------------------------------------------------------------

UNSHUFFLED = [
    "generator.pixel_unshuffle=2",
    "generator.growth_channels=32",  # spandrel reads no other
    "pretraining.cr_patch_size=[18, 18]",  # LR of an odd side: padded inside, and cropped
    "pretraining.num_epoch=1",
]


def test_a_pixel_unshuffled_generator_is_trained_resumed_and_read_by_spandrel(settings):
    from spandrel import ModelLoader

    config = parse_config(TINY, overrides=UNSHUFFLED)
    result = train_run(config, settings, run="1")
    network = build_generator(config)
    network.load_state_dict(weights_of(result.model))
    assert weights_of(result.model)["conv_first.weight"].shape == (4, 12, 3, 3)
    stored = ModelLoader().load_from_file(str(result.model))
    assert (stored.scale, stored.model.shuffle_factor) == (2, 2)
    lr = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        torch.testing.assert_close(network(lr), stored.model(lr))

    longer = parse_config(TINY, overrides=[*UNSHUFFLED, "pretraining.num_epoch=2"])
    resumed = replace(settings, resume=result.checkpoint)
    recorder = Recorder()
    assert train_run(longer, resumed, run="1", loggers=[recorder]).finished
    assert [epoch for epoch, _, _ in recorder.epochs] == [2]
    with pytest.raises(CheckpointError, match="pixel_unshuffle: 2, now 1"):
        train_run(parse_config(TINY, overrides=UNSHUFFLED[1:]), resumed, run="1")


def test_a_model_of_real_esrgan_at_x2_is_fine_tuned_with_its_sizes(settings, tmp_path):
    torch.manual_seed(1)
    network = RRDBNet(**{**SIZES, "pixel_unshuffle": 2})
    path = tmp_path / "RealESRGAN_x2.pth"
    torch.save({"params_ema": network.state_dict()}, path)
    config = parse_config(TINY, overrides=[*like_overrides(path), *UNSHUFFLED[2:]])
    assert config.generator.pixel_unshuffle == 2
    assert config.scale_factor == 2
    recorder = Recorder()
    train_run(config, replace(settings, resume=path), run="1", loggers=[recorder])
    assert recorder.messages[0] == f"starting the PSNR stage (pretraining) from {path}"


@pytest.mark.parametrize(
    ("scale", "unshuffle", "fitting"), [(4, 4, "1 or 2"), (8, 2, "1"), (2, 3, "1, 2 or 4")]
)
def test_factors_that_cannot_be_built_are_refused_with_those_that_can(scale, unshuffle, fitting):
    overrides = [f"scale_factor={scale}", f"generator.pixel_unshuffle={unshuffle}"]
    with pytest.raises(ConfigError) as caught:
        parse_config({}, overrides=overrides)
    words = f"generator.pixel_unshuffle is {unshuffle}; it must be {fitting} if scale_factor is"
    assert words in str(caught.value)
