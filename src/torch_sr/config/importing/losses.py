"""Convert the losses of an option file: ``train.*_opt``, or the list ``train.losses``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch_sr.config.features import FIVE_BLOCKS, layer_groups
from torch_sr.config.importing.draft import Draft
from torch_sr.config.importing.leaves import Leaf
from torch_sr.config.stages import GAN_STAGE
from torch_sr.networks.feature_layers import layer_names

_GROUP = re.compile(r"(\w+_opt|losses\[\d+\])\.(.+)")
_NOT_LOSSES = ("optim_g", "optim_d")
_PIXEL = {
    "l1": ("l1", ""),
    "mse": ("l2", ""),
    "charbonnier": ("l1", "L1 without the smoothing around 0"),
    "huber": ("l1", "L1 in place of Huber's loss"),
    "chc": ("l1", "L1 in place of it"),
}
_CRITERIA = {
    "l1": ("l1", ""),
    "l2": ("l2", ""),
    "mse": ("l2", ""),
    "cosine": ("cosine", ""),
    "charbonnier": ("l1", "L1 without the smoothing around 0"),
    "huber": ("l1", "L1 in place of Huber's loss"),
    "chc": ("l1", "L1 in place of it"),
    "fro": ("l2", "the mean squared error in place of the Frobenius norm"),
}
_FEATURES = ("fdl", "dists", "adists", "contextual", "lpips", "topiq", "dinov2", "perceptualanime")
"""Losses between features that torch-sr does not have."""
_WEIGHTS = ("loss_weight", "perceptual_weight")
_TINY = 1e-6  # a perceptual loss without effect; its weights must be above 0
_KNOWN_NAMES = {"ssim": "mssim", "msssim": "mssim", "vggperceptual": "perceptual", "l2": "mse"}


@dataclass(frozen=True)
class Loss:
    """One loss of the file.

    Args:
        kind: ``l1``, ``perceptual`` …, without the word loss.
        leaves: its values by key.
        weight: its weight; 1 if the file names none.
    """

    kind: str
    leaves: Mapping[str, Leaf]
    weight: float


def find_losses(draft: Draft) -> list[Loss]:
    """All losses of the file, in its order."""
    groups: dict[str, dict[str, Leaf]] = {}
    for key, leaf in draft.below("train").items():
        found = _GROUP.fullmatch(key)
        if found and found[1] not in _NOT_LOSSES:
            groups.setdefault(found[1], {})[found[2]] = leaf
    return [_read(draft, name, leaves) for name, leaves in groups.items()]


def _read(draft: Draft, name: str, leaves: Mapping[str, Leaf]) -> Loss:
    given = draft.text(leaves["type"]) if "type" in leaves else name.removesuffix("_opt")
    kind = given.lower().replace("_", "").replace("-", "").removesuffix("loss")
    kind = "ldl" if name == "ldl_opt" else _KNOWN_NAMES.get(kind, kind)
    weights = [draft.number(leaves[key]) for key in _WEIGHTS if key in leaves]
    return Loss(kind, leaves, weights[0] if weights else 1.0)


def choose_stage(draft: Draft, losses: list[Loss]) -> None:
    """A training with a GAN loss is the GAN stage, every other the PSNR stage."""
    if any(loss.kind == "gan" and loss.weight for loss in losses):
        draft.stage = GAN_STAGE


def convert_losses(draft: Draft, losses: list[Loss], *, relativistic: bool) -> None:
    """Convert all losses.

    Args:
        draft: what is built.
        losses: those of the file.
        relativistic: whether the GAN loss is already the relativistic average.
    """
    used = [loss for loss in losses if loss.weight]
    for loss in losses:
        if not loss.weight:
            for leaf in loss.leaves.values():
                draft.skip(leaf, "its weight is 0")
    content = next((loss for loss in used if loss.kind in _PIXEL), None)
    scale = content.weight if content is not None and not draft.is_gan else 1.0
    for loss in used:
        if loss is content:
            _convert_content(draft, loss)
        elif loss.kind == "perceptual":
            _convert_perceptual(draft, loss, scale)
        elif loss.kind == "gan":
            _convert_gan(draft, loss, relativistic=relativistic)
        elif loss.kind in ("mssim", "ff", "focalfrequency"):
            _convert_extra(
                draft, loss, "ms_ssim" if loss.kind == "mssim" else "focal_frequency", scale
            )
        elif loss.kind == "ldl" and draft.is_gan:
            _convert_extra(draft, loss, "ldl", scale)
        else:
            _drop(draft, loss)
    _complete(draft, used, content)


def _complete(draft: Draft, used: list[Loss], content: Loss | None) -> None:
    """Set the weights of losses that torch-sr always has and the file does not name."""
    if content is None and draft.is_gan:
        draft.add({"training.g_content_loss_scaling": 0.0}, "the file has no pixel loss")
    elif content is None:
        why = "the PSNR stage always has a content loss, with the weight 1"
        draft.add({"content_loss.loss_f": "l1"}, why)
    if draft.is_gan and not any(loss.kind == "perceptual" for loss in used):
        similar = next((loss.kind for loss in used if loss.kind in _FEATURES), None)
        key = "perceptual_loss.layer_weights"
        if similar is not None:
            why = f"the nearest loss to {similar}, with torch-sr's weight"
            draft.add({key: {"conv5_4": 1.0}}, why)
        else:
            why = "the file has no perceptual loss; the GAN stage computes one, here without effect"
            draft.add({key: {"conv5_4": _TINY}}, why)


def _convert_content(draft: Draft, loss: Loss) -> None:
    loss_f, why = _PIXEL[loss.kind]
    becomes = {"content_loss.loss_f": loss_f}
    if "type" in loss.leaves:
        draft.take(loss.leaves["type"], becomes, why)
    else:
        draft.add(becomes, "the pixel loss of the file")
    weight = loss.leaves.get("loss_weight")
    scaling = {"training.g_content_loss_scaling": loss.weight}
    if draft.is_gan and weight is not None:
        draft.take(weight, scaling)
    elif draft.is_gan:
        draft.add(scaling, "the weight of the pixel loss")
    elif weight is not None and loss.weight == 1:
        draft.skip(weight, "the content loss has the weight 1 in the PSNR stage")
    elif weight is not None:
        draft.take(
            weight, {}, "the weight is 1 in the PSNR stage; those of other losses are divided"
        )
    _convert_rest(draft, loss)


def _convert_perceptual(draft: Draft, loss: Loss, scale: float) -> None:
    layers = {
        key.removeprefix("layer_weights."): leaf
        for key, leaf in loss.leaves.items()
        if key.startswith("layer_weights.")
    }
    vgg = str(loss.leaves["vgg_type"].value).lower() if "vgg_type" in loss.leaves else "vgg19"
    network = vgg if vgg in ("vgg11", "vgg13", "vgg16", "vgg19") else "vgg19"
    _convert_layers(draft, layers, network, loss.weight if draft.is_gan else 1.0)
    name = next((key for key in _WEIGHTS if key in loss.leaves), None)
    if not draft.is_gan:
        becomes = {"pretraining.extra_losses.perceptual": loss.weight / scale}
        if name is None:
            draft.add(becomes, "the weight of the perceptual loss")
        else:
            draft.take(
                loss.leaves[name], becomes, "" if scale == 1 else "divided by the pixel loss's"
            )
    elif name is not None and loss.weight == 1:
        draft.skip(loss.leaves[name], "the perceptual loss has the weights of its layers")
    elif name is not None:
        becomes = {"perceptual_loss.layer_weights": draft.config["perceptual_loss.layer_weights"]}
        draft.take(loss.leaves[name], becomes, "the weights of the layers are multiplied by it")
    if "type" in loss.leaves:
        draft.skip(loss.leaves["type"], "the distance of features of VGG")
    if "vgg_type" in loss.leaves:
        why = "" if network == vgg else f"torch-sr does not have {vgg}"
        draft.take(loss.leaves["vgg_type"], {"perceptual_loss.vgg_type": network}, why)
    _convert_criterion(draft, loss)
    _convert_rest(draft, loss)


def _convert_layers(draft: Draft, layers: Mapping[str, Leaf], network: str, factor: float) -> None:
    key = "perceptual_loss.layer_weights"
    if not layers:
        draft.add({key: {FIVE_BLOCKS: factor}}, f"the layers that {draft.program} takes by default")
        return
    known, weights = layer_names(network), dict[str, float]()
    for name, leaf in layers.items():
        if (weight := draft.number(leaf)) > 0:
            own = name.replace("relu", "conv")
            weights[own if own in known else ""] = weight * factor
    if "" in weights:
        wrong = next(name for name in layers if name.replace("relu", "conv") not in known)
        raise draft.fault(layers[wrong], f"{network} has no layer {wrong} before activation")
    groups = layer_groups(network)[FIVE_BLOCKS]
    if weights == {name: share * factor for name, share in groups.items()}:
        weights = {FIVE_BLOCKS: factor}
    if not weights:
        weights = {"conv5_4": _TINY}
    for name, leaf in layers.items():
        why = "the features before activation" if name.startswith("relu") else ""
        draft.take(leaf, {key: weights}, why)


def _convert_criterion(draft: Draft, loss: Loss) -> None:
    leaf, key = loss.leaves.get("criterion"), "perceptual_loss.criterion"
    if leaf is not None:
        name = draft.text(leaf).lower()
        criterion, why = _CRITERIA.get(name, ("l1", f"torch-sr does not have {name}"))
        draft.take(leaf, {key: criterion}, why)
    norm = loss.leaves.get("use_input_norm")
    if norm is not None:
        draft.take(norm, {"perceptual_loss.normalize_input": draft.switch(norm)})


def _convert_gan(draft: Draft, loss: Loss, *, relativistic: bool) -> None:
    becomes = {"training.g_adversarial_loss_scaling": loss.weight / 2}
    halved = "half, because torch-sr adds the two terms of the loss"
    why = f"{halved}, and {draft.program} averages them" if relativistic else halved
    if (weight := loss.leaves.get("loss_weight")) is not None:
        draft.take(weight, becomes, why)
    else:
        draft.add(becomes, why)
    if (kind := loss.leaves.get("gan_type")) is not None:
        name = draft.text(kind).lower()
        if name not in ("vanilla", "bce"):
            draft.take(
                kind, {}, f"torch-sr has the relativistic average of cross entropies, not {name}"
            )
        elif relativistic:
            draft.skip(kind, "the adversarial loss is the relativistic average, as there")
        else:
            draft.take(kind, {}, "the relativistic average of ESRGAN in place of the plain loss")
    for name, usual in (("real_label_val", 1), ("fake_label_val", 0)):
        if (leaf := loss.leaves.get(name)) is not None:
            if draft.number(leaf) == usual:
                draft.skip(leaf, f"it is always {usual}")
            else:
                draft.drop(leaf, f"labels are not smoothed; it is {usual}")
    if "type" in loss.leaves:
        draft.skip(loss.leaves["type"], "the GAN stage has the adversarial loss")
    _convert_rest(draft, loss)


def _convert_extra(draft: Draft, loss: Loss, name: str, scale: float) -> None:
    """A loss of the section ``extra_losses``."""
    becomes = {f"{draft.stage}.extra_losses.{name}": loss.weight / scale}
    why = "" if scale == 1 else "divided by the weight of the pixel loss"
    if (weight := loss.leaves.get("loss_weight")) is not None:
        draft.take(weight, becomes, why)
    else:
        draft.add(becomes, "the default weight of the loss")
    if (kind := loss.leaves.get("type")) is not None:
        draft.skip(kind, f"the extra loss {name}")
    if (leaf := loss.leaves.get("criterion")) is not None:
        if draft.text(leaf).lower() == "l1":
            draft.skip(leaf, "it is always L1")
        else:
            draft.take(leaf, {}, "L1 in place of it")
    _convert_rest(draft, loss)


def _drop(draft: Draft, loss: Loss) -> None:
    """Report a loss that torch-sr does not have."""
    own = "its nearest is the perceptual loss" if loss.kind in _FEATURES else "it is left out"
    if loss.kind in _PIXEL:
        own = "there is one content loss; a second one is left out"
    if loss.kind == "ldl":
        own = "LDL needs the GAN stage; it is left out"
    for name, leaf in loss.leaves.items():
        draft.drop(leaf, f"no such loss: {own}" if name == "type" else f"part of {loss.kind}")


def _convert_rest(draft: Draft, loss: Loss) -> None:
    for name, leaf in loss.leaves.items():
        if draft.is_reported(leaf):
            continue
        if name == "reduction" and leaf.value == "mean":
            draft.skip(leaf, "losses are always means")
        elif name in ("eps", "clip_min") or (name, leaf.value) in (("ksize", 7), ("alpha", 1)):
            draft.skip(leaf, "fixed")
        elif name == "style_weight":
            draft.drop(leaf, "there is no style loss")
        elif name == "range_norm":
            draft.drop(leaf, "images are always in [0, 1]")
        else:
            draft.drop(leaf, f"the loss {loss.kind} has no such parameter")
