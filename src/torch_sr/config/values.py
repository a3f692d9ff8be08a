"""The types of the values of hyper-parameters, with the text of their errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)


class Section(BaseModel):
    """A section of the configuration; unknown keys and values of other types are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Fault(ValueError):  # noqa: N818
    """What a value must be, with the path of the value if it is below the one that is checked."""

    def __init__(self, remedy: str, path: tuple[str, ...] = (), value: object = None) -> None:
        super().__init__(remedy)
        self.path = path
        self.value = value


def must_be(words: str) -> WrapValidator:
    """Replace the message of pydantic; written last, it applies to everything before it."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise Fault(f"it must be {words}") from None

    return WrapValidator(check)


def _whole(value: object) -> object:
    if type(value) is not int:  # a Literal compares: True and 1.0 would pass for 1
        raise ValueError
    return value


def _rising(steps: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise Fault("each number must be larger than the one before it")
    return steps


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if low > high:
        raise Fault(f"the smaller number must come first: [{high:g}, {low:g}]")
    return ends


def _around_one(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if not low <= 1 <= high:
        example = f"[{min(low, 1):g}, {max(high, 1):g}]"
        raise Fault(f"it must include 1, the unchanged size, such as {example}")
    return ends


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise Fault(f"it must be odd, such as {size + 1}, because a kernel has a central pixel")
    return size


def check_sum(probabilities: Iterable[float]) -> None:
    """Refuse probabilities of exclusive alternatives that do not sum to 1."""
    total = sum(probabilities)
    if abs(total - 1) > 1e-6:
        raise Fault(f"these probabilities must sum to 1; they sum to {total:g}")


def _whole_probability(shares: tuple[float, ...]) -> tuple[float, ...]:
    check_sum(shares)
    return shares


_TUPLE = Field(strict=False)  # a tuple also accepts a list; its items stay strict
_LIST = Field(strict=False, min_length=1)
_DATASET = r"^([^:]*[^:\s]|[^:\s].*[^:+\s])$"  # folders may have colons; see data/specs.py

SCALES = (1, 2, 3, 4, 8)
"""The factors by which the upscaling steps of a generator can enlarge an image."""

Count = Annotated[int, Field(ge=1), must_be("a whole number, 1 or more")]
CountOrZero = Annotated[int, Field(ge=0), must_be("a whole number, 0 or more")]
CountOrNone = Annotated[Count | None, must_be("a whole number, 1 or more, or null")]
Seed = Annotated[int, Field(ge=0, lt=2**32), must_be("a whole number from 0 to 4294967295")]
Positive = Annotated[float, Field(gt=0), must_be("a number above 0")]
PositiveOrNone = Annotated[Positive | None, must_be("a number above 0, or null")]
NotNegative = Annotated[float, Field(ge=0), must_be("a number, 0 or more")]
Factor = Annotated[float, Field(gt=0, le=1), must_be("a number above 0 and at most 1")]
Decay = Annotated[float, Field(ge=0, lt=1), must_be("a number from 0 to below 1")]
Probability = Annotated[float, Field(ge=0, le=1), must_be("a number from 0 to 1")]
Switch = Annotated[bool, must_be("true or false")]
Scale = Annotated[Literal[1, 2, 3, 4, 8], BeforeValidator(_whole), must_be("1, 2, 3, 4 or 8")]
Unshuffle = Annotated[Scale, must_be("1, 2, 3, 4 or 8")]
Channels = Annotated[Literal[1, 3, 4], BeforeValidator(_whole), must_be("1, 3 or 4")]
Crop = Annotated[
    Annotated[tuple[Count, Count], _TUPLE] | None,
    must_be("[height, width] in whole pixels, or null for whole images"),
]
Betas = Annotated[
    tuple[Decay, Decay], _TUPLE, must_be("[beta1, beta2], two numbers from 0 to below 1")
]
PositiveRange = Annotated[
    tuple[Positive, Positive],
    _TUPLE,
    must_be("[lowest, highest], two numbers above 0"),
    AfterValidator(_ordered),
]
NotNegativeRange = Annotated[
    tuple[NotNegative, NotNegative],
    _TUPLE,
    must_be("[lowest, highest], two numbers, 0 or more"),
    AfterValidator(_ordered),
]
Level = Annotated[float, Field(ge=0, le=255)]
LevelRange = Annotated[
    tuple[Level, Level],
    _TUPLE,
    must_be("[lowest, highest], two numbers from 0 to 255"),
    AfterValidator(_ordered),
]
Quality = Annotated[int, Field(ge=1, le=100)]
QualityRange = Annotated[
    tuple[Quality, Quality],
    _TUPLE,
    must_be("[lowest, highest], two whole numbers from 1 to 100"),
    AfterValidator(_ordered),
]
ResizeRange = Annotated[PositiveRange, AfterValidator(_around_one)]
ResizeProbabilities = Annotated[
    tuple[Probability, Probability, Probability],
    _TUPLE,
    must_be("[enlarging, shrinking, keeping], three numbers from 0 to 1"),
    AfterValidator(_whole_probability),
]
KernelSize = Annotated[
    int,
    Field(ge=7, le=51),
    must_be("an odd whole number from 7 to 51"),
    AfterValidator(_odd),
]
Counts = Annotated[tuple[Count, ...], _LIST]
Milestones = Annotated[tuple[Count, ...], _LIST, AfterValidator(_rising)]
Dataset = Annotated[
    str,
    Field(pattern=_DATASET),
    must_be(
        "the name or folder of a data set, with or without splits: 'set5', 'bsds500:train+test'"
    ),
]
Datasets = Annotated[tuple[Dataset, ...], _LIST]
DatasetsOrNone = Annotated[tuple[Dataset, ...], _TUPLE]
Weights = Annotated[dict[str, Positive], Field(min_length=1)]


def suggest(name: str, names: Sequence[str]) -> str:
    """Suggest known names for an unknown one."""
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names)}"
