"""Check that the perceptual loss and extra metrics can be built."""

from __future__ import annotations

from torch_sr.training.building import build_perceptual_loss
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.validation import PERCEPTUAL_LOSS, build_extra_metrics

_WEIGHTS = {"vgg": "VGG weights", "efficientnet_lite0": "EfficientNet weights"}


def needs_features(run: CheckedRun) -> bool:
    """Whether a stage learns from the perceptual loss, or measures it."""
    learned = any(map(run.config.needs_features, run.stages))
    return learned or PERCEPTUAL_LOSS in run.settings.val_metrics


def weights_title(run: CheckedRun) -> str:
    """What the weights of the perceptual loss are called in the results."""
    return _WEIGHTS[run.config.perceptual_loss.backbone]


def check_features(run: CheckedRun) -> str:
    """Build the perceptual loss; its weights are downloaded if needed.

    Returns:
        its network and layers, in words.

    Raises:
        ModelError: the weights are not available.
    """
    run.perceptual = build_perceptual_loss(run.config)
    section = run.config.perceptual_loss
    return f"{section.network}, layers {', '.join(section.single_layer_weights)}"


def check_metric(run: CheckedRun, name: str) -> str:
    """Build an extra metric.

    Returns:
        that it can be measured, in words.

    Raises:
        ModelError, MissingExtraError: weights or a package are missing.
    """
    build_extra_metrics([name], run.config.scale_factor, "cpu")
    return "can be measured"
