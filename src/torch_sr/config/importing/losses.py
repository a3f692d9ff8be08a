"""Convert the losses of an option file, and complete those that torch-sr always has."""

from __future__ import annotations

from collections.abc import Sequence

from torch_sr.config.importing.draft import Draft
from torch_sr.config.importing.losses_found import Loss, report_rest
from torch_sr.config.importing.losses_perceptual import SIMILAR, add_perceptual, convert_perceptual

_MIXED = "msssiml1"
"""``alpha`` of MS-SSIM and the rest of L1, in traiNNer-redux."""
_PIXEL = {
    "l1": ("l1", ""),
    "mse": ("l2", ""),
    "charbonnier": ("l1", "L1 without the smoothing around 0"),
    "huber": ("l1", "L1 in place of Huber's loss"),
    "chc": ("l1", "L1 in place of it"),
    _MIXED: ("l1", "MS-SSIM and L1, which is not weighted by a Gaussian window"),
}
_EXTRA = {"mssim": "ms_ssim", "ff": "focal_frequency", "ldl": "ldl"}
_SCALING = "training.g_content_loss_scaling"


def convert_losses(draft: Draft, losses: Sequence[Loss], *, relativistic: bool) -> None:
    """Convert all losses.

    Args:
        draft: what is built.
        losses: those of the file.
        relativistic: whether the GAN loss is already the relativistic average.
    """
    for loss in losses:
        if not loss.weight:
            for leaf in loss.leaves.values():
                draft.skip(leaf, "its weight is 0")
        elif loss.weight < 0:
            _drop_negative(draft, loss)
    used = [loss for loss in losses if loss.weight > 0]
    content = next((loss for loss in used if loss.kind in _PIXEL), None)
    divisor = 1.0 if content is None or draft.is_gan else _content_weight(draft, content) or 1.0
    converted: set[str] = set()
    for loss in used:
        if loss.kind in converted or (loss.kind in _PIXEL and loss is not content):
            _drop(draft, loss, "there is one such loss; a second one is left out")
        elif loss is content:
            _convert_content(draft, loss, divisor)
        elif loss.kind == "perceptual":
            convert_perceptual(draft, loss, divisor)
        elif loss.kind == "gan":
            _convert_gan(draft, loss, relativistic=relativistic)
        elif loss.kind in _EXTRA and (draft.is_gan or loss.kind != "ldl"):
            _convert_extra(draft, loss, _EXTRA[loss.kind], divisor)
        else:
            _drop(draft, loss, _why_dropped(loss))
        converted.add(loss.kind)
    if content is None and draft.is_gan:
        draft.add({_SCALING: 0.0}, "the file has no pixel loss")
    elif content is None:
        why = "the PSNR stage always has a content loss, with the weight 1"
        draft.add({"content_loss.loss_f": "l1"}, why)
    if draft.is_gan and "perceptual" not in converted:
        add_perceptual(draft, used)


def _content_weight(draft: Draft, loss: Loss) -> float:
    """The weight of the pixels in the content loss."""
    return loss.weight * (1 - _alpha(draft, loss)) if loss.kind == _MIXED else loss.weight


def _alpha(draft: Draft, loss: Loss) -> float:
    """The share of MS-SSIM in the mixed loss."""
    leaf = loss.leaves.get("alpha")
    alpha = 0.1 if leaf is None else draft.number(leaf)
    if leaf is not None and not 0 <= alpha <= 1:
        raise draft.fault(leaf, "it must be a number from 0 to 1")
    return alpha


def _convert_content(draft: Draft, loss: Loss, divisor: float) -> None:
    loss_f, why = _PIXEL[loss.kind]
    kind = {"content_loss.loss_f": loss_f}
    draft.give(loss.leaves.get("type"), kind, why, "the pixel loss of the file")
    if loss.kind == _MIXED:
        _convert_mixed_weights(draft, loss, divisor)
    elif draft.is_gan:
        draft.give(loss.weight_leaf, {_SCALING: loss.weight}, "", "the weight of the pixel loss")
    elif loss.weight_leaf is not None and loss.weight == 1:
        draft.skip(loss.weight_leaf, "the content loss has the weight 1 in the PSNR stage")
    elif loss.weight_leaf is not None:
        why = "the weight is 1 in the PSNR stage; those of the other losses are divided by it"
        draft.take(loss.weight_leaf, {}, why)
    report_rest(draft, loss)


def _convert_mixed_weights(draft: Draft, loss: Loss, divisor: float) -> None:
    alpha = _alpha(draft, loss)
    becomes = {f"{draft.stage}.extra_losses.ms_ssim": loss.weight * alpha / divisor}
    if draft.is_gan:
        becomes[_SCALING] = loss.weight * (1 - alpha)
    why = f"{alpha:g} of the weight for MS-SSIM, the rest for L1"
    why += "" if draft.is_gan else ", divided by the latter"
    draft.give(loss.weight_leaf, becomes, why, why)
    if "alpha" in loss.leaves:
        draft.take(loss.leaves["alpha"], becomes)


def _convert_gan(draft: Draft, loss: Loss, *, relativistic: bool) -> None:
    becomes = {"training.g_adversarial_loss_scaling": loss.weight / 2}
    halved = "half, because torch-sr adds the two terms of the loss"
    why = f"{halved}, and {draft.program} averages them" if relativistic else halved
    draft.give(loss.weight_leaf, becomes, why, why)
    if (kind := loss.leaves.get("gan_type")) is not None:
        name = draft.text(kind).lower()
        if name not in ("vanilla", "bce"):
            other = f"torch-sr has the relativistic average of cross entropies, not {name}"
            draft.take(kind, {}, other)
        elif relativistic:
            draft.skip(kind, "the adversarial loss is the relativistic average, as there")
        else:
            draft.take(kind, {}, "the relativistic average of ESRGAN in place of the plain loss")
    for name, usual in (("real_label_val", 1), ("fake_label_val", 0)):
        leaf = loss.leaves.get(name)
        if leaf is not None and draft.number(leaf) == usual:
            draft.skip(leaf, f"it is always {usual}")
        elif leaf is not None:
            draft.take(leaf, {}, f"labels are not smoothed; it is {usual}")
    if "type" in loss.leaves:
        draft.skip(loss.leaves["type"], "the GAN stage has the adversarial loss")
    report_rest(draft, loss)


def _convert_extra(draft: Draft, loss: Loss, name: str, divisor: float) -> None:
    """A loss of the section ``extra_losses``."""
    becomes = {f"{draft.stage}.extra_losses.{name}": loss.weight / divisor}
    why = "" if divisor == 1 else "divided by the weight of the pixel loss"
    draft.give(loss.weight_leaf, becomes, why, "the default weight of the loss")
    if "type" in loss.leaves and name == "ldl" and draft.program == "neosr":
        why = "LDL compares with the moving average of the weights too, which ema_decay keeps"
        draft.take(loss.leaves["type"], {}, why)
    elif "type" in loss.leaves:
        draft.skip(loss.leaves["type"], f"the extra loss {name}")
    criterion = loss.leaves.get("criterion")
    if criterion is not None and draft.text(criterion).lower() == "l1":
        draft.skip(criterion, "it is always L1")
    elif criterion is not None:
        draft.take(criterion, {}, "L1 in place of it")
    report_rest(draft, loss)


def _why_dropped(loss: Loss) -> str:
    if loss.kind == "ldl":
        return "LDL needs the GAN stage; it is left out"
    if loss.kind in SIMILAR:
        return "no such loss: its nearest is the perceptual loss"
    return "no such loss: it is left out"


def _drop_negative(draft: Draft, loss: Loss) -> None:
    """Report a loss with a weight below 0, which can be all that the file says of it."""
    why = "its weight is below 0: it is left out"
    if draft.program == "traiNNer-redux":
        why += "; there, it compares with enlarged low resolution"
    if loss.weight_leaf is not None:
        draft.miss(loss.weight_leaf, why)
    for leaf in loss.leaves.values():
        if not draft.is_reported(leaf):
            draft.drop(leaf, f"part of the loss {loss.kind}, which is left out")


def _drop(draft: Draft, loss: Loss, why: str) -> None:
    """Report a loss that is left out."""
    for name, leaf in loss.leaves.items():
        draft.drop(leaf, why if name == "type" else f"part of the loss {loss.kind}")
