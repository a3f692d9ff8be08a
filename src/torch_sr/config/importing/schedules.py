"""Convert the length of a training, its optimizers and its learning rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import acos, ceil, pi

from torch_sr.config.importing.draft import Draft, is_off, same
from torch_sr.config.importing.leaves import Leaf
from torch_sr.config.importing.losses_found import Loss
from torch_sr.config.stages import GAN_STAGE, PSNR_STAGE

_OPTIMIZERS = {"adam": "adam", "adamw": "adamw"}
_RATES = {"optim_g": {PSNR_STAGE: "lr", GAN_STAGE: "g_lr"}, "optim_d": {GAN_STAGE: "d_lr"}}
_CHOSEN = {
    "fused": "chosen by PyTorch",
    "foreach": "chosen by PyTorch",
    "decoupled_weight_decay": "the optimizer decides: adamw does, adam does not",
}
_DEFAULT_RATES = {PSNR_STAGE: 2e-4, GAN_STAGE: 1e-4}
_BETAS = (0.9, 0.99)
_LDL_DECAY = 0.999  # the default of torch-sr
_HALVINGS = 5  # of a cosine that is approximated by steps


def convert_length(draft: Draft) -> int:
    """Convert ``train.total_iter``, and return it."""
    leaf = draft.find("train.total_iter")
    if leaf is None:
        raise draft.absent("add train.total_iter, the steps to train")
    steps = draft.whole(leaf)
    if steps < 1:
        raise draft.fault(leaf, "it must be 1 or more")
    stage = draft.stage
    draft.take(leaf, {f"{stage}.num_steps": steps, f"{stage}.num_epoch": steps})
    other = PSNR_STAGE if draft.is_gan else GAN_STAGE
    draft.add({f"{other}.num_epoch": 0}, f"the file describes one stage, {stage}")
    return steps


def convert_optimizers(draft: Draft) -> None:
    """Convert ``train.optim_g`` and ``train.optim_d``."""
    generator = draft.below("train.optim_g")
    _convert_optimizer(draft, "optim_g", generator)
    discriminator = draft.below("train.optim_d")
    if draft.is_gan:
        _convert_optimizer(draft, "optim_d", discriminator, generator)
    else:
        for leaf in discriminator.values():
            draft.skip(leaf, "there is no GAN loss, so the discriminator is not trained")


def _convert_optimizer(
    draft: Draft, name: str, leaves: Mapping[str, Leaf], first: Mapping[str, Leaf] | None = None
) -> None:
    """Convert one optimizer.

    Args:
        draft: what is built.
        name: ``optim_g`` or ``optim_d``.
        leaves: its values.
        first: those of the generator's, which sets all but the learning rate for both.
    """
    stage, kind = draft.stage, leaves.get("type")
    named = "adam" if kind is None else draft.text(kind).lower()
    known = _OPTIMIZERS.get(named)
    if known == "adamw" and "weight_decay" not in leaves and first is None:
        draft.add({f"{stage}.weight_decay": 0.01}, "the default of AdamW")
    if "lr" in leaves:
        _convert_rate(draft, leaves["lr"], f"{stage}.{_RATES[name][stage]}", named)
    for key, leaf in leaves.items():
        if draft.is_reported(leaf):
            continue
        if key in ("type", "betas", "weight_decay") and first is not None:
            _convert_second(draft, key, leaf, first.get(key))
        elif key == "type":
            why = "" if known else f"torch-sr does not have {named}"
            draft.take(leaf, {f"{stage}.optimizer": known or "adamw"}, why)
        elif key == "betas":
            _convert_betas(draft, leaf, stage)
        elif key == "weight_decay":
            decay = draft.number(leaf)
            draft.take(leaf, {f"{stage}.weight_decay": decay})
        elif key == "warmup_steps" and first is None:
            draft.take(leaf, {f"{stage}.warmup_steps": max(0, draft.whole(leaf))})
        elif key == "warmup_steps":
            draft.take(leaf, {}, "both optimizers warm up over the generator's steps")
        elif key == "schedule_free":
            draft.drop(leaf, "the learning rate follows a schedule; here it is constant")
        elif key in _CHOSEN:
            draft.skip(leaf, _CHOSEN[key])
        elif key == "eps" and draft.number(leaf) == 1e-8:
            draft.skip(leaf, "fixed")
        else:
            draft.drop(leaf, f"the optimizers of torch-sr have no parameter {key}")


def _convert_rate(draft: Draft, leaf: Leaf, key: str, optimizer: str) -> None:
    rate = draft.number(leaf)
    if rate <= 0:
        raise draft.fault(leaf, "it must be above 0")
    usual = _DEFAULT_RATES[draft.stage]
    if optimizer not in _OPTIMIZERS and rate > usual:
        why = f"the usual rate of AdamW; {rate:g} is one for {optimizer}"
        draft.take(leaf, {key: usual}, why)
    else:
        draft.take(leaf, {key: rate})


def _convert_betas(draft: Draft, leaf: Leaf, stage: str) -> None:
    betas, key = draft.numbers(leaf), f"{stage}.betas"
    if len(betas) == 2:
        draft.take(leaf, {key: betas})
    else:
        why = f"AdamW has two; {len(betas)} are for another optimizer"
        draft.take(leaf, {key: list(_BETAS)}, why)


def _convert_second(draft: Draft, key: str, leaf: Leaf, first: Leaf | None) -> None:
    """A value of the discriminator's optimizer, which both optimizers have in common here."""
    if first is not None and first.value == leaf.value:
        draft.skip(leaf, "the same as that of the generator's optimizer, which sets both")
    else:
        draft.take(leaf, {}, f"{key} of the generator's optimizer is used for both")


# --- Schedules of the learning rate ---------------------------------------------------------------


def convert_schedule(draft: Draft, steps: int) -> None:
    """Convert ``train.scheduler``.

    Args:
        draft: what is built.
        steps: of the whole training.
    """
    leaves = draft.below("train.scheduler")
    if not leaves:
        draft.add(_constant(draft, steps), "without a scheduler, the learning rate is constant")
        return
    kind = leaves.get("type")
    name = "" if kind is None else draft.text(kind).lower()
    if name.startswith("multistep") and "milestones" in leaves:
        _convert_milestones(draft, kind, leaves, steps)
    elif name.startswith("cosine"):
        _convert_cosine(draft, kind, leaves, steps)
    elif kind is not None:
        why = f"torch-sr does not have {kind.value}; the learning rate is constant"
        draft.take(kind, _constant(draft, steps), why)
    for key, leaf in leaves.items():
        if not draft.is_reported(leaf):
            draft.drop(leaf, f"the schedule of torch-sr has no parameter {key}")


def _constant(draft: Draft, steps: int) -> dict[str, object]:
    """A schedule whose only decay is at the end."""
    if not draft.is_gan:
        return {"pretraining.scheduler": "step", "pretraining.sched_step": steps}
    return {"training.g_sched_steps": [steps], "training.d_sched_steps": [steps]}


def _convert_milestones(
    draft: Draft, kind: Leaf | None, leaves: Mapping[str, Leaf], steps: int
) -> None:
    leaf = leaves["milestones"]
    milestones = [int(number) for number in draft.numbers(leaf)]
    if any(later <= earlier for earlier, later in pairwise(milestones)) or milestones[0] < 1:
        raise draft.fault(leaf, "each number must be larger than the one before it")
    gamma = leaves.get("gamma")
    factor = 0.1 if gamma is None else draft.number(gamma)
    if draft.is_gan:
        schedule = dict.fromkeys(("training.g_sched_steps", "training.d_sched_steps"), milestones)
        factors = dict.fromkeys(("training.g_sched_gamma", "training.d_sched_gamma"), factor)
        why = ""
    else:
        step, why = _regular(milestones, steps)
        schedule = {"pretraining.sched_step": step}  # type: ignore[dict-item]
        factors = {"pretraining.sched_gamma": factor}
    draft.take(leaf, schedule, why)
    if kind is not None:
        draft.skip(kind, "the learning rate decays in steps")
    if gamma is not None:
        draft.take(gamma, factors)
    else:
        draft.add(factors, "the default of MultiStepLR")
    for key, usual in (("restarts", [0]), ("restart_weights", [1])):
        if key in leaves and leaves[key].value == usual:
            draft.skip(leaves[key], "no restarts")


def _regular(milestones: list[int], steps: int) -> tuple[int, str]:
    """The interval that decays most like the milestones, and what differs."""
    inside = [milestone for milestone in milestones if milestone < steps]
    if not inside:
        return milestones[0], ""
    first = inside[0]
    if inside == [first * count for count in range(1, len(inside) + 1)] and (
        first * (len(inside) + 1) >= steps
    ):
        return first, ""
    why = f"the PSNR stage decays at regular intervals: {len(inside)} times, as there"
    return ceil(steps / (len(inside) + 1)), why


def _convert_cosine(
    draft: Draft, kind: Leaf | None, leaves: Mapping[str, Leaf], steps: int
) -> None:
    periods = leaves.get("periods", leaves.get("T_max"))
    lengths = (
        []
        if periods is None
        else [draft.number(periods)]
        if not isinstance(periods.value, list)
        else draft.numbers(periods)
    )
    once = not lengths or (len(lengths) == 1 and lengths[0] >= steps)
    if kind is not None:
        if draft.is_gan:
            why = "the GAN stage decays in steps: they halve the rate where the cosine does"
            draft.take(kind, _cosine_steps(steps), why)
        else:
            draft.take(kind, {"pretraining.scheduler": "cosine"})
    if periods is not None:
        if once and lengths[0] == steps:
            draft.skip(periods, "the cosine spans the stage")
        elif once:
            why = f"the cosine spans the stage; there, the stage ends before it, at {steps} steps"
            draft.take(periods, {}, why)
        else:
            draft.take(periods, {}, "one cosine over the whole stage, without restarts")
    weights = leaves.get("restart_weights")
    if weights is not None and isinstance(weights.value, list) and same(weights.value):
        draft.skip(weights, "no restarts")
    lowest = leaves.get("eta_min")
    if lowest is not None:
        if is_off(lowest.value) or draft.number(lowest) < 1e-6:
            draft.skip(lowest, "the cosine ends at 0")
        else:
            draft.take(lowest, {}, "the cosine ends at 0")


def _cosine_steps(steps: int) -> dict[str, object]:
    """Steps that halve the rate where a cosine falls below the next power of 1/2, geometrically."""
    factors = [2 ** -(number + 0.5) for number in range(_HALVINGS)]
    milestones = [round(steps * acos(2 * factor - 1) / pi) for factor in factors]
    milestones = sorted({max(1, milestone) for milestone in milestones})
    return {
        "training.g_sched_steps": milestones,
        "training.d_sched_steps": milestones,
        "training.g_sched_gamma": 0.5,
        "training.d_sched_gamma": 0.5,
    }


# --- What else a step does ------------------------------------------------------------------------


def convert_averaging(draft: Draft, losses: Sequence[Loss]) -> None:
    """Convert the moving average, the warm-up and the limit of gradients.

    Args:
        draft: what is built.
        losses: of the file, of which LDL needs a moving average.
    """
    stage = draft.stage
    if (leaf := draft.find("train.ema_decay")) is not None:
        decay, why = max(0.0, draft.number(leaf)), ""
        if not decay and draft.is_gan and any(_is_ldl(loss) for loss in losses):
            decay, why = _LDL_DECAY, "LDL needs the moving average, so it is switched on"
        draft.take(leaf, {f"{stage}.ema_decay": decay}, why)
    if (leaf := draft.find("train.warmup_iter")) is not None:
        draft.take(leaf, {f"{stage}.warmup_steps": max(0, draft.whole(leaf))})
    _convert_clipping(draft)


def _is_ldl(loss: Loss) -> bool:
    return loss.kind == "ldl" and loss.weight > 0


def _convert_clipping(draft: Draft) -> None:
    clip, norm = draft.find("train.grad_clip"), draft.find("train.grad_clip_max_norm")
    if clip is None:
        return
    key = f"{draft.stage}.gradient_clip"
    if not draft.switch(clip):
        draft.take(clip, {key: None})
        if norm is not None:
            draft.skip(norm, "grad_clip is off")
    elif norm is not None:
        draft.take(clip, {key: draft.number(norm)})
        draft.take(norm, {key: draft.number(norm)})
    else:
        draft.take(clip, {key: 1.0})
