"""Strength, from the faithful to the restoring model: in Python, in commands, in records."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from test_output import validate

import torch_sr
from torch_sr.errors import ModelError
from torch_sr.images import read_image
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models import weights
from torch_sr.models.files.writing import save_generator
from torch_sr.models.loading import ModelChoice, choose_model, load
from torch_sr.models.weights import shipped_path
from torch_sr.networks.rrdb import RRDBNet

FAITHFUL, RESTORING = "compact-x4", "compact-x4-real"


@pytest.fixture
def other(tmp_path):
    """A model without a partner."""
    path = tmp_path / "other.safetensors"
    save_generator(path, RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1))
    return path


def stored(name):
    """The parameters in a shipped file, as float64."""
    return {key: value.double() for key, value in load(name).network.state_dict().items()}


# --- The network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [FAITHFUL, RESTORING])
@pytest.mark.parametrize("strength", [0, 0.25, 0.7, 1])
def test_weights_are_interpolated_whichever_model_is_named(pair, named, strength):
    mixed = load(named, strength=strength)
    first, second = stored(FAITHFUL), stored(RESTORING)
    found = mixed.network.state_dict()
    assert found.keys() == first.keys()
    for key, value in found.items():
        expected = (1 - strength) * first[key] + strength * second[key]
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-6)
    assert mixed.info.strength == strength


@pytest.mark.parametrize(("strength", "name"), [(0, FAITHFUL), (1, RESTORING)])
def test_the_ends_are_the_models_themselves_bit_for_bit(pair, strength, name):
    end, alone = load(FAITHFUL, strength=strength), load(name)
    for key, value in alone.network.state_dict().items():
        assert torch.equal(end.network.state_dict()[key], value), key
    assert end.info == alone.info
    assert (end.info.name, end.info.strength) == (name, strength)
    assert end.weights_sha256 == alone.weights_sha256


def test_info_of_a_mixture(pair):
    info = load(RESTORING, strength=0.25).info
    assert (info.path, info.files) == (None, ())
    assert (info.name, info.dtype, info.stage) == (FAITHFUL, "float32", "interpolation")
    assert (info.metadata["license"], info.metadata["alpha"]) == ("LGPL-2.1", "0.25")
    assert json.loads(info.metadata["parents"]) == [
        {"name": name, "weight": weight, "weights_sha256": load(name).weights_sha256}
        for name, weight in ((FAITHFUL, 0.75), (RESTORING, 0.25))
    ]
    assert json.loads(json.dumps(info.to_dict()))["strength"] == 0.25


def test_a_model_without_a_partner_has_no_strength(pair, other):
    info = load(other).info
    assert info.strength is None
    assert "strength" not in info.to_dict()


def test_mixing_draws_no_random_numbers(pair):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(FAITHFUL, strength=0.5)
    assert torch.rand(1) == expected


# --- The choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "strength", "chosen"),
    [
        (None, None, ModelChoice(FAITHFUL, 0.7)),  # only the default is between the two
        (None, 0.2, ModelChoice(FAITHFUL, 0.2)),
        (FAITHFUL, None, ModelChoice(FAITHFUL, 0.0)),  # a named model is used unchanged
        (RESTORING, None, ModelChoice(RESTORING, 1.0)),
        (Path(RESTORING), None, ModelChoice(Path(RESTORING), 1.0)),
        (FAITHFUL, 1, ModelChoice(FAITHFUL, 1.0)),
        (RESTORING, 0, ModelChoice(RESTORING, 0.0)),
        ("realesrgan-x4plus", None, ModelChoice("realesrgan-x4plus")),
    ],
)
def test_which_model_at_which_strength(pair, model, strength, chosen):
    assert choose_model(model, strength) == chosen


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf")])
def test_strengths_out_of_range_are_refused(pair, strength):
    for make in (load, Upscaler):
        with pytest.raises(ModelError, match=r"strength is .*; it must be between 0 .* and 1"):
            make(FAITHFUL, strength=strength)


def test_a_model_without_a_partner_is_refused_before_it_is_downloaded(pair, other):
    words = rf"strength 0.5: leave it out, .* has no partner; strength is for {FAITHFUL} and"
    for model in (other, str(other), "realesrgan-x4plus"):
        for make in (load, Upscaler):
            with pytest.raises(ModelError, match=words):
                make(model, strength=0.5)
    with pytest.raises(ModelError, match="an engine has no partner"):
        Upscaler(Upscaler(other, device="cpu")._engine, strength=0.5)


def test_without_any_pair_the_default_is_the_model_itself(monkeypatch):
    monkeypatch.setattr(weights, "PAIRS", ())
    assert choose_model() == ModelChoice(FAITHFUL)
    with pytest.raises(ModelError, match="compact-x4 has no partner; `torch-sr interpolate`"):
        choose_model(None, 0.5)


# --- Upscaler -------------------------------------------------------------------------------------


def test_the_upscaler_computes_with_the_mixture(pair, photo):
    lr = photo(9, 8)
    x = torch.from_numpy(lr.transpose(2, 0, 1)[None] / np.float32(255))
    with torch.inference_mode():
        sr = torch_sr.interpolate(FAITHFUL, RESTORING, 0.3)(x)[0].clamp(0, 1)
    expected = (sr.numpy().transpose(1, 2, 0) * 255).round()
    found = Upscaler(FAITHFUL, strength=0.3, device="cpu", border=0).upscale(lr)
    assert np.abs(found - expected).max() <= 1
    assert Upscaler(device="cpu").info.strength == 0.7


@pytest.mark.parametrize("setting", ["tile_size", "overlap", "border"])
def test_settings_that_change_results_change_the_fingerprint(pair, setting):
    found = {Upscaler(FAITHFUL, device="cpu", **{setting: n}).fingerprint for n in (8, 16)}
    assert len({*found, Upscaler(FAITHFUL, device="cpu").fingerprint}) == 3


def test_the_strength_changes_the_fingerprint_and_the_name_does_not(pair):
    def fingerprint(model=None, strength=None):
        return Upscaler(model, strength=strength, device="cpu").fingerprint

    assert fingerprint(FAITHFUL, 0.5) == fingerprint(RESTORING, 0.5)
    assert fingerprint() == fingerprint(FAITHFUL, 0.7)
    assert fingerprint(FAITHFUL) == fingerprint(RESTORING, 0)
    assert fingerprint(RESTORING) == fingerprint(FAITHFUL, 1)
    several = {fingerprint(FAITHFUL, strength) for strength in (0, 0.5, 0.500001, 1)}
    assert len(several) == 4
    before = fingerprint(FAITHFUL, 0.5)
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(shipped_path(RESTORING), network, metadata={"license": "longer"})
    assert fingerprint(FAITHFUL, 0.5) != before


# --- torch-sr upscale -----------------------------------------------------------------------------


def upscaled(run, image, *arguments):
    """The pixels and the summary of one run."""
    out = image.with_name("out.png")
    code, text, err = run("upscale", image, "-o", out, "--overwrite", "--json", *arguments)
    assert code == 0, err
    *_, last = map(json.loads, text.splitlines())
    validate(last, "upscale_summary")
    return read_image(out).to_array(), last["summary"]


def test_the_command_records_model_and_strength(run, pair, other, tmp_path, save_photo):
    image = tmp_path / "a.png"
    save_photo(image, 8, 9)
    cases = {
        (): (FAITHFUL, 0.7),
        ("--strength", "0.2"): (FAITHFUL, 0.2),
        ("-m", FAITHFUL): (FAITHFUL, 0),
        ("-m", RESTORING): (RESTORING, 1),
        ("-m", RESTORING, "--strength", "0.2"): (RESTORING, 0.2),
        ("-m", other): (str(other), None),
    }
    pixels = {}
    for arguments, expected in cases.items():
        sr, summary = upscaled(run, image, *arguments)
        assert (summary["model"], summary["strength"]) == expected
        pixels[expected] = sr.tobytes()
    assert pixels[FAITHFUL, 0.2] == pixels[RESTORING, 0.2]
    assert len(set(pixels.values())) == len(pixels) - 1


def test_strength_goes_with_the_other_options(run, pair, tmp_path, save_photo):
    image = tmp_path / "a.png"
    save_photo(image, 8, 9)
    sr, _ = upscaled(run, image, "--strength", "0.5", "--tta", "--tile-size", "32", "--scale", "2")
    assert sr.shape == (16, 18, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--strength", "1.5"], 2, "--strength"),
        (["--strength", "-0.1"], 2, "--strength"),
        (["--strength", "much"], 2, "--strength"),
        (["--strength", "0.5", "-m", "{other}"], 1, "has no partner"),
        (["--strength", "0.5", "-m", "realesrgan-x4plus"], 1, "realesrgan-x4plus has no partner"),
    ],
)
def test_wrong_strengths_are_refused_in_one_line(
    run, pair, other, tmp_path, save_photo, arguments, code, words
):
    save_photo(tmp_path / "a.png", 8, 9)
    arguments = [argument.format(other=other) for argument in arguments]
    found, out, err = run("upscale", tmp_path / "a.png", *arguments, "--json")
    error = json.loads(out)["error"]
    assert (found, error["exit_code"]) == (code, code)
    assert words in error["message"]
    assert err == f"torch-sr: error: {error['message']}\n"
    assert not (tmp_path / "a_sr.png").exists()


@pytest.mark.parametrize(("strength", "computed"), [(0.25, 2), (0.5, 6)])
def test_a_video_is_resumed_only_at_the_same_strength(pair, tmp_path, strength, computed):
    av = pytest.importorskip("av")
    from torch_sr.inference.video.upscaling import upscale_video

    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height = 32, 32
        for number in range(6):
            pixels = np.full((32, 32, 3), 40 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode())

    def run_until(frames, strength):
        """How many frames are computed until the run ends or is stopped."""
        upscaler = Upscaler(FAITHFUL, strength=strength, device="cpu")
        done = []

        def upscale(batch, *_):
            if len(done) == frames:
                raise KeyboardInterrupt
            done.append(1)
            return upscaler.upscale(batch)

        with suppress(KeyboardInterrupt):
            upscale_video(
                *(upscale, upscaler.scale_factor, source, target),
                fingerprint=upscaler.fingerprint,
                segment_frames=2,
            )
        return len(done)

    assert run_until(4, 0.25) == 4
    assert run_until(99, strength) == computed


# --- torch-sr test --------------------------------------------------------------------------------


@pytest.fixture
def measured(run, pair, data_root):
    """The methods of a test and their PSNR, on small photographs."""

    def measured(*arguments):
        code, out, err = run(
            *("test", *arguments, "-d", "photos", "--data-root", data_root, "--json"),
            *("--device", "cpu", "--metrics", "psnr"),
        )
        assert code == 0, err
        return {name: found["psnr"] for name, found in json.loads(out)["mean"]["photos"].items()}

    return measured


def test_results_at_several_strengths(measured, other):
    found = measured(FAITHFUL, other, "--strength", "0,0.5:1:0.25")
    steps = [f"{FAITHFUL} {text}" for text in ("0", "0.5", "0.75", "1")]
    assert list(found) == ["bicubic", *steps, "other"]
    assert len(set(found.values())) == 6
    again = measured(FAITHFUL, RESTORING)
    assert again[FAITHFUL] == found[steps[0]]
    assert again[RESTORING] == found[steps[-1]]
    assert measured(f"half={RESTORING}", "--strength", "0.5")["half"] == found[steps[1]]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([FAITHFUL, "--strength", "1.5"], 2, "--strength is 1.5; it must be between 0 and 1"),
        ([FAITHFUL, "--strength", "0:1"], 2, "--strength is '0:1'"),
        ([FAITHFUL, "--strength", ","], 2, "--strength is ','"),
        ([FAITHFUL, "--strength", "0.5", "--record"], 2, "leave out --record or --strength"),
        ([FAITHFUL, RESTORING, "--strength", "0.5"], 1, f"remove {RESTORING} or {FAITHFUL}"),
        (["{other}", "--strength", "0.5"], 1, "has no partner"),
    ],
)
def test_tests_of_impossible_strengths_are_refused(run, pair, other, arguments, code, words):
    arguments = [argument.format(other=other) for argument in arguments]
    found, out, err = run("test", *arguments, "-d", "set5", "--device", "cpu")
    assert (found, out) == (code, "")
    assert words in err


# --- torch-sr models ------------------------------------------------------------------------------


def test_info_and_list_name_the_partner(run, pair, other):
    for name, partner in ((FAITHFUL, RESTORING), (RESTORING, FAITHFUL), (str(other), None)):
        code, out, _ = run("models", "info", name, "--json")
        found = json.loads(out)
        validate(found, "models_info")
        assert (code, found["partner"]) == (0, partner)
        assert found["default_strength"] == (0.7 if partner else None)
    out = run("models", "info", RESTORING)[1].splitlines()
    assert {f"partner: {FAITHFUL}", "default_strength: 0.7"} <= set(out)
    assert "partner" not in run("models", "info", other)[1]
    code, out, err = run("models", "list")
    assert (
        f"from {FAITHFUL} (0, faithful) to {RESTORING} (1, restoring); the default is 0.7." in err
    )
    rows = json.loads(run("models", "list", "--json")[1])
    validate(rows, "models_list")
    partners = {row["name"]: row["partner"] for row in rows if row["partner"]}
    assert partners == {FAITHFUL: RESTORING, RESTORING: FAITHFUL}


@pytest.mark.parametrize("name", ["compact_x4", "Compact-X4", " compact x4 "])
def test_other_spellings_of_a_shipped_name(name):
    assert shipped_path(name) == shipped_path("compact-x4") is not None


def test_the_restoring_model_is_known_by_any_spelling(pair):
    assert choose_model(pair.restoring.upper().replace("-", "_")).strength == 1
