"""Find the losses of an option file: ``train.*_opt``, or the list ``train.losses``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_sr.config.importing.draft import Draft
from torch_sr.config.importing.leaves import Leaf
from torch_sr.config.stages import GAN_STAGE

_GROUP = re.compile(r"(\w+_opt|losses\[\d+\])\.(.+)")
_WEIGHTS = ("loss_weight", "perceptual_weight")
_OTHER_NAMES = {
    "ssim": "mssim",
    "msssim": "mssim",
    "vggperceptual": "perceptual",
    "l2": "mse",
    "focalfrequency": "ff",
}


_DEFAULT_WEIGHTS = {("neosr", "gan"): 0.1}
"""Of losses whose weight a file need not name, by program, where it is not 1. traiNNer-redux
requires all weights."""


@dataclass(frozen=True)
class Loss:
    """One loss of the file.

    Args:
        kind: ``l1``, ``perceptual`` …, in lower case and without the word loss.
        leaves: its values by key.
        weight: its weight; that of the program if the file names none.
    """

    kind: str
    leaves: Mapping[str, Leaf]
    weight: float

    @property
    def weight_leaf(self) -> Leaf | None:
        """Where the weight is given."""
        return next((self.leaves[key] for key in _WEIGHTS if key in self.leaves), None)


def find_losses(draft: Draft) -> list[Loss]:
    """All losses of the file, in its order."""
    groups: dict[str, dict[str, Leaf]] = {}
    for key, leaf in draft.below("train").items():
        if found := _GROUP.fullmatch(key):
            groups.setdefault(found[1], {})[found[2]] = leaf
    return [_read(draft, name, leaves) for name, leaves in groups.items()]


def _read(draft: Draft, name: str, leaves: Mapping[str, Leaf]) -> Loss:
    given = draft.text(leaves["type"]) if "type" in leaves else name.removesuffix("_opt")
    kind = given.lower().replace("_", "").replace("-", "").removesuffix("loss")
    if name == "ldl_opt":  # BasicSR gives it the type of its distance
        kind = "ldl"
    weights = [draft.number(leaves[key]) for key in _WEIGHTS if key in leaves]
    kind = _OTHER_NAMES.get(kind, kind)
    usual = _DEFAULT_WEIGHTS.get((draft.program, kind), 1.0)
    return Loss(kind, leaves, weights[0] if weights else usual)


def choose_stage(draft: Draft, losses: Sequence[Loss]) -> None:
    """A training with a GAN loss is the GAN stage, every other the PSNR stage."""
    if any(loss.kind == "gan" and loss.weight > 0 for loss in losses):
        draft.stage = GAN_STAGE


def report_rest(draft: Draft, loss: Loss) -> None:
    """Report the values of a loss that is taken over, which no conversion knows."""
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
