"""A training step: Adam on the losses of the papers, schedules, averages, skipped steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from torch_sr.config import PretrainingConfig, TrainingConfig
from torch_sr.losses import (
    PerceptualLoss,
    artifact_loss,
    focal_frequency_loss,
    ms_ssim_loss,
    relativistic_generator_loss,
)
from torch_sr.networks.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.ema import WeightAverage
from torch_sr.training.learner import Learner
from torch_sr.training.schedules import milestone_factor, pretraining_factor
from torch_sr.training.stages import GANStage, PSNRStage


def test_one_step_is_adam_on_the_content_loss():
    torch.manual_seed(0)
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    generator = RRDBNet(2, 3, 4, 2, 1)
    reference = RRDBNet(2, 3, 4, 2, 1)
    reference.load_state_dict(generator.state_dict())
    stage = PSNRStage(Fabric(accelerator="cpu", devices=1), generator, PretrainingConfig(), "l1", 9)
    losses = [stage.train_step(lr, hr).losses["content_loss"] for _ in range(3)]

    optimizer = torch.optim.Adam(reference.parameters(), lr=2e-4, betas=(0.9, 0.99))
    for loss in losses:
        expected = (reference(lr) - hr).abs().mean()
        assert loss == pytest.approx(expected.item(), abs=1e-7)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    for value, other in zip(generator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=1e-7)


def _torch_rates(scheduler, optimizer, steps):
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedules_are_those_of_torch():
    def optimizer():
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    step = PretrainingConfig(sched_step=7, sched_gamma=0.5)
    sgd = optimizer()
    expected = _torch_rates(torch.optim.lr_scheduler.StepLR(sgd, 7, 0.5), sgd, 30)
    assert [pretraining_factor(i, step, 30) for i in range(30)] == pytest.approx(expected)

    cosine = PretrainingConfig(scheduler="cosine")
    sgd = optimizer()
    expected = _torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 30), sgd, 30)
    assert [pretraining_factor(i, cosine, 30) for i in range(30)] == pytest.approx(expected)
    assert pretraining_factor(30, cosine, 30) == pytest.approx(0)


def test_warm_up_rises_in_a_straight_line():
    config = PretrainingConfig(warmup_steps=4, sched_step=1000)
    rates = [pretraining_factor(i, config, 100) for i in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_average_follows_its_formula():
    network = torch.nn.Linear(2, 1)
    average = WeightAverage(network, 0.5)
    expected = network.weight.detach().numpy().copy()
    for update in range(1, 6):
        with torch.no_grad():
            network.weight.add_(1.0)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network.weight.detach().numpy()
    np.testing.assert_allclose(average.module.weight.numpy(), expected, rtol=1e-6)
    assert WeightAverage(network, 0).module is network


def test_one_gan_step_is_that_of_the_paper(vgg_file):
    torch.manual_seed(0)
    lr, hr = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 16, 16)
    generator = RRDBNet(2, 3, 4, 2, 1)
    discriminator = VGGDiscriminator((16, 16), 3, (4, 4), (5,))
    perceptual = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file)
    g, d = copy.deepcopy(generator), copy.deepcopy(discriminator)
    fabric = Fabric(accelerator="cpu", devices=1)
    stage = GANStage(fabric, generator, discriminator, perceptual, TrainingConfig(), "l1")
    losses = stage.train_step(lr, hr).losses

    def realness(a, b):
        return torch.sigmoid(a - b.mean())

    g_adam = torch.optim.Adam(g.parameters(), lr=1e-4, betas=(0.9, 0.99))
    d_adam = torch.optim.Adam(d.parameters(), lr=1e-4, betas=(0.9, 0.99))
    sr = g(lr)
    real, fake = d(hr), d(sr)
    adversarial = -(1 - realness(real, fake)).log().mean() - realness(fake, real).log().mean()
    total = perceptual(sr, hr) + 0.005 * adversarial + 0.01 * (sr - hr).abs().mean()
    g_adam.zero_grad()
    total.backward()
    g_adam.step()
    real, fake = d(hr), d(sr.detach())
    d_loss = -realness(real, fake).log().mean() - (1 - realness(fake, real)).log().mean()
    d_adam.zero_grad()
    d_loss.backward()
    d_adam.step()

    assert list(losses) == [
        "content_loss", "perceptual_loss", "g_adversarial_loss", "g_total_loss",
        "d_adversarial_loss",
    ]  # fmt: skip
    assert losses["g_adversarial_loss"].item() == pytest.approx(adversarial.item(), rel=1e-5)
    assert losses["g_total_loss"].item() == pytest.approx(total.item(), rel=1e-5)
    assert losses["d_adversarial_loss"].item() == pytest.approx(d_loss.item(), rel=1e-5)
    # Adam's first step has the size 1e-4 and the gradient's sign, whatever the gradient's size, so
    # rounding shows where a gradient vanishes; there only, hence the mean. It vanishes altogether
    # in the last bias of the discriminator, which the relativistic differences cancel.
    named = [*zip(generator.named_parameters(), g.parameters(), strict=True)]
    named += [*zip(discriminator.named_parameters(), d.parameters(), strict=True)][:-1]
    for (name, value), expected in named:
        torch.testing.assert_close(value, expected, rtol=0, atol=2e-5, msg=name)
    apart = torch.cat([(value - expected).flatten() for (_, value), expected in named])
    assert apart.abs().mean() < 1e-7
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_milestones_are_those_of_torch_after_a_warm_up():
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(sgd, [3, 8], 0.5)
    expected = _torch_rates(scheduler, sgd, 12)
    assert [milestone_factor(i, [3, 8], 0.5) for i in range(12)] == pytest.approx(expected)
    warm = [milestone_factor(i, [3, 8], 0.5, warmup_steps=2) for i in range(12)]
    assert warm == pytest.approx([1 / 3, 2 / 3, *expected[2:]])


def make_learner(network, plugins=None, **options):
    fabric = Fabric(accelerator="cpu", devices=1, plugins=plugins)
    return Learner(fabric, network, 1e-3, (0.9, 0.99), lambda step: 1.0, **options)


def descend(learner, x, target):
    """One step on the mean squared error; whether it was skipped."""
    for share, x_part, target_part in learner.micro_batches(x, target):
        learner.backward(share * (learner(x_part) - target_part).square().mean())
    return bool(learner.step())


def copy_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def is_same(network, state):
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_the_gradient_is_clipped_as_by_torch():
    torch.manual_seed(0)
    network, x, target = torch.nn.Linear(5, 3), torch.randn(4, 5), torch.randn(4, 3)
    reference = copy.deepcopy(network)
    learner = make_learner(network, gradient_clip=0.01)
    adam = torch.optim.Adam(reference.parameters(), lr=1e-3, betas=(0.9, 0.99))
    for _ in range(3):
        assert not descend(learner, x, target)
        adam.zero_grad()
        (reference(x) - target).square().mean().backward()
        assert torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.01) > 0.1
        adam.step()
        x, target = 3 * x, target / 2
    for value, expected in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_split_mini_batch_is_the_whole_one(parts):
    """Also where the parts are of different sizes, or fewer than were asked for."""
    torch.manual_seed(0)
    lr, hr = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 8, 8)
    losses, networks = [], []
    for accumulate in (1, parts):
        torch.manual_seed(1)
        networks.append(RRDBNet(2, 3, 4, 2, 1))
        fabric = Fabric(accelerator="cpu", devices=1)
        config = PretrainingConfig()
        stage = PSNRStage(fabric, networks[-1], config, "l1", 9, accumulate=accumulate)
        losses.append([stage.train_step(lr, hr).losses["content_loss"] for _ in range(3)])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    whole, split = (network.state_dict() for network in networks)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(bad, clip):
    torch.manual_seed(0)
    network, x, target = torch.nn.Linear(5, 3), torch.randn(4, 5), torch.randn(4, 3)
    undisturbed = copy.deepcopy(network)
    learner, other = (make_learner(n, gradient_clip=clip) for n in (network, undisturbed))
    assert not descend(learner, x, target)
    before = copy_of(network)
    assert descend(learner, x, target.clone().fill_(bad))
    assert is_same(network, before)
    for _ in range(2):  # Adam's averages have not seen it either
        descend(other, x, target)
    assert not descend(learner, x, target)
    assert is_same(network, undisturbed.state_dict())


def test_a_gradient_that_is_not_finite_is_skipped_where_the_loss_is_finite():
    network = torch.nn.Linear(1, 1)
    before = copy_of(network)
    learner = make_learner(network)
    zero = learner(torch.zeros(1, 1)) * 0
    learner.backward(zero.sqrt().sum())  # the slope of a root at 0 is infinite
    assert learner.step()
    assert is_same(network, before)


def test_a_gan_step_reports_what_it_skipped(vgg_file):
    torch.manual_seed(0)
    generator, discriminator = RRDBNet(2, 3, 4, 2, 1), UNetDiscriminator(3, 2)
    stage = GANStage(
        Fabric(accelerator="cpu", devices=1),
        generator,
        discriminator,
        PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file),
        TrainingConfig(),
        "l1",
    )
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    assert not stage.train_step(lr, hr).skipped
    weights = [copy_of(network) for network in stage.networks().values()]
    assert stage.train_step(lr, torch.full_like(hr, float("nan"))).skipped
    # Spectral normalization estimates with every pass, from the weights alone.
    for network, before in zip(stage.networks().values(), weights, strict=True):
        for name, parameter in network.named_parameters():
            assert torch.equal(parameter, before[name])


def test_extra_losses_are_added_with_their_weights(vgg_file):
    torch.manual_seed(0)
    generator, discriminator = RRDBNet(2, 3, 4, 2, 1), VGGDiscriminator((16, 16), 3, (4, 4), (5,))
    perceptual = PerceptualLoss({"conv1_1": 1.0}, "vgg11", weights=vgg_file)
    config = TrainingConfig(extra_losses={"ms_ssim": 0.5, "focal_frequency": 2.0, "ldl": 3.0})
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    fabric = Fabric(accelerator="cpu", devices=1)
    sr = copy.deepcopy(generator)(lr)
    adversarial = relativistic_generator_loss(
        *(copy.deepcopy(discriminator)(image) for image in (hr, sr))
    )
    losses = (
        GANStage(fabric, generator, discriminator, perceptual, config, "l1")
        .train_step(lr, hr)
        .losses
    )
    assert losses["ms_ssim_loss"].item() == pytest.approx(ms_ssim_loss(sr, hr).item(), rel=1e-5)
    # The average is the generator itself before the first step.
    assert losses["ldl_loss"].item() == pytest.approx(artifact_loss(sr, sr, hr).item(), rel=1e-5)
    expected = (
        perceptual(sr, hr)
        + 0.005 * adversarial
        + 0.01 * (sr - hr).abs().mean()
        + 0.5 * ms_ssim_loss(sr, hr)
        + 2.0 * focal_frequency_loss(sr, hr)
        + 3.0 * artifact_loss(sr, sr, hr)
    )
    assert losses["g_total_loss"].item() == pytest.approx(expected.item(), rel=1e-5)

    config = PretrainingConfig(extra_losses={"ms_ssim": 0.5, "focal_frequency": 2.0})
    losses = PSNRStage(fabric, copy.deepcopy(generator), config, "l1", 9).train_step(lr, hr).losses
    parts = losses["content_loss"] + 0.5 * losses["ms_ssim_loss"]
    parts = parts + 2.0 * losses["focal_frequency_loss"]
    assert losses["total_loss"].item() == pytest.approx(parts.item(), rel=1e-6)


def test_fp16_scales_its_losses_and_skips_what_overflows():
    torch.manual_seed(0)
    network, x, target = torch.nn.Linear(5, 3), torch.randn(4, 5), torch.randn(4, 3)
    scaler = torch.amp.GradScaler("cpu")  # Fabric has it on GPUs alone
    learner = make_learner(network, MixedPrecision("16-mixed", "cpu", scaler))
    before, scale = copy_of(network), scaler.get_scale()
    descend(learner, x, 1e3 * target)  # overflows, times the scale
    assert is_same(network, before)
    assert scaler.get_scale() == scale / 2
    for _ in range(30):
        descend(learner, x, target)
    assert not is_same(network, before)
    assert all(value.isfinite().all() for value in network.state_dict().values())


@pytest.mark.parametrize(
    ("name", "reference"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimizers_and_their_weight_decay_are_those_of_torch(name, reference):
    torch.manual_seed(0)
    network = RRDBNet(2, 3, 4, 2, 1)
    twin = copy.deepcopy(network)
    config = PretrainingConfig(lr=1e-2, ema_decay=0, optimizer=name, weight_decay=0.1)
    stage = PSNRStage(Fabric(accelerator="cpu", devices=1), network, config, "l1", 10)
    optimizer = reference(twin.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(3):
        lr, hr = torch.rand(2, 3, 6, 6), torch.rand(2, 3, 12, 12)
        stage.train_step(lr, hr)
        optimizer.zero_grad()
        (twin(lr) - hr).abs().mean().backward()
        optimizer.step()
    for value, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(value, expected)


def test_a_skipped_step_of_adamw_decays_no_weights():
    network = RRDBNet(2, 3, 4, 2, 1)
    config = PretrainingConfig(ema_decay=0, optimizer="adamw", weight_decay=0.5, lr=0.1)
    stage = PSNRStage(Fabric(accelerator="cpu", devices=1), network, config, "l1", 10)
    before = copy.deepcopy(network.state_dict())
    done = stage.train_step(torch.full((1, 3, 4, 4), torch.nan), torch.rand(1, 3, 8, 8))
    assert float(done.skipped) == 1
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
