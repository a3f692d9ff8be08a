"""``torch-sr plan``: print what a large job will cost; nothing is started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torch_sr.cli.options import AsJSON
from torch_sr.cli.plan.options import PlanOptions
from torch_sr.errors import ConfigError

if TYPE_CHECKING:
    from torch_sr.models.model import Model
    from torch_sr.planning import Constant, Constants, Workload

_MEASURABLE = ("cpu", "cuda", "mps")
_EXAMPLE = "torch-sr plan --images 1000000 --megapixels 2 --device h100"


def plan(*, options: PlanOptions, as_json: AsJSON = False) -> None:
    """Print what a large job will cost: devices, hours, network, requests, storage, money.

    Nothing is started. Every figure has a source; those that are not measured are estimates.
    """
    for required in ("images", "megapixels", "device"):
        if getattr(options, required) is None:
            raise typer.BadParameter(f"--{required} is missing; for example: {_EXAMPLE}")
    from torch_sr.cli.downloads import load_model
    from torch_sr.cli.plan.report import to_text
    from torch_sr.planning import NetworkCost, make_plan, read_constants

    constants = read_constants(options.assumed.constants)
    constants = constants.replaced(dict(_given(options)))
    workload = _workload(options)
    _check_device(workload.device, constants, measure=options.assumed.measure)
    model = load_model(options.model)
    name = _name(options.model)
    if options.assumed.measure:
        constants = constants.replaced(_measure(model, name, workload.device))
    found = make_plan(workload, NetworkCost.of(model, name), constants)
    if options.plot is not None:
        from torch_sr.planning.plot import draw

        draw(found, constants, options.plot)
    print(json.dumps(found.to_dict(), indent=2) if as_json else to_text(found))


def _workload(options: PlanOptions) -> Workload:
    from torch_sr.planning import Workload

    return Workload(
        images=options.images or 0,
        megapixels=options.megapixels or 0.0,
        device=(options.device or "").lower(),
        devices=options.devices,
        hours=options.hours,
        source_format=options.source_format,
        result_format=options.result_format or options.source_format,
        source_megabytes=options.source_mb,
        result_megabytes=options.result_mb,
        months=options.prices.months,
        device_price=options.prices.device_price,
        transfer_price=options.prices.transfer_price,
    )


def _given(options: PlanOptions) -> Iterator[tuple[str, Constant]]:
    """The constants that options replace."""
    from torch_sr.planning import Constant

    assumed, prices = options.assumed, options.prices
    values = [
        ("utilization", assumed.utilization, "of the peak", "--utilization"),
        ("overlap", assumed.overlap, "pixels", "--overlap"),
        ("cores.gpu", assumed.cores, "cores", "--cores"),
        ("network.gpu", assumed.network, "Gbit/s", "--network"),
        ("network.cpu", assumed.network, "Gbit/s", "--network"),
        ("efficiency", assumed.efficiency, "of the time", "--efficiency"),
        ("price.gets", prices.get_price, "USD/1000", "--get-price"),
        ("price.puts", prices.put_price, "USD/1000", "--put-price"),
        ("price.storage", prices.storage_price, "USD/GB/month", "--storage-price"),
    ]
    for name, value, unit, flag in values:
        if value is not None:
            _check_given(flag, value, unit)
            yield name, Constant(float(value), unit, "given", flag)


def _check_given(flag: str, value: float, unit: str) -> None:
    if unit.startswith("of the") and not 0 < value <= 1:
        raise ConfigError(f"{flag} {value:g}: write a number above 0, up to 1")
    if not 0 <= value < float("inf") or (value == 0 and flag in ("--cores", "--network")):
        least = "above 0" if flag in ("--cores", "--network") else "of 0 or more"
        raise ConfigError(f"{flag} {value:g}: write a number {least}")


def _check_device(device: str, constants: Constants, *, measure: bool) -> None:
    from torch_sr.planning.costs import known_devices

    known = known_devices(constants)
    if device not in known and not (measure and device in _MEASURABLE):
        raise ConfigError(
            f"--device {device}: unknown; use {', '.join(known)}, or one of "
            f"{', '.join(_MEASURABLE)} with --measure"
        )


def _name(model: str) -> str | None:
    """The name of a model; None for a file, which has its own."""
    from torch_sr.models.weights import canonical_name

    return None if Path(model).suffix or Path(model).exists() else canonical_name(model)


def _measure(model: Model, name: str | None, device: str) -> dict[str, Constant]:
    """Times of this machine; sizes of files are kept, because the image is made."""
    from torch_sr.cli.doctor.machine import find_processor
    from torch_sr.planning.measure import made_photo, measure_device, measure_files

    where = f"--measure: a made image, {find_processor()}"
    times = measure_files([made_photo(model.scale_factor)], where)
    found = {name: each for name, each in times.items() if not name.endswith("_bytes")}
    if device in _MEASURABLE:
        found |= measure_device(model, device, where, name)
    return found
