"""The losses against their formulas, written again in NumPy or by torchvision's own network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import vgg11, vgg19

from torch_sr.errors import ModelError
from torch_sr.losses import (
    PerceptualLoss,
    content_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from torch_sr.models.vgg import vgg_weights_file

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_content_losses():
    a, b = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    difference = a.numpy() - b.numpy()
    assert content_loss(a, b, "l1").item() == pytest.approx(np.abs(difference).mean(), rel=1e-6)
    for name in ("l2", "mse"):
        assert content_loss(a, b, name).item() == pytest.approx((difference**2).mean(), rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 1), (2, 1, 5, 6)])
def test_relativistic_losses_are_the_formulas(shape):
    real, fake = (np.random.default_rng(seed).normal(0, 2, shape) for seed in (0, 1))
    d_real, d_fake = sigmoid(real - fake.mean()), sigmoid(fake - real.mean())
    tensors = torch.from_numpy(real), torch.from_numpy(fake)
    expected = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    assert relativistic_discriminator_loss(*tensors).item() == pytest.approx(expected, rel=1e-12)
    expected = -np.log(1 - d_real).mean() - np.log(d_fake).mean()
    assert relativistic_generator_loss(*tensors).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", [relativistic_discriminator_loss, relativistic_generator_loss])
def test_relativistic_gradients(loss):
    real, fake = (torch.randn(5, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(loss, (real, fake))


def test_relativistic_losses_stay_finite_far_out():
    real, fake = torch.full((2, 1), 1e4), torch.full((2, 1), -1e4)
    for loss in (relativistic_discriminator_loss, relativistic_generator_loss):
        assert torch.isfinite(loss(real, fake))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """The first two blocks of a VGG11 with weights drawn at random, and the network itself."""
    torch.manual_seed(0)
    network = vgg11(weights=None).eval()
    state = {
        k: v
        for k, v in network.state_dict().items()
        if k.startswith(("features.0.", "features.3."))
    }
    path = tmp_path_factory.mktemp("vgg") / "vgg11.pth"
    torch.save(state, path)
    for module in network.features:
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return path, network


def test_perceptual_loss_compares_features_before_activation(vgg_file):
    path, network = vgg_file
    a, b = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    weights = {"conv1_1": 0.5, "conv2_1": 2.0}

    def features(x):
        return network.features[:1]((x - MEAN) / STD), network.features[:4]((x - MEAN) / STD)

    (a1, a2), (b1, b2) = features(a), features(b)
    first, second = (a1 - b1).abs().mean(), (a2 - b2).abs().mean()
    loss = PerceptualLoss(weights, "vgg11", weights=path)
    assert loss(a, b).item() == pytest.approx((0.5 * first + 2 * second).item(), rel=1e-5)
    normalized = PerceptualLoss(weights, "vgg11", normalize_loss=True, weights=path)
    assert normalized(a, b).item() == pytest.approx(loss(a, b).item() / 2.5, rel=1e-6)
    squared = PerceptualLoss({"conv1_1": 1.0}, "vgg11", "l2", weights=path)
    assert squared(a, b).item() == pytest.approx((a1 - b1).square().mean().item(), rel=1e-5)


def test_perceptual_loss_can_leave_the_input_as_it_is(vgg_file):
    path, network = vgg_file
    a, b = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", normalize_input=False, weights=path)
    expected = (network.features[0](a) - network.features[0](b)).abs().mean()
    assert loss(a, b).item() == pytest.approx(expected.item(), rel=1e-5)


def test_perceptual_gradient_reaches_the_image_alone(vgg_file):
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file[0])
    sr, hr = torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 8, 8, requires_grad=True)
    loss(sr, hr).backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert hr.grad is None
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_gray_images_have_features_too(vgg_file):
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file[0])
    a, b = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    expected = loss(a.expand(1, 3, 8, 8), b.expand(1, 3, 8, 8))
    assert loss(a, b).item() == pytest.approx(expected.item())


def test_layers_have_torchvisions_order(tmp_path):
    torch.manual_seed(0)
    network = vgg19(weights=None).eval()
    path = tmp_path / "vgg19.pth"
    keys = {f"features.{i}.{part}" for i in range(36) for part in ("weight", "bias")}
    torch.save({k: v for k, v in network.state_dict().items() if k in keys}, path)
    loss = PerceptualLoss({"conv5_4": 1.0}, weights=path)
    names = list(loss.features)
    assert names[-1] is loss.features.conv5_4
    torch.testing.assert_close(loss.features.conv5_4.weight, network.features[34].weight)
    torch.testing.assert_close(loss.features.conv4_2.weight, network.features[21].weight)


def test_weights_that_do_not_fit_are_refused(vgg_file, tmp_path):
    with pytest.raises(ModelError, match=r"features\.6\.weight is missing"):
        PerceptualLoss({"conv3_1": 1.0}, "vgg11", weights=vgg_file[0])
    with pytest.raises(ModelError, match="conv9_9"):
        PerceptualLoss({"conv9_9": 1.0}, "vgg11", weights=vgg_file[0])
    with pytest.raises(ModelError, match=r"none\.pth"):
        PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=tmp_path / "none.pth")


def test_without_network_the_error_says_what_to_fetch(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    path, url = vgg_weights_file("vgg19")
    with pytest.raises(ModelError) as refusal:
        PerceptualLoss({"conv5_4": 1.0})
    for words in (url, "dcbb9e9d", str(path), "perceptual_loss.weights"):
        assert words in str(refusal.value)
