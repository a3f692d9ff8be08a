"""metric_table.py: the table, and the values of each metric."""

import functools
import sys
import types

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from torch_sr.errors import DataError, DownloadError, MissingExtraError, ModelError
from torch_sr.evaluation.metric_table import METRICS, MetricSettings, build_metrics
from torch_sr.losses import PerceptualLoss
from torch_sr.metrics import PROTOCOLS, measure


@pytest.fixture
def images():
    """An original and two results, the second the worse, ``(1, 3, 80, 96)``."""
    torch.manual_seed(0)
    hr = torch.rand(1, 3, 20, 24).repeat_interleave(4, 2).repeat_interleave(4, 3)
    noise = torch.randn_like(hr)
    return hr, (hr + 0.02 * noise).clamp(0, 1), (hr + 0.2 * noise).clamp(0, 1)


def alexnet_features():
    sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1))
    layers = []
    for number, size in enumerate((*sizes, (256, 256, 3, 1, 1))):
        layers += [nn.Conv2d(*size), nn.ReLU()]
        if number in (0, 1, 4):
            layers.append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*layers)


@pytest.fixture
def random_networks(monkeypatch):
    """The parts of torchvision's networks that are used, with random weights."""
    from torchmetrics.functional.image import dists
    from torchvision.models import vgg

    from torch_sr.evaluation import metric_table

    def made(build):
        def make(**_):
            torch.manual_seed(0)
            return types.SimpleNamespace(features=build())

        return make

    monkeypatch.setattr(torchvision.models, "alexnet", made(alexnet_features))
    vgg16 = made(lambda: vgg.make_layers(vgg.cfgs["D"]))
    monkeypatch.setattr(dists, "vgg16", vgg16)
    monkeypatch.setattr(metric_table, "_check_backbone", lambda name, settings: None)
    small = functools.partial(PerceptualLoss, {"conv1_1": 1.0}, "vgg11")
    monkeypatch.setattr(
        metric_table, "PerceptualLoss", lambda layers, weights: small(weights=weights)
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_psnr_and_ssim_are_those_of_the_protocol(images, protocol):
    hr, near, _ = images
    built = build_metrics(["psnr", "ssim"], MetricSettings(4, PROTOCOLS[protocol]))
    expected = measure(near, hr, 4, PROTOCOLS[protocol])
    assert {name: compare(near, hr) for name, compare in built.items()} == expected


def test_content_loss_is_the_mean_difference(images):
    hr, near, _ = images
    as_is = build_metrics(["content_loss"], MetricSettings(4, PROTOCOLS["enhanced-srgan"]))
    assert as_is["content_loss"](near, hr) == pytest.approx(float((near - hr).abs().mean()))
    rounded = build_metrics(["content_loss"], MetricSettings(4))["content_loss"](near, hr)
    eight = ((near * 255).round() - (hr * 255).round()).abs().mean() / 255
    assert rounded == pytest.approx(float(eight))


def test_perceptual_loss_is_that_of_training(images, vgg_file, random_networks):
    hr, near, far = images
    setting = MetricSettings(4, PROTOCOLS["enhanced-srgan"], vgg_weights=str(vgg_file))
    compare = build_metrics(["perceptual_loss"], setting)["perceptual_loss"]
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file)
    assert compare(near, hr) == pytest.approx(float(loss(near, hr)), rel=1e-5)
    assert compare(near, hr) < compare(far, hr)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_learned_distances(images, name, random_networks):
    hr, near, far = images
    compare = build_metrics([name], MetricSettings(4))[name]
    first = compare(near, hr)
    assert compare(hr, hr) == pytest.approx(0, abs=1e-5)
    assert 0 < first < compare(far, hr)
    assert compare(near, hr) == first  # nothing is added up
    gray = compare(near[:, :1], hr[:, :1])
    expanded = compare(near[:, :1].expand(-1, 3, -1, -1), hr[:, :1].expand(-1, 3, -1, -1))
    assert gray == expanded


@pytest.mark.parametrize(("name", "backbone"), [("lpips", "alexnet"), ("dists", "vgg16")])
def test_weights_that_cannot_be_downloaded_are_named(name, backbone, offline):
    with pytest.raises(
        DownloadError, match=rf"{backbone}\S+pth cannot be downloaded: get https.*host not found"
    ):
        build_metrics([name], MetricSettings(4))


def test_weights_that_contain_code_are_refused(monkeypatch, tmp_path):
    from torch_sr.models.backbones import backbone_file

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path, _ = backbone_file("alexnet")
    path.parent.mkdir(parents=True)
    torch.save({"x": print}, path)
    with pytest.raises(ModelError, match=path.name):
        build_metrics(["lpips"], MetricSettings(4))


def test_metrics_without_reference_depend_on_the_result_alone(images, monkeypatch):
    hr, near, far = images
    seen = []

    def create_metric(name, device):
        def judge(image):
            seen.append((name, image.shape, float(image.max())))
            return image.mean()

        return judge

    monkeypatch.setitem(sys.modules, "pyiqa", types.SimpleNamespace(create_metric=create_metric))
    built = build_metrics(["niqe", "brisque"], MetricSettings(4))
    assert built["niqe"](near, hr) == built["niqe"](near, far) != built["niqe"](far, hr)
    built["brisque"](near[:, :1], hr[:, :1])
    assert seen[-1][:2] == ("brisque", (1, 3, 80, 96))


def test_missing_packages_and_unknown_metrics_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MissingExtraError, match=r"torch-sr\[quality\]"):
        build_metrics(["niqe"], MetricSettings(4))

    def fail(name, device):
        raise RuntimeError("cannot\nconnect")

    monkeypatch.setitem(sys.modules, "pyiqa", types.SimpleNamespace(create_metric=fail))
    with pytest.raises(ModelError, match=r"model of niqe \(cannot connect\)"):
        build_metrics(["niqe"], MetricSettings(4))
    with pytest.raises(DataError, match="metric 'psrn': choose one of psnr, ssim"):
        build_metrics(["psrn"], MetricSettings(4))


def test_an_image_too_small_for_a_network_is_reported(images, random_networks):
    hr, near, _ = images
    compare = build_metrics(["lpips"], MetricSettings(4))["lpips"]
    with pytest.raises(DataError, match="lpips cannot compare 9x9 pixels"):
        compare(near[..., :9, :9], hr[..., :9, :9])


def test_the_better_result_has_the_better_value(images, random_networks, vgg_file):
    hr, near, far = images
    names = [name for name in METRICS if name not in ("niqe", "brisque")]
    built = build_metrics(names, MetricSettings(4, vgg_weights=str(vgg_file)))
    for name, compare in built.items():
        better, worse = compare(near, hr), compare(far, hr)
        assert (better > worse) == METRICS[name].higher_is_better
        assert np.isfinite([better, worse]).all()
