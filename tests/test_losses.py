"""The losses against their formulas in NumPy, or against torchvision's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.models import vgg11, vgg19

from torch_sr.errors import DataError, DownloadError, ModelError
from torch_sr.losses import (
    EXTRA_LOSSES,
    PerceptualLoss,
    artifact_loss,
    content_loss,
    cosine_distance,
    focal_frequency_loss,
    ms_ssim_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from torch_sr.metrics import similarity_maps, ssim
from torch_sr.models.backbones import backbone_file

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


def test_relativistic_losses_stay_finite_for_large_logits():
    real, fake = torch.full((2, 1), 1e4), torch.full((2, 1), -1e4)
    for loss in (relativistic_discriminator_loss, relativistic_generator_loss):
        assert torch.isfinite(loss(real, fake))


def smooth_pair(*shape, noise=0.1):
    """A smooth random image and a noisy one, in double precision: SR first."""
    rng = np.random.default_rng(7)
    hr = ndimage.gaussian_filter(rng.random(shape), (0, 0, 2, 2))
    hr = (hr - hr.min()) / (hr.max() - hr.min())
    return torch.from_numpy(hr + rng.normal(0, noise, shape)), torch.from_numpy(hr)


def artifact_map_by_scipy(sr, sr_average, hr):
    """LDL's weight of every pixel, image by image, ``(N, 1, H, W)``."""
    maps = []
    for one, average, target in zip(sr.numpy(), sr_average.numpy(), hr.numpy(), strict=True):
        residual = np.abs(target - one).sum(axis=0)
        local = ndimage.generic_filter(
            residual, np.var, 7, mode="mirror", extra_keywords={"ddof": 1}
        )
        weight = np.var(residual, ddof=1) ** 0.2 * local
        maps.append(np.where(residual < np.abs(target - average).sum(axis=0), 0, weight))
    return np.stack(maps)[:, None]


@pytest.fixture
def outputs():
    """The results of the generator and of its average, and the target."""
    sr, hr = smooth_pair(2, 3, 12, 15)
    noise = np.random.default_rng(8).normal(0, 0.1, hr.shape)
    return sr, hr + torch.from_numpy(noise), hr


def test_artifact_loss_is_the_formula(outputs):
    sr, _, hr = outputs
    weight = artifact_map_by_scipy(*outputs)
    assert 0.2 < (weight == 0).mean() < 0.8
    expected = np.abs(weight * sr.numpy() - weight * hr.numpy()).mean()
    assert artifact_loss(*outputs).item() == pytest.approx(expected, rel=1e-12)


def test_artifact_map_has_no_gradient(outputs):
    sr, sr_average, hr = outputs
    sr.requires_grad_()
    sr_average.requires_grad_()
    artifact_loss(sr, sr_average, hr).backward()
    weight = artifact_map_by_scipy(sr.detach(), sr_average.detach(), hr)
    expected = weight * np.sign((sr.detach() - hr).numpy()) / hr.numel()
    np.testing.assert_allclose(sr.grad.numpy(), expected, rtol=1e-10, atol=1e-18)
    assert sr_average.grad is None


def test_artifacts_are_only_where_the_average_is_no_worse(outputs):
    sr, _, hr = outputs
    assert artifact_loss(sr, sr + 2, hr) == 0
    everywhere = artifact_loss(sr, hr, hr)
    assert everywhere > artifact_loss(*outputs) > 0
    # Equal errors count as artifacts: the average equals the generator at the first step.
    assert artifact_loss(sr, sr, hr) == everywhere


def test_every_image_has_its_own_artifact_map(outputs):
    singles = [artifact_loss(*(image[i : i + 1] for image in outputs)) for i in range(2)]
    assert artifact_loss(*outputs).item() == pytest.approx(torch.stack(singles).mean().item())


def ms_ssim_by_scipy(sr, hr, scales):
    """One channel, with the weights of the first scales made to sum to 1."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]

    def local_mean(image):  # over 11x11 pixels, where they fit whole
        return ndimage.gaussian_filter(image, 1.5, radius=5)[5:-5, 5:-5]

    def halved(image):
        height, width = (side // 2 * 2 for side in image.shape)
        image = image[:height, :width]
        return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4

    result = 1.0
    for scale, weight in enumerate(weights / weights.sum(), start=1):
        m_sr, m_hr = local_mean(sr), local_mean(hr)
        covariance = local_mean(sr * hr) - m_sr * m_hr
        variances = local_mean(sr**2) - m_sr**2 + local_mean(hr**2) - m_hr**2
        similarity = (2 * covariance + 0.0009) / (variances + 0.0009)
        if scale == scales:
            similarity *= (2 * m_sr * m_hr + 0.0001) / (m_sr**2 + m_hr**2 + 0.0001)
        result *= similarity.mean() ** weight
        sr, hr = halved(sr), halved(hr)
    return result


@pytest.mark.parametrize(
    ("side", "scales"),
    [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (87, 3), (88, 4), (175, 4), (176, 5), (400, 5)],
)
def test_ms_ssim_takes_the_scales_that_fit(side, scales):
    sr, hr = smooth_pair(1, 2, side, side + 3, noise=0.03)
    expected = np.mean(
        [ms_ssim_by_scipy(sr[0, c].numpy(), hr[0, c].numpy(), scales) for c in (0, 1)]
    )
    assert 0.3 < expected < 0.995
    assert ms_ssim_loss(sr, hr).item() == pytest.approx(1 - expected, rel=1e-9)
    assert ms_ssim_loss(sr.mT, hr.mT).item() == pytest.approx(1 - expected, rel=1e-9)


@pytest.mark.parametrize("side", [11, 21])
def test_ms_ssim_of_one_scale_is_ssim(side):
    sr, hr = smooth_pair(2, 3, side, 30, noise=0.05)
    assert 1 - ms_ssim_loss(sr, hr).item() == pytest.approx(ssim(sr, hr).item(), rel=1e-12)


def test_ms_ssim_needs_a_window():
    with pytest.raises(DataError, match=r"11x11 pixels or more.*; got 30x10"):
        ms_ssim_loss(*smooth_pair(1, 3, 10, 30))


@pytest.mark.parametrize("shape", [(2, 2, 12, 11), (1, 1, 23, 22)])
def test_ms_ssim_gradients(shape):
    sr, hr = smooth_pair(*shape)
    assert torch.autograd.gradcheck(lambda x: ms_ssim_loss(x, hr), sr.requires_grad_())


@pytest.mark.parametrize("side", [16, 48])
def test_ms_ssim_of_a_negative_stays_finite(side):
    _, hr = smooth_pair(1, 1, side, side)
    sr = (1 - hr).requires_grad_()
    loss = ms_ssim_loss(sr, hr)
    loss.backward()
    assert 0.9 < loss <= 1
    assert sr.grad.isfinite().all()


def test_ms_ssim_gradients_stay_small_where_little_is_similar():
    """The slope of x**0.0448 at a similarity just above 0 would outweigh all other losses."""
    _, soft = smooth_pair(1, 1, 48, 48)
    checkers = torch.ones_like(soft)  # which coarser scales do not see
    checkers[..., ::2, 1::2] = checkers[..., 1::2, ::2] = -1
    hr = soft + 0.2 * checkers
    low, high = -1.0, 0.2
    while high - low > 1e-10:
        middle = (low + high) / 2
        similar = similarity_maps(soft + middle * checkers, hr)[1].mean() > 0
        low, high = (low, middle) if similar else (middle, high)
    sr = (soft + high * checkers).requires_grad_()
    ms_ssim_loss(sr, hr).backward()
    assert sr.grad.abs().max() < 0.1


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 1, 9, 14)])
def test_focal_frequency_loss_is_the_formula(shape):
    sr, hr = smooth_pair(*shape)
    spectra = [np.fft.fft2(image.numpy()) / np.sqrt(shape[2] * shape[3]) for image in (sr, hr)]
    distance = np.abs(spectra[0] - spectra[1])
    weight = distance / distance.max(axis=(2, 3), keepdims=True)
    sr.requires_grad_()
    loss = focal_frequency_loss(sr, hr)
    assert loss.item() == pytest.approx((weight * distance**2).mean(), rel=1e-12)
    loss.backward()  # the weight is a constant
    step = np.fft.ifft2(weight * (spectra[0] - spectra[1])).real * np.sqrt(shape[2] * shape[3])
    np.testing.assert_allclose(sr.grad.numpy(), 2 * step / sr.numel(), rtol=1e-9, atol=1e-15)


def test_focal_frequency_loss_of_one_wave_is_its_mean_square():
    wave = 0.1 * torch.cos(torch.arange(16) * (2 * torch.pi / 4)).expand(1, 1, 8, 16).double()
    expected = wave.square().mean().item()  # Parseval: all frequencies that differ weigh 1
    assert focal_frequency_loss(0.5 + wave, torch.full_like(wave, 0.5)).item() == pytest.approx(
        expected
    )


THREE = {**EXTRA_LOSSES, "artifact": lambda sr, hr: artifact_loss(sr, (sr + hr) / 2, hr)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", THREE)
def test_equal_images_and_their_gradients(name, dtype):
    for sr in (torch.rand(2, 3, 24, 24, dtype=dtype), torch.zeros(1, 1, 24, 24, dtype=dtype)):
        hr = sr.clone()
        loss = THREE[name](sr.requires_grad_(), hr)
        loss.backward()
        assert loss == 0
        assert sr.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize(("one", "other"), [(0.25, 0.25), (0.0, 1.0), (1.0, 0.0), (0.5, 0.0)])
def test_constant_images_have_finite_gradients(name, one, other):
    sr = torch.full((1, 3, 48, 48), one, requires_grad=True)
    loss = THREE[name](sr, torch.full((1, 3, 48, 48), other))
    loss.backward()
    assert loss.isfinite()
    assert sr.grad.isfinite().all()


@pytest.mark.parametrize("name", THREE)
def test_precision(name):
    sr, hr = smooth_pair(1, 3, 24, 24)
    loss = THREE[name]
    assert loss(sr, hr).dtype == torch.float64
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        rounded = sr.to(dtype).requires_grad_(), hr.to(dtype)
        result = loss(*rounded)
        assert result.dtype == torch.float32
        if name != "artifact":  # whose average is rounded here, too
            expected = loss(*(image.detach().double() for image in rounded))
            assert result.item() == pytest.approx(expected.item(), rel=1e-5)
        result.backward()
        assert rounded[0].grad.isfinite().all()


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
    cosine = PerceptualLoss({"conv1_1": 1.0}, "vgg11", "cosine", weights=path)
    expected = (2 - 2 * torch.cosine_similarity(a1, b1, dim=1)).mean()
    assert cosine(a, b).item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_cosine_distance_has_a_finite_gradient_where_features_vanish():
    a = torch.zeros(1, 4, 2, 2, requires_grad=True)
    distance = cosine_distance(a, torch.rand(1, 4, 2, 2) + 0.1)
    distance.backward()
    assert distance.item() == pytest.approx(1)
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_perceptual_loss_can_skip_normalization(vgg_file):
    path, network = vgg_file
    a, b = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    loss = PerceptualLoss({"conv1_1": 1.0}, "vgg11", normalize_input=False, weights=path)
    expected = (network.features[0](a) - network.features[0](b)).abs().mean()
    assert loss(a, b).item() == pytest.approx(expected.item(), rel=1e-5)


def test_only_the_image_has_a_perceptual_gradient(vgg_file):
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


def test_without_network_the_error_says_what_to_download(offline):
    path, url = backbone_file("vgg19")
    with pytest.raises(DownloadError) as refusal:
        PerceptualLoss({"conv5_4": 1.0})
    for words in (url, "sha256:dcbb9e9d", str(path), "perceptual_loss.weights", "host not found"):
        assert words in str(refusal.value)
