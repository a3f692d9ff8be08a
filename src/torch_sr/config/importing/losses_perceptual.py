"""Convert the perceptual loss of an option file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch_sr.config.features import FIVE_BLOCKS, layer_groups
from torch_sr.config.importing.draft import Draft
from torch_sr.config.importing.leaves import Leaf
from torch_sr.config.importing.losses_found import Loss, report_rest
from torch_sr.networks.feature_layers import VGG_CONVS, layer_names

SIMILAR = ("fdl", "dists", "adists", "contextual", "lpips", "topiq", "dinov2", "perceptualanime")
"""Losses between features that torch-sr does not have."""
_LAYERS = "perceptual_loss.layer_weights"
_TINY = 1e-6  # a perceptual loss without effect; its weights must be above 0
_SMOOTH = "L1 without the smoothing around 0"
_NEOSR_SCALE = 0.1  # neosr multiplies the features by it, before the distance
_CRITERIA = {
    "l1": ("l1", ""),
    "l2": ("l2", ""),
    "mse": ("l2", ""),
    "cosine": ("cosine", ""),
    "charbonnier": ("l1", _SMOOTH),
    "huber": ("l1", "L1 in place of Huber's loss"),
    "chc": ("l1", "L1 in place of it"),
    "fro": ("l2", "the mean squared error in place of the Frobenius norm"),
}


def convert_perceptual(draft: Draft, loss: Loss, divisor: float) -> None:
    """Convert the perceptual loss.

    Args:
        draft: what is built.
        loss: the loss.
        divisor: the weight of the content loss, which is 1 in the PSNR stage.
    """
    network = _convert_network(draft, loss)
    factor, scaled = _scale(draft, loss)
    weight = loss.weight * factor
    _convert_layers(draft, loss, network, weight if draft.is_gan else 1.0)
    if not draft.is_gan:
        becomes = {"pretraining.extra_losses.perceptual": weight / divisor}
        divided = "" if divisor == 1 else "divided by the weight of the pixel loss"
        why = "; ".join(filter(None, (divided, scaled)))
        absent = "; ".join(filter(None, ("the weight of the perceptual loss", scaled)))
        draft.give(loss.weight_leaf, becomes, why, absent)
    elif loss.weight_leaf is not None and weight == 1:
        draft.skip(loss.weight_leaf, "the perceptual loss has the weights of its layers")
    elif loss.weight_leaf is not None:
        why = "; ".join(filter(None, ("the weights of the layers are multiplied by it", scaled)))
        draft.take(loss.weight_leaf, {_LAYERS: draft.config[_LAYERS]}, why)
    elif scaled:
        draft.add({_LAYERS: draft.config[_LAYERS]}, scaled)
    if "type" in loss.leaves:
        draft.skip(loss.leaves["type"], "the distance of features of VGG")
    _convert_criterion(draft, loss)
    report_rest(draft, loss)


def _scale(draft: Draft, loss: Loss) -> tuple[float, str]:
    """What the scale of the features makes of a weight, and a note on it; 1 for most programs."""
    if draft.program != "neosr":
        return 1.0, ""
    leaf = loss.leaves.get("criterion")
    squared = leaf is not None and _criterion(draft, leaf)[0] == "l2"
    factor = _NEOSR_SCALE**2 if squared else _NEOSR_SCALE
    return factor, f"times {factor:g}, because neosr multiplies the features by {_NEOSR_SCALE:g}"


def add_perceptual(draft: Draft, used: Sequence[Loss]) -> None:
    """Set the perceptual loss of the GAN stage, which always has one, if the file has none.

    Args:
        draft: what is built.
        used: the losses of the file with a weight.
    """
    similar = next((loss.kind for loss in used if loss.kind in SIMILAR), None)
    if similar is None:
        why = "the file has no perceptual loss; the GAN stage computes one, here without effect"
        draft.add({_LAYERS: {"conv5_4": _TINY}}, why)
    else:
        why = f"the nearest loss to {similar}, with torch-sr's weight"
        draft.add({_LAYERS: {"conv5_4": 1.0}}, why)


def _convert_network(draft: Draft, loss: Loss) -> str:
    leaf = loss.leaves.get("vgg_type")
    if leaf is None:
        return "vgg19"
    given = draft.text(leaf).lower()
    network = given if given in VGG_CONVS else "vgg19"
    why = "" if network == given else f"torch-sr does not have {given}"
    draft.take(leaf, {"perceptual_loss.vgg_type": network}, why)
    return network


def _convert_layers(draft: Draft, loss: Loss, network: str, factor: float) -> None:
    prefix = "layer_weights."
    layers = {
        key.removeprefix(prefix): leaf
        for key, leaf in loss.leaves.items()
        if key.startswith(prefix)
    }
    if not layers:
        why = f"the layers that {draft.program} takes by default"
        draft.add({_LAYERS: {FIVE_BLOCKS: factor}}, why)
        return
    weights = _read_weights(draft, layers, network, factor)
    own = Counter(map(_own_layer, layers))
    for name, leaf in layers.items():
        why = "the features before activation" if name.startswith("relu") else ""
        if own[_own_layer(name)] > 1:
            why = f"before activation; the weights of {_own_layer(name)} and its relu are added"
        draft.take(leaf, {_LAYERS: weights}, why)


def _own_layer(name: str) -> str:
    """The name of a layer here, where all features are those before activation."""
    return name.replace("relu", "conv")


def _read_weights(
    draft: Draft, layers: Mapping[str, Leaf], network: str, factor: float
) -> dict[str, float]:
    """The weights of the layers that have one, by the names of torch-sr."""
    weights: dict[str, float] = {}
    for name, leaf in layers.items():
        own = _own_layer(name)
        if own not in layer_names(network):
            raise draft.fault(leaf, f"{network} has no layer {name} before activation")
        if (weight := draft.number(leaf)) > 0:
            weights[own] = weights.get(own, 0.0) + weight * factor
    shares = layer_groups(network)[FIVE_BLOCKS]
    if weights == {name: share * factor for name, share in shares.items()}:
        return {FIVE_BLOCKS: factor}
    return weights or {"conv5_4": _TINY}


def _criterion(draft: Draft, leaf: Leaf) -> tuple[str, str]:
    """The criterion of torch-sr, and what differs."""
    name = draft.text(leaf).lower()
    return _CRITERIA.get(name, ("l1", f"torch-sr does not have {name}"))


def _convert_criterion(draft: Draft, loss: Loss) -> None:
    if (leaf := loss.leaves.get("criterion")) is not None:
        criterion, why = _criterion(draft, leaf)
        draft.take(leaf, {"perceptual_loss.criterion": criterion}, why)
    if (norm := loss.leaves.get("use_input_norm")) is not None:
        draft.take(norm, {"perceptual_loss.normalize_input": draft.switch(norm)})
