"""From constants and a workload to a plan.

An image costs time of the device (the network), time of processor cores (decoding, conversions,
encoding) and time of the network connection. On a GPU these overlap, because several images are in
progress, and the slowest one sets the pace: the bottleneck. A device ``cpu`` is one core that does
one after the other. Images are handed out in tasks, so a job ends with whole tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch_sr.errors import ConfigError
from torch_sr.planning.constants import Constant, Constants, Kind
from torch_sr.planning.limits import Limit, find_limits
from torch_sr.planning.workload import NetworkCost, Workload
from torch_sr.tiling import spans

PARTS = ("compute", "processors", "connection")
"""What may set the pace."""


@dataclass(frozen=True)
class ImageCost:
    """One image on one device.

    Args:
        compute: seconds of the device; of ``cpu``, of its core.
        core_seconds: of processor cores, to decode, convert and encode.
        cores: of each device.
        bytes_in, bytes_out: sizes of its files.
        connection: seconds of its connection to the stores.
        kinds: how each of :data:`PARTS` is known.
    """

    compute: float
    core_seconds: float
    cores: float
    bytes_in: float
    bytes_out: float
    connection: float
    kinds: dict[str, Kind]

    @property
    def processors(self) -> float:
        """Seconds, if all cores of the device are busy."""
        return self.core_seconds / self.cores

    @property
    def cores_needed(self) -> float:
        """Cores that keep up with the device."""
        return self.core_seconds / self.compute


@dataclass(frozen=True)
class Requests:
    """Requests to object stores.

    Args:
        gets: that read: GET and HEAD.
        puts: that write: PUT and POST.
        lists: LIST, billed as those that write.
    """

    gets: int
    puts: int
    lists: int


@dataclass(frozen=True)
class Money:
    """US dollars; None if a price is unknown.

    Args:
        devices, requests, storage, transfer: what costs money.
    """

    devices: float | None
    requests: float
    storage: float
    transfer: float | None

    @property
    def known(self) -> float:
        """The sum of what is known."""
        return float(sum(value for value in vars(self).values() if value is not None))

    @property
    def unknown(self) -> list[str]:
        """What has no price."""
        return [name for name, value in vars(self).items() if value is None]


@dataclass(frozen=True)
class Plan:
    """What a job costs.

    Args:
        workload, network: what is computed.
        image: the cost of an image.
        seconds_per_image: on one device.
        bottleneck: of :data:`PARTS`.
        images_per_task: that a worker is given at a time.
        devices, hours: how many devices compute how long, the end of the last task included.
        fastest_hours: the same at the highest published utilization; None if not estimated.
        requests, money: see there.
        limits: what the job approaches, the closest first.
        constants: that were used, by name.
    """

    workload: Workload
    network: NetworkCost
    image: ImageCost
    seconds_per_image: float
    bottleneck: str
    images_per_task: int
    devices: int
    hours: float
    fastest_hours: float | None
    requests: Requests
    money: Money
    limits: list[Limit]
    constants: dict[str, Constant]

    @property
    def device_hours(self) -> float:
        """Of all devices together."""
        return self.devices * self.hours

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.workload.images / (self.hours * 3600)

    @property
    def source_bytes(self) -> float:
        """Of all sources."""
        return self.workload.images * self.image.bytes_in

    @property
    def result_bytes(self) -> float:
        """Of all results, which have to be stored."""
        return self.workload.images * self.image.bytes_out

    @property
    def is_estimate(self) -> bool:
        """Whether the speed of the network or what sets the pace was not measured."""
        kinds = self.image.kinds
        return kinds["compute"] != "measured" or kinds[self.bottleneck] == "assumed"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "workload": asdict(self.workload),
            "network": asdict(self.network),
            "image": asdict(self.image) | {"cores_needed": self.image.cores_needed},
            "seconds_per_image": self.seconds_per_image,
            "bottleneck": self.bottleneck,
            "estimate": self.is_estimate,
            "images_per_task": self.images_per_task,
            "devices": self.devices,
            "hours": self.hours,
            "fastest_hours": self.fastest_hours,
            "device_hours": self.device_hours,
            "images_per_second": self.images_per_second,
            "source_bytes": self.source_bytes,
            "result_bytes": self.result_bytes,
            "requests": asdict(self.requests),
            "money": asdict(self.money)
            | {"known": self.money.known, "unknown": self.money.unknown},
            "limits": [asdict(each) | {"share": each.share} for each in self.limits],
            "constants": {name: each.to_dict() for name, each in sorted(self.constants.items())},
        }


def make_plan(workload: Workload, network: NetworkCost, constants: Constants) -> Plan:
    """What a job costs.

    Raises:
        ConfigError: the device is unknown, or no number of devices is in time.

    >>> from torch_sr.planning import NetworkCost, Workload, read_constants
    >>> network = NetworkCost("mine", "RRDBNet", scale_factor=4, macs=1_600_000)
    >>> plan = make_plan(Workload(1_000_000, 2.0, "h100", devices=8), network, read_constants())
    >>> plan.is_estimate, plan.requests.lists
    (True, 1001000)
    """
    constants = constants.replaced({})  # with a record of uses of its own
    image = _cost_of_image(workload, network, constants)
    seconds, bottleneck = _pace(image, workload.device)
    efficiency = constants["efficiency"]
    per_task = _images_per_task(workload, image, constants)
    devices, hours = _schedule(workload, per_task, seconds / efficiency)
    requests = _requests(workload, image, constants)
    return Plan(
        workload=workload,
        network=network,
        image=image,
        seconds_per_image=seconds,
        bottleneck=bottleneck,
        images_per_task=per_task,
        devices=devices,
        hours=hours,
        fastest_hours=_fastest(workload, network, constants, devices),
        requests=requests,
        money=_money(workload, image, requests, devices * hours, constants),
        limits=find_limits(
            constants,
            tasks=workload.images / per_task,
            gets=requests.gets,
            puts=requests.puts,
            images=workload.images,
            seconds=hours * 3600,
            devices=devices,
        ),
        constants=dict(constants.used),
    )


def devices_plan(plan: Plan, constants: Constants, devices: int) -> Plan:
    """The same job on another number of devices."""
    workload = replace(plan.workload, hours=None, devices=devices)
    return make_plan(workload, plan.network, constants)


def known_devices(constants: Constants) -> list[str]:
    """The devices whose speed is known."""
    measured = (name.split(".")[1] for name in constants.starting_with("speed."))
    return list(dict.fromkeys([*measured, *constants.names("device", "tflops")]))


def computed_pixels(height: int, width: int, overlap: int, tile_pixels: float) -> int:
    """Pixels that a network sees of an image, with its mirrored borders and overlapping tiles.

    >>> computed_pixels(100, 200, 0, 1e6), computed_pixels(100, 200, 10, 1e6)
    (20000, 26400)
    """
    side = max(1, math.isqrt(int(tile_pixels)))
    rows, columns = (spans(length + 2 * overlap, side, overlap) for length in (height, width))
    return len(rows) * rows[0].stop * len(columns) * columns[0].stop


def _cost_of_image(workload: Workload, network: NetworkCost, constants: Constants) -> ImageCost:
    result = workload.megapixels * network.scale_factor**2
    compute, kind = _compute_seconds(workload, network, constants)
    source, target = workload.source_format, workload.result_format
    core_names = [f"format.{source}.decode", "convert", f"format.{target}.encode"]
    decode, convert, encode = (constants[name] for name in core_names)
    bytes_in = _bytes(workload.source_megabytes, f"format.{source}.source_bytes", constants)
    bytes_out = _bytes(workload.result_megabytes, f"format.{target}.result_bytes", constants)
    bytes_in *= 1.0 if workload.source_megabytes else workload.megapixels * 1e6
    bytes_out *= 1.0 if workload.result_megabytes else result * 1e6
    share = "cpu" if workload.device == "cpu" else "gpu"
    return ImageCost(
        compute=compute,
        core_seconds=decode * workload.megapixels + (convert + encode) * result,
        cores=1.0 if share == "cpu" else _positive("cores.gpu", constants),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        connection=(bytes_in + bytes_out) * 8e-9 / _positive(f"network.{share}", constants),
        kinds={
            "compute": kind,
            "processors": _weakest(constants.kind(name) for name in core_names),
            "connection": constants.kind(f"network.{share}"),
        },
    )


def _compute_seconds(
    workload: Workload, network: NetworkCost, constants: Constants
) -> tuple[float, Kind]:
    """Seconds of the device for an image, and how they are known."""
    device = workload.device
    overlap = network.overlap
    pixels = computed_pixels(
        *workload.size(),
        int(constants["overlap"]) if overlap is None else overlap,
        constants["tile_pixels.cpu" if device == "cpu" else "tile_pixels.gpu"],
    )
    operations = 2 * network.macs * pixels
    own = f"speed.{device}.{network.name}"
    if own in constants:
        return operations / (_positive(own, constants) * 1e9), constants.kind(own)
    if others := constants.starting_with(f"speed.{device}."):
        slowest = min(others, key=lambda name: _value(constants, name))
        return operations / (_positive(slowest, constants) * 1e9), "assumed"
    if f"device.{device}.tflops" not in constants:
        raise ConfigError(f"device {device!r}: unknown; use {', '.join(known_devices(constants))}")
    peak = _positive(f"device.{device}.tflops", constants) * 1e12
    bandwidth = _positive(f"device.{device}.bandwidth", constants) * 1e9
    busy = operations / (peak * _positive("utilization", constants))
    moved = network.half_bytes * pixels / bandwidth
    return max(busy, moved), _weakest([constants.kind("utilization"), "cited"])


def _pace(image: ImageCost, device: str) -> tuple[float, str]:
    """Seconds between two images of a device, and what takes longest."""
    parts = {name: getattr(image, name) for name in PARTS}
    slowest = max(parts, key=parts.__getitem__)
    if device == "cpu":  # one core does one after the other; the connection needs no core
        return max(image.compute + image.processors, image.connection), slowest
    return parts[slowest], slowest


def _images_per_task(workload: Workload, image: ImageCost, constants: Constants) -> int:
    most = min(constants["task.images"], constants["task.bytes"] / image.bytes_in)
    return max(1, min(workload.images, int(most)))


def _schedule(workload: Workload, per_task: int, seconds: float) -> tuple[int, float]:
    """How many devices, and hours until the last task is done."""
    tasks = -(-workload.images // per_task)
    task_hours = per_task * seconds / 3600
    if workload.hours is None:
        devices = workload.devices or 1
    else:
        rounds = int(workload.hours / task_hours * (1 + 1e-9))  # of rounding
        if rounds < 1:
            raise ConfigError(
                f"hours {workload.hours:g}: write at least {task_hours:.2g}; a task of {per_task} "
                "images takes as long, on any number of devices"
            )
        devices = -(-tasks // rounds)
    return devices, -(-tasks // devices) * task_hours


def _fastest(
    workload: Workload, network: NetworkCost, constants: Constants, devices: int
) -> float | None:
    """Hours of as many devices at the highest published utilization."""
    best = constants.find("utilization.best")
    if best is None or constants.used.get("utilization") is None:
        return None
    if best.value <= constants["utilization"] or constants.kind("utilization") != "assumed":
        return None
    faster = constants.replaced({"utilization": best})
    image = _cost_of_image(workload, network, faster)
    seconds = _pace(image, workload.device)[0] / constants["efficiency"]
    per_task = _images_per_task(workload, image, faster)
    constants.used["utilization.best"] = best
    return _schedule(replace(workload, hours=None, devices=devices), per_task, seconds)[1]


def _requests(workload: Workload, image: ImageCost, constants: Constants) -> Requests:
    reads = math.ceil(image.bytes_in / _positive("store.read_bytes", constants))
    parts = max(1, math.ceil(image.bytes_out / _positive("store.part_bytes", constants)))
    writes: float = 1
    if image.bytes_out > constants["store.single_bytes"]:  # an upload in parts
        writes = constants["store.upload_requests"] + parts
    images = workload.images
    return Requests(
        gets=round(images * (constants["store.heads"] + reads)),
        puts=round(images * writes),
        lists=round(images * constants["store.lists"])
        + math.ceil(images / _positive("store.page", constants)),
    )


def _money(
    workload: Workload,
    image: ImageCost,
    requests: Requests,
    device_hours: float,
    constants: Constants,
) -> Money:
    stored = workload.images * image.bytes_out / 1e9
    moved = stored + workload.images * image.bytes_in / 1e9
    asked = requests.gets / 1000 * constants["price.gets"]
    asked += (requests.puts + requests.lists) / 1000 * constants["price.puts"]
    return Money(
        devices=_times(device_hours, workload.device_price),
        requests=asked,
        storage=stored * workload.months * constants["price.storage"],
        transfer=_times(moved, workload.transfer_price),
    )


def _times(number: float, price: float | None) -> float | None:
    return None if price is None else number * price


def _bytes(megabytes: float | None, name: str, constants: Constants) -> float:
    return constants[name] if megabytes is None else megabytes * 1e6


def _positive(name: str, constants: Constants) -> float:
    value = constants[name]
    if value == 0:
        raise ConfigError(f"{name} 0: write a number above 0")
    return value


def _value(constants: Constants, name: str) -> float:
    found = constants.find(name)
    return math.inf if found is None else found.value


def _weakest(kinds: Iterator[Kind] | list[Kind]) -> Kind:
    """How a figure is known that depends on several."""
    found = set(kinds)
    order: tuple[Kind, ...] = ("assumed", "given", "cited", "measured")
    return next(kind for kind in order if kind in found)
