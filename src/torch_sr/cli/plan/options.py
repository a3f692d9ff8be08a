"""The options of ``torch-sr plan``; its panels group them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from torch_sr.models.weights import DEFAULT_MODEL
from torch_sr.options import Option

_FILES, _ASSUMED, _PRICES = "Files", "In place of constants", "Prices, in US dollars"

Suffix = Literal["jpg", "png", "webp"]


@dataclass(frozen=True)
class AssumedOptions:
    """Values in place of constants; None keeps the constant."""

    utilization: Annotated[
        float | None,
        Option("Part of a GPU's peak that the network reaches.", panel=_ASSUMED, default="0.1"),
    ] = None
    overlap: Annotated[
        int | None,
        Option(
            "Pixels that the network sees around a tile.",
            panel=_ASSUMED,
            min=0,
            default="of models that ship, measured; else 32",
        ),
    ] = None
    cores: Annotated[
        float | None,
        Option("Processor cores for each GPU.", panel=_ASSUMED, default="12"),
    ] = None
    network: Annotated[
        float | None,
        Option(
            "Network of each device, in Gbit/s.", panel=_ASSUMED, default="10 a GPU, 0.25 a core"
        ),
    ] = None
    efficiency: Annotated[
        float | None,
        Option("Part of the time in which devices compute.", panel=_ASSUMED, default="0.9"),
    ] = None
    constants: Annotated[
        Path | None,
        Option("A file with constants that replace some, of benchmarks/plan.py.", panel=_ASSUMED),
    ] = None
    measure: Annotated[
        bool,
        Option(
            "Measure on this machine for about a minute: reading, writing, and with --device cpu, "
            "cuda or mps the network.",
            panel=_ASSUMED,
        ),
    ] = False


@dataclass(frozen=True)
class PriceOptions:
    """Prices; those of requests and of storage have dated defaults."""

    device_price: Annotated[
        float | None,
        Option(
            "Of a device for an hour, with its share of the machine.",
            panel=_PRICES,
            default="unknown: it differs by more than twice between providers",
        ),
    ] = None
    get_price: Annotated[
        float | None,
        Option("Of 1000 requests that read.", panel=_PRICES, default="of S3, 0.0004"),
    ] = None
    put_price: Annotated[
        float | None,
        Option("Of 1000 requests that write or list.", panel=_PRICES, default="of S3, 0.005"),
    ] = None
    storage_price: Annotated[
        float | None,
        Option("Of a gigabyte for a month.", panel=_PRICES, default="of S3, 0.023"),
    ] = None
    transfer_price: Annotated[
        float | None,
        Option(
            "Of a gigabyte between store and devices.",
            panel=_PRICES,
            default="unknown; 0 in a region of most providers",
        ),
    ] = None
    months: Annotated[float, Option("That results are stored.", panel=_PRICES)] = 1.0


@dataclass(frozen=True)
class PlanOptions:
    """All options of ``torch-sr plan``, in the order of its help."""

    images: Annotated[int | None, Option("How many images.", default="required")] = None
    megapixels: Annotated[
        float | None,
        Option("Size of each, in millions of pixels.", default="required"),
    ] = None
    device: Annotated[
        str | None,
        Option("A GPU such as h100, or cpu for one core.", default="required"),
    ] = None
    model: Annotated[
        str,
        Option("A weights file, or a name that `torch-sr models list` shows.", ("--model", "-m")),
    ] = DEFAULT_MODEL
    devices: Annotated[int | None, Option("How many devices.", default="1")] = None
    hours: Annotated[
        float | None, Option("Find the number of devices that are done in this time.")
    ] = None
    plot: Annotated[
        Path | None, Option("Draw hours and price over the number of devices into this file.")
    ] = None
    source_format: Annotated[Suffix, Option("Format of the images.", panel=_FILES)] = "jpg"
    result_format: Annotated[
        Suffix | None,
        Option("Format of the results.", ("--format",), panel=_FILES, default="as the source"),
    ] = None
    source_mb: Annotated[
        float | None,
        Option("Mean size of a source, in millions of bytes.", panel=_FILES, default="measured"),
    ] = None
    result_mb: Annotated[
        float | None,
        Option("Mean size of a result, in millions of bytes.", panel=_FILES, default="measured"),
    ] = None
    assumed: AssumedOptions = field(default_factory=AssumedOptions)
    prices: PriceOptions = field(default_factory=PriceOptions)
