"""Convert the networks of an option file: ``network_g`` and ``network_d``.

The generator must be an RRDBNet, the only network that torch-sr trains.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch_sr.config.importing.draft import Draft
from torch_sr.config.importing.leaves import Leaf
from torch_sr.config.values import SCALES

_SIZES = {"num_feat": 64, "num_block": 23, "num_grow_ch": 32}
GENERATORS = {
    "rrdbnet": _SIZES,
    "esrgan": _SIZES,
    "esrgan_lite": {**_SIZES, "num_feat": 32, "num_block": 12},
}
"""The names of RRDBNet, in lower case, with the sizes that a file need not name."""
_KEYS = {
    "num_feat": "generator.rrdb_channels",
    "num_block": "generator.num_basic_blocks",
    "num_grow_ch": "generator.growth_channels",
}
_GT_SIZE = "datasets.train.gt_size"
_USUAL_CROP = 128
_COMPACT = ("srvggnetcompact", "compact", "ultracompact", "superultracompact")
_UNETS = ("unetdiscriminatorsn", "unet")
_VGGS = ("vggstylediscriminator", "vggstylediscriminator128", "vgg", "discriminator_vgg_128")


def convert_generator(draft: Draft) -> None:
    """Convert ``network_g`` and ``scale``.

    Raises:
        ConfigError: it is not an RRDBNet, or one of a size that torch-sr does not have.
    """
    leaves = draft.below("network_g")
    kind = leaves.get("type")
    if kind is None:
        raise draft.absent("add network_g with its type, such as RRDBNet")
    sizes = GENERATORS.get(draft.text(kind).lower())
    if sizes is None:
        raise draft.fault(kind, _refuse(str(kind.value)))
    draft.skip(kind, "the generator is always an RRDBNet")
    _convert_scale(draft)
    _convert_channels(draft, leaves)
    for name, size in sizes.items():
        if name in leaves:
            draft.take(leaves[name], {_KEYS[name]: draft.whole(leaves[name])})
        else:
            draft.add({_KEYS[name]: size}, f"the default of {kind.value} in {draft.program}")
    _convert_unshuffle(draft, leaves)
    for leaf in leaves.values():
        if not draft.is_reported(leaf):
            draft.drop(leaf, "the RRDBNet of torch-sr has no such parameter")


def _refuse(kind: str) -> str:
    """Why a generator is refused, and what is possible."""
    possible = (
        "torch-sr trains RRDBNet (RRDBNet, esrgan, esrgan_lite) at the scales 1, 2, 3, 4 and 8"
    )
    if kind.lower() in _COMPACT:
        return (
            f"{possible}; a small one replaces SRVGGNetCompact: num_feat 32, num_block 3 (as in "
            "configs/compact_x4.json); 'torch-sr upscale -m' uses models of either"
        )
    return f"{possible}; 'torch-sr upscale -m' and 'torch-sr test' use models of many other kinds"


def _convert_scale(draft: Draft) -> None:
    leaf = draft.find("scale")
    if leaf is None:
        raise draft.absent("add the scale, such as scale: 4")
    draft.scale_factor = draft.whole(leaf)
    if draft.scale_factor not in SCALES:
        raise draft.fault(leaf, "torch-sr trains scale factors of 1, 2, 3, 4 and 8")
    draft.take(leaf, {"scale_factor": draft.scale_factor})


def _convert_channels(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    found = [leaves[name] for name in ("num_in_ch", "num_out_ch") if name in leaves]
    counts = [draft.whole(leaf) for leaf in found]
    if len({*counts}) > 1:
        raise draft.fault(found[1], f"it must be {counts[0]}, the number of channels of the input")
    for leaf, count in zip(found, counts, strict=True):
        if count not in (1, 3, 4):
            raise draft.fault(leaf, "it must be 1, 3 or 4")
        draft.take(leaf, {"img_channels": count})


def _convert_unshuffle(draft: Draft, leaves: Mapping[str, Leaf]) -> None:
    """Networks of scale 2 and 1 rearrange pixels first, so that they enlarge by 4."""
    key, scale = "generator.pixel_unshuffle", draft.scale_factor
    leaf, switch = leaves.get("scale"), leaves.get("use_pixel_unshuffle")
    side = 1 if scale not in (1, 2) else 4 // scale
    if switch is not None:
        if scale not in (1, 2):
            draft.skip(switch, "it has an effect at the scales 1 and 2 only")
            return
        draft.take(switch, {key: side if draft.switch(switch) else 1})
    elif leaf is not None:
        if draft.whole(leaf) != scale:
            raise draft.fault(leaf, f"it must be {scale}, the scale of the file")
        draft.take(leaf, {key: side})
    elif side > 1:
        draft.add({key: side}, f"the RRDBNet of {draft.program} has it at scale {scale}")


def convert_discriminator(draft: Draft) -> None:
    """Convert ``network_d``."""
    leaves = draft.below("network_d")
    if not draft.is_gan:
        for leaf in leaves.values():
            draft.skip(leaf, "there is no GAN loss, so the discriminator is not trained")
        return
    kind, size = leaves.get("type"), leaves.get("num_feat")
    name = "" if kind is None else draft.text(kind).lower()
    channels = 64 if size is None else draft.whole(size)
    if name in _VGGS:
        widths = {"discriminator.vgg_blk_ch": _vgg_channels(channels, _crop(draft))}
        becomes = {"discriminator.kind": "vgg", **widths}
        why = "levels down to 4x4 pixels, as there; the kernels that halve have 3x3, there 4x4"
    else:
        widths = {"discriminator.unet_channels": channels}  # type: ignore[dict-item]
        becomes = {"discriminator.kind": "unet"}
        why = "" if name in _UNETS else f"there is no {name} here; the nearest is the U-Net"
    draft.give(kind, becomes, why, "the file names no discriminator")
    if size is not None and name in (*_VGGS, *_UNETS):
        draft.take(size, widths)
    _report_other_parts(draft, leaves, name)


def _report_other_parts(draft: Draft, leaves: Mapping[str, Leaf], name: str) -> None:
    for key, leaf in leaves.items():
        if draft.is_reported(leaf):
            continue
        if key in ("num_in_ch", "input_size"):
            draft.skip(leaf, "img_channels and the size of the crops decide")
        elif key == "skip_connection" and leaf.value is True and name in _UNETS:
            draft.skip(leaf, "the U-Net always has them")
        elif key == "skip_connection" and name in _UNETS:
            draft.take(leaf, {}, "the U-Net of torch-sr always has skip connections")
        else:
            draft.drop(leaf, "the discriminators of torch-sr have no such parameter")


def _crop(draft: Draft) -> int:
    """The side of the crops of high resolution."""
    lq, top, own = (draft.find(key) for key in ("datasets.train.lq_size", "gt_size", _GT_SIZE))
    if lq is not None and lq.value is not None:
        return draft.whole(lq) * draft.scale_factor
    leaf = top if top is not None and top.value is not None else own
    return _USUAL_CROP if leaf is None or leaf.value is None else draft.whole(leaf)


def _vgg_channels(channels: int, crop: int) -> list[int]:
    """Channels of convolutions, of which every second halves the size, down to 4 pixels."""
    levels = min(max(crop.bit_length() - 3, 1), 6)
    widths = [channels * factor for factor in (1, 2, 4, 8) for _ in range(2)]
    return widths[: 2 * levels] + [channels * 8] * (levels - 4)
