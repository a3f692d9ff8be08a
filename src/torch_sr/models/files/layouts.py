"""Rename the parameters of RRDBNet between the layouts of programs.

Four layouts are in use: ``old`` (ESRGAN of 2018 and most community models), ``mid``
(xinntao/ESRGAN, BSRGAN), ``new`` (BasicSR, Real-ESRGAN and RRDBNet here, so the canonical one)
and ``enhanced-srgan``. One table, :data:`LAYOUTS`, serves both directions: a layout and the numbers
of its modules give every pair of names, and a state dict must have exactly these names.
Shapes are interpreted in :mod:`torch_sr.models.files.hparams`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from torch_sr.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


class Shaped(Protocol):
    """A tensor of any kind: of PyTorch, NumPy or a file."""

    @property
    def shape(self) -> Sequence[int]:
        """Its sizes."""
        ...

    def item(self) -> Any:
        """The number of a tensor that has one."""
        ...


State = Mapping[str, Shaped]
T = TypeVar("T", bound=Shaped)

PREFIXES = ("module.", "netG.", "_orig_mod.", "generator.")
"""What DataParallel, BasicSR, torch.compile and Lightning put before every name."""

DISCRIMINATORS = ("netD.", "discriminator.")

DEFAULT_RESIDUAL_SCALING = 0.2


@dataclass(frozen=True)
class Layout:
    """Templates of the module names, and the first number of a count in written files."""

    conv_first: str
    conv: str
    conv_body: str
    conv_up: str
    conv_hr: str
    conv_last: str
    first: int = 1


LAYOUTS = {
    "new": Layout(
        "conv_first",
        "body.{block}.rdb{dense}.conv{conv}",
        "conv_body",
        "conv_up{up}",
        "conv_hr",
        "conv_last",
    ),
    "mid": Layout(
        "conv_first",
        "RRDB_trunk.{block}.RDB{dense}.conv{conv}",
        "trunk_conv",
        "upconv{up}",
        "HRconv",
        "conv_last",
    ),
    "old": Layout(
        "model.0",
        "model.1.sub.{block}.RDB{dense}.conv{conv}.0",
        "model.1.sub.{after_blocks}",
        "model.{up}",
        "model.{hr}",
        "model.{last}",
    ),
    "enhanced-srgan": Layout(
        "in_conv",
        "rrdb_blocks.rrdb_{block}.dense_blocks.rdb_{dense}.blocks.{conv}.conv",
        "rrdb_blocks.out_conv",
        "upsampling_blocks.upsampling_{up}.block.conv",
        "upsampling_blocks.out_conv.0",
        "upsampling_blocks.out_conv.2",
        first=0,
    ),
}


@dataclass(frozen=True)
class CanonicalState(Generic[T]):
    """A state dict under RRDBNet's names, its original layout, and its residual scaling."""

    layout: str
    state: dict[str, T]
    residual_scaling: float | None


@dataclass(frozen=True)
class Numbers:
    """The numbers of the modules in a layout, in order; only ``old`` has ``hr`` and ``last``."""

    blocks: Sequence[int]
    denses: Sequence[int]
    convs: Sequence[int]
    ups: Sequence[int]
    hr: int = 0
    last: int = 0


def strip_prefixes(state: Mapping[str, T]) -> dict[str, T]:
    """Remove :data:`PREFIXES` that all names share, repeatedly, and any discriminator."""
    stripped = {key: value for key, value in state.items() if not key.startswith(DISCRIMINATORS)}
    while stripped:
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in stripped):
                stripped = {key[len(prefix) :]: value for key, value in stripped.items()}
                break
        else:
            break
    return stripped


def detect_layout(state: State) -> str | None:
    """Name the layout of a state dict without prefixes; None if it is not an RRDB generator."""
    if any(".conv1x1." in key for key in state):  # ESRGAN+ has a path that RRDBNet does not have
        return None
    for name, layout in LAYOUTS.items():
        if _find_numbers(state, layout.conv):
            return name
    return None


def to_canonical(state: Mapping[str, T]) -> CanonicalState[T]:
    """Rename the parameters of any layout to those of RRDBNet.

    Raises:
        ModelError: no known layout, or a parameter is missing or superfluous.
    """
    stripped = strip_prefixes(state)
    name = detect_layout(stripped)
    if name is None:
        raise ModelError(f"has no RRDB generator; it has {describe_keys(state)}")
    scaling, renamed = _split_residual_scaling(_with_block(stripped))
    canonical = {}
    for target, source in _pairs(LAYOUTS[name], read_numbers(renamed, name)):
        for kind in ("weight", "bias"):
            if f"{source}.{kind}" not in renamed:
                raise ModelError(f"{source}.{kind} is missing (layout {name})")
            canonical[f"{target}.{kind}"] = renamed.pop(f"{source}.{kind}")
    if renamed:
        raise ModelError(f"has {describe_keys(renamed)}, which no RRDB generator has")
    return CanonicalState(name, canonical, scaling)


def from_canonical(
    state: Mapping[str, Tensor], layout: str, residual_scaling: float = DEFAULT_RESIDUAL_SCALING
) -> dict[str, Tensor]:
    """Rename RRDBNet's parameters to those of ``layout``, one of :data:`LAYOUTS`.

    ``enhanced-srgan`` keeps the residual scaling among the parameters; the others do not hold it.

    Raises:
        ModelError: unknown layout, or ``state`` is not RRDBNet's.
    """
    if layout not in LAYOUTS:
        raise ModelError(f"layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")
    found = read_numbers(state, "new")
    numbers = _written_numbers(found, layout, subpixel=is_subpixel(state))
    renamed = {}
    for (source, _), (_, target) in zip(
        _pairs(LAYOUTS["new"], found), _pairs(LAYOUTS[layout], numbers), strict=True
    ):
        for kind in ("weight", "bias"):
            renamed[f"{target}.{kind}"] = parameter(state, f"{source}.{kind}")
    if layout == "enhanced-srgan":
        from torch import tensor

        for block in numbers.blocks:
            prefix = f"rrdb_blocks.rrdb_{block}"
            for name in (prefix, *(f"{prefix}.dense_blocks.rdb_{n}" for n in numbers.denses)):
                renamed[f"{name}.residual_scaling"] = tensor(residual_scaling)
    return renamed


def describe_keys(keys: Iterable[str], shown: int = 4) -> str:
    """List the first few names, for error messages."""
    names = list(keys)
    text = ", ".join(names[:shown]) or "no tensors"
    return text if len(names) <= shown else f"{text} … ({len(names)} names in all)"


def _pairs(layout: Layout, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Every convolution as (canonical name, name in ``layout``)."""
    yield "conv_first", layout.conv_first
    for b, block in enumerate(numbers.blocks):
        for d, dense in enumerate(numbers.denses, start=1):
            for c, conv in enumerate(numbers.convs, start=1):
                name = layout.conv.format(block=block, dense=dense, conv=conv)
                yield f"body.{b}.rdb{d}.conv{c}", name
    yield "conv_body", layout.conv_body.format(after_blocks=numbers.blocks[-1] + 1)
    for u, up in enumerate(numbers.ups, start=1):
        yield f"conv_up{u}", layout.conv_up.format(up=up)
    yield "conv_hr", layout.conv_hr.format(hr=numbers.hr)
    yield "conv_last", layout.conv_last.format(last=numbers.last)


def read_numbers(state: State, name: str) -> Numbers:
    """Find the numbers in use; gaps are found later, when the names are looked up."""
    layout = LAYOUTS[name]
    found = _find_numbers(state, layout.conv)
    if not found:
        raise ModelError(f"{layout.conv.format(block=0, dense=1, conv=1)}.weight is missing")
    blocks, denses, convs = (_without_gaps(found[what]) for what in ("block", "dense", "conv"))
    ups = sorted(_find_numbers(state, layout.conv_up).get("up", set()))
    if name != "old":
        return Numbers(blocks, denses, convs, _without_gaps(ups))
    tail = [number for number in ups if number > 0]  # model.0 is the first convolution
    if len(tail) < 2:
        raise ModelError(
            "the last convolutions, model.8 and model.10 at x4 (layout old), are missing"
        )
    return Numbers(blocks, denses, convs, tail[:-2], hr=tail[-2], last=tail[-1])


def _written_numbers(found: Numbers, name: str, *, subpixel: bool) -> Numbers:
    first, steps = LAYOUTS[name].first, len(found.ups)
    ups: Sequence[int] = range(first, first + steps)
    if name == "old":  # counted there: (upsample, conv, act), or (conv, shuffle, act), per step
        ups = [3 * step - subpixel for step in range(1, steps + 1)]
    return Numbers(
        blocks=range(len(found.blocks)),
        denses=range(first, first + len(found.denses)),
        convs=range(first, first + len(found.convs)),
        ups=ups,
        hr=3 * steps + 2,
        last=3 * steps + 4,
    )


def _find_numbers(state: State, template: str) -> dict[str, set[int]]:
    """Collect the numbers that stand at each ``{field}`` of a module's template."""
    module = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]{1,6})", re.escape(template))
    pattern = re.compile(module + r"\.(?:weight|bias)")
    numbers: dict[str, set[int]] = {}
    for match in filter(None, map(pattern.fullmatch, state)):
        for field, digits in match.groupdict().items():
            numbers.setdefault(field, set()).add(int(digits))
    return numbers


def _without_gaps(numbers: Iterable[int]) -> range:
    """The range of the numbers; some forks count from 0, others from 1."""
    found = sorted(numbers)
    if not found:
        return range(0)
    if found[0] > 1:
        raise ModelError(f"numbers its blocks from {found[0]}; the ones before are missing")
    return range(found[0], found[-1] + 1)


def _with_block(state: Mapping[str, T]) -> dict[str, T]:
    """Convert the older variant of enhanced-srgan, which has no ``.block``, to the present one."""
    older = re.compile(r"(upsampling_blocks\.upsampling_\d+)\.conv\.")
    return {older.sub(r"\1.block.conv.", key): value for key, value in state.items()}


def _split_residual_scaling(state: Mapping[str, T]) -> tuple[float | None, dict[str, T]]:
    """Take out the ``residual_scaling`` scalars of enhanced-srgan, which must all agree."""
    rest: dict[str, T] = {}
    scaling: float | None = None
    for key, value in state.items():
        if not key.endswith("residual_scaling"):
            rest[key] = value
            continue
        if math.prod(value.shape) != 1:
            raise ModelError(f"{key} has the shape {tuple(value.shape)}; it must be one number")
        number = float(value.item())
        if scaling is None:
            scaling = round(number, 6)  # 0.2 is 0.20000000298 as float32
        elif not math.isclose(scaling, number, rel_tol=1e-3):
            raise ModelError(f"{key} is {number:.4g}, elsewhere it is {scaling:.4g}")
    return scaling, rest


def is_subpixel(state: State) -> bool:
    """Whether canonical parameters up-scale by sub-pixel convolution, which widens."""
    up = state.get("conv_up1.weight")
    return up is not None and tuple(up.shape[:1]) != tuple(up.shape[1:2])


def parameter(state: Mapping[str, T], key: str) -> T:
    """Look up a parameter; ModelError if it is missing."""
    if key not in state:
        raise ModelError(f"{key} is missing")
    return state[key]
