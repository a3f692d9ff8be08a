"""``torch-sr models``, ``interpolate`` and ``test --record``, as a user types them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from torch_sr.evaluation import metric_table
from torch_sr.images import Image, read_image, write_image
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

TINY = {"scale_factor": 2, "rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}


@pytest.fixture
def models(tmp_path):
    """Two networks alike, files of our own form."""
    paths = []
    for seed, name in enumerate(("psnr", "gan", "third")):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{name}.safetensors")
        save_generator(paths[-1], RRDBNet(**TINY), metadata={"license": "MIT"})
    return paths


@pytest.fixture
def set5(tmp_path, save_photo):
    """A data set with two images."""
    for number in range(2):
        save_photo(tmp_path / "data" / "five" / f"{number}.png", 40, 44, seed=number)
    return tmp_path / "data"


def ends(models):
    return models[:2]


# --- models ---------------------------------------------------------------------------------------


def test_info_tells_cost_reach_hashes_and_parents(run, models, tmp_path):
    mixed = tmp_path / "mixed.safetensors"
    assert run("interpolate", *ends(models), mixed, "--alpha", "0.3")[0] == 0
    code, out, _ = run("models", "info", mixed, "--json", "--measure")
    found = json.loads(out)
    assert code == 0
    assert found["architecture"] == "RRDBNet"
    assert found["macs_per_pixel"] > 1000
    assert found["receptive_field"] > 30
    assert 4 <= found["overlap"] <= 40
    assert found["license"] == "MIT"
    parents = found["metadata"]["parents"]
    assert [parent["name"] for parent in parents] == ["psnr", "gan"]
    one = json.loads(run("models", "info", models[0], "--json")[1])
    assert parents[0]["weights_sha256"] == one["weights_sha256"]
    text = run("models", "info", mixed)[1]
    assert "macs_per_pixel: " in text
    assert "precisions: fp32, fp16, bf16" in text


def test_annotate_and_verify(run, models):
    assert run("models", "annotate", models[0], "license=CC0-1.0", "author=A B", "name=")[0] == 0
    assert read_model(models[0]).info.metadata["author"] == "A B"
    code, out, _ = run("models", "verify", *models)
    assert (code, out.count("ok    ")) == (0, 3)
    data = bytearray(models[1].read_bytes())
    data[-9] ^= 4
    models[1].write_bytes(data)
    code, out, _ = run("models", "verify", *models)
    assert (code, out.count("ok    "), out.count("FAIL")) == (1, 2, 1)
    assert run("models", "annotate", models[0], "hparams={}")[0] == 2
    assert run("models", "annotate", models[0], "license")[0] == 2


def test_verify_without_anything_fetched(run, tmp_path, monkeypatch, no_packages):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    assert run("models", "verify")[:2] == (0, "no models have been downloaded or installed yet\n")
    assert run("models", "verify", "esrgan-x4")[0] == 1


# --- interpolate ----------------------------------------------------------------------------------


@pytest.fixture
def perception(monkeypatch):
    """LPIPS needs weights from the internet; in its place stands the error of the mean."""
    row = metric_table.METRICS["lpips"]
    stand_in = dataclasses.replace(
        row, build=lambda _: lambda sr, hr: float((sr.mean() - hr.mean()).abs())
    )
    monkeypatch.setitem(metric_table.METRICS, "lpips", stand_in)


def test_a_sweep_is_measured_and_its_best_alpha_named(run, models, set5, tmp_path, perception):
    out = tmp_path / "sweep.safetensors"
    options = ("--datasets", "five", "--data-root", set5, "--image-space", "--device", "cpu")
    code, text, _ = run("interpolate", *ends(models), out, "--alpha", "0:1:0.5", *options, "--json")
    assert code == 0
    found = json.loads(text)
    assert found["models"] == [str(tmp_path / f"sweep_{a}.safetensors") for a in ("0", "0.5", "1")]
    names = ["alpha 0", "alpha 0.5", "alpha 1", "images 0", "images 0.5", "images 1"]
    assert list(found["means"]) == ["bicubic", *names]
    for end in ("0", "1"):  # where networks and pictures are one
        assert found["means"][f"alpha {end}"] == found["means"][f"images {end}"]
    assert found["means"]["alpha 0.5"] != found["means"]["images 0.5"]
    assert found["best_alpha"] in (0, 0.5, 1)
    assert "nearest" in found["rule"]
    assert read_image(found["curve"]).color.shape == (720, 960, 3)
    code, text, _ = run("interpolate", *ends(models), out, "--alpha", "0:1:0.5", *options)
    assert f"best alpha: {found['best_alpha']:g} (nearest" in text
    assert text.splitlines()[-1] == found["curve"]


def test_images_are_mixed_pixel_by_pixel(models, photo):
    from torch_sr.evaluation.methods import load_sweep

    found = load_sweep(*models[:2], alphas=[0, 0.25, 1], image_space=True, device="cpu")
    methods = {method.label: method.super_resolve for method in found}
    lr = photo(12, 14, 3, np.float32)
    psnr, esrgan = methods["images 0"](lr), methods["images 1"](lr)
    np.testing.assert_allclose(
        methods["images 0.25"](lr), 0.75 * psnr + 0.25 * esrgan, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(psnr, methods["alpha 0"](lr))
    other = photo(12, 14, 3, np.float32, seed=1)
    assert not np.array_equal(methods["images 0.25"](other), methods["images 0.25"](lr))


def test_a_soup(run, models, tmp_path):
    out = tmp_path / "soup.pth"
    assert run("interpolate", *models, out, "--weights", "0.5,0.25,0.25")[0] == 0
    mixed = read_model(out).network.state_dict()
    states = [read_model(model).network.state_dict() for model in models]
    key = "body.0.rdb1.conv1.weight"
    expected = np.average([state[key] for state in states], axis=0, weights=[0.5, 0.25, 0.25])
    np.testing.assert_allclose(mixed[key], expected, rtol=1e-5, atol=1e-8)
    assert run("interpolate", *models, out)[0] == 0  # equal shares
    expected = np.mean([state[key] for state in states], axis=0)
    found = read_model(out).network.state_dict()[key]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_half_precision_is_stored_where_it_is_asked_for(run, models, tmp_path):
    out = tmp_path / "half.safetensors"
    assert run("interpolate", *ends(models), out, "--alpha", "0.5", "--dtype", "fp16")[0] == 0
    assert read_model(out).info.dtype == "float16"


def test_the_preview_is_of_the_image(run, models, tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "a.png", Image(rng.integers(0, 256, (20, 90, 1), dtype=np.uint8)))
    out = tmp_path / "m.safetensors"
    code, text, _ = run(
        *("interpolate", *ends(models), out, "--alpha", "0.5", "--preview", tmp_path / "a.png"),
        *("--device", "cpu"),
    )
    assert code == 0
    assert text.split() == [str(out), str(tmp_path / "m_preview.png")]
    assert read_image(tmp_path / "m_preview.png").color.std() > 20


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--alpha", "1.5"], 1, "alpha is 1.5"),
        (["--alpha", "0.5", "--dtype", "int8"], 1, "int8"),
        (["--alpha", "0.5", "--datasets", "five"], 2, "needs a sweep"),
        (["--alpha", "0:1:0.5", "--datasets", ","], 2, "name at least one"),
        (["--alpha", "0:1:0.5", "--datasets", "five", "--perception", "ssim"], 2, "distortion"),
        (["--alpha", "0:1:0.5", "--datasets", "five", "--perception", "x"], 1, "metric 'x'"),
        (["--alpha", "0.5", "--preview", "none.png"], 1, "none.png: no such file"),
        (["--alpha", "0.5", "--weights", "1,0"], 2, "give one of them"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(
    run, models, tmp_path, options, code, words
):
    before = sorted(tmp_path.iterdir())
    found, out, err = run("interpolate", *ends(models), tmp_path / "out.pth", *options)
    assert (found, out) == (code, "")
    assert words in " ".join(err.replace("│", " ").split())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["compact-x4", "--weights", "1"], 2, "give two networks or more"),
        (["compact-x4", "compact-x4", "--weights", "1"], 1, "2 models and 1 weights"),
        (["compact-x4", "compact-x4", "--weights", "a,b"], 2, "write numbers"),
        (["compact-x4", "compact-x4", "--weights", "1,1"], 1, "add up to 2"),
        (["compact-x4", "compact-x4"], 2, "give --alpha or --weights"),
        (["compact-x4", "compact-x4", "compact-x4", "--alpha", "0.5"], 2, "mixes two networks"),
    ],
)
def test_invalid_mixtures_are_refused(run, tmp_path, options, code, words):
    found, _, err = run("interpolate", *options, tmp_path / "out.pth")
    assert found == code
    assert words in " ".join(err.replace("│", " ").split())


# --- test --record --------------------------------------------------------------------------------


def test_a_test_is_recorded_in_the_models(run, models, set5):
    command = ("test", *models[:2], "-d", "five", "--data-root", set5, "--device", "cpu", "--json")
    code, out, _ = run(*command, "--record")
    assert code == 0
    means = json.loads(out)["mean"]["five"]
    for model in models[:2]:
        results = json.loads(read_model(model).info.metadata["results"])
        assert results["five x2, protocol paper"]["psnr"] == pytest.approx(
            means[model.stem]["psnr"], abs=1e-4
        )
    assert run("models", "verify", *models)[0] == 0


def test_what_cannot_be_recorded_is_reported_before_the_work(run, models, tmp_path):
    code, _, err = run("test", "compact-x4", "-d", "nowhere", "--record")
    assert code == 1
    assert "is part of the package" in err
    torch.save(read_model(models[0]).network.state_dict(), tmp_path / "bare.pth")
    code, _, err = run("test", tmp_path / "bare.pth", "-d", "nowhere", "--record")
    assert code == 1
    assert "no place for records" in err


@pytest.mark.parametrize("command", ["info", "verify", "download", "path", "remove"])
def test_an_empty_name_is_no_model(run, command):
    code, out, _ = run("models", command, "")
    assert code == 1
    assert not out.startswith(".")


def test_annotations_are_given_once_and_not_to_shipped_models(run, models):
    code, _, err = run("models", "annotate", models[0], "license=MIT", "license=BSD")
    assert code == 2
    assert "license is given twice" in err
    code, _, err = run("models", "annotate", "compact-x4", "license=MIT")
    assert code == 1
    assert "copy compact-x4 to a file first" in err
