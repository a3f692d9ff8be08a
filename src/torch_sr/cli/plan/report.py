"""The text of a plan."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from torch_sr.planning import Plan
from torch_sr.planning.limits import Limit

_WIDTH, _INDENT = 100, 14  # of the text, and of the names in it
_KNOWN = {"cited": "from published figures", "given": "as given", "assumed": "an estimate"}
_PACE = {"compute": "network", "processors": "processors", "connection": "connection"}
_PRICES = {"devices": "--device-price", "transfer": "--transfer-price"}


def to_text(plan: Plan) -> str:
    """The plan for people."""
    blocks = [_head(plan), _image(plan), _job(plan), _money(plan), _limits(plan), _sources(plan)]
    return "\n\n".join("\n".join(block) for block in blocks)


def _head(plan: Plan) -> Iterator[str]:
    work, network = plan.workload, plan.network
    images = f"{work.images:,} {'image' if work.images == 1 else 'images'}"
    yield (
        f"{images} of {work.megapixels:g} megapixels, {work.source_format} to "
        f"{work.result_format}, with {network.name} (x{network.scale_factor}), on "
        f"{_devices(plan.devices, work.device)}"
    )
    if plan.image.kinds["compute"] != "measured":
        yield (
            f"ESTIMATE: {network.name} was not measured on {work.device}; a short run there shows "
            "its speed."
        )
    elif plan.is_estimate:
        yield f"ESTIMATE: the {_PACE[plan.bottleneck]} was not measured, and it sets the pace."
    for limit in plan.limits:
        if limit.share > 1:
            yield (
                f"LIMIT: the job would wait for {limit.name}, {number(limit.share)} times as "
                f"long; {limit.remedy}."
            )


def _image(plan: Plan) -> Iterator[str]:
    image, device = plan.image, plan.workload.device
    yield "An image on one device"
    yield _row("network", f"{seconds(image.compute)}, {_known(image.kinds['compute'])}")
    cores = "the core" if device == "cpu" else f"{image.cores:g} cores"
    yield _row(
        "processors",
        f"{seconds(image.processors)} of {cores} to decode, convert and encode, "
        f"{_known(image.kinds['processors'])}",
    )
    yield _row(
        "connection",
        f"{seconds(image.connection)} for {size(image.bytes_in)} in and {size(image.bytes_out)} "
        f"out, {_known(image.kinds['connection'])}",
    )
    yield _row("bottleneck", _bottleneck(plan))


def _bottleneck(plan: Plan) -> str:
    image, device = plan.image, plan.workload.device
    text = f"the {_PACE[plan.bottleneck]}; {seconds(plan.seconds_per_image)} an image"
    if device == "cpu":
        return text
    if plan.bottleneck != "compute":
        text += f"; the {device} computes {image.compute / plan.seconds_per_image:.0%} of the time"
    return f"{text}; {number(image.cores_needed)} cores keep up with it"


def _job(plan: Plan) -> Iterator[str]:
    device, requests = plan.workload.device, plan.requests
    rate = plan.images_per_second * (plan.image.bytes_in + plan.image.bytes_out) * 8
    yield "The job"
    fastest = ""
    if plan.fastest_hours is not None and plan.fastest_hours < plan.hours:
        fastest = f"; {duration(plan.fastest_hours)} at the best published utilization"
    elif plan.fastest_hours is not None:
        fastest = "; not shorter at the best published utilization"
    yield _row("time", f"{duration(plan.hours)} on {_devices(plan.devices, device)}{fastest}")
    yield _row("device hours", number(plan.device_hours))
    yield _row("speed", f"{number(plan.images_per_second)} images/s")
    yield _row(
        "traffic",
        f"{size(plan.source_bytes)} in, {size(plan.result_bytes)} out, {number(rate / 1e9)} Gbit/s",
    )
    yield _row(
        "requests",
        f"{count(requests.gets)} reads, {count(requests.puts)} writes, "
        f"{count(requests.lists)} lists, if files are in an object store",
    )
    yield _row("storage", f"{size(plan.result_bytes)} of results")


def _money(plan: Plan) -> Iterator[str]:
    yield "Money, in US dollars"
    stored = plan.workload.months
    months = " for a month" if stored == 1 else f" for {stored:g} months"
    for name, value in vars(plan.money).items():
        if value is None:
            yield _row(name, f"unknown; give {_PRICES[name]}")
        else:
            yield _row(name, f"{number(value)}{months if name == 'storage' else ''}")
    rest = f", without {' and '.join(plan.money.unknown)}" if plan.money.unknown else ""
    yield _row("together", f"{number(plan.money.known)}{rest}")


def _limits(plan: Plan) -> Iterator[str]:
    yield "Limits, the nearest first"
    for limit in plan.limits:
        yield _row(_share(limit.share), _limit(limit, plan.workload.device))


def _limit(limit: Limit, device: str) -> str:
    text = f"{limit.name}: {number(limit.load)} of {number(limit.limit)} {limit.unit}"
    return f"{text}, reached at {_devices(limit.devices, device)}; {limit.remedy}"


def _sources(plan: Plan) -> Iterator[str]:
    yield "Sources"
    sources: dict[tuple[str, str, str], list[str]] = {}
    for name, each in plan.constants.items():
        value = f"{name} {number(each.value)} {each.unit}"
        sources.setdefault((each.kind, each.source, each.date), []).append(value)
    for kind, source, date in sorted(sources):
        dated = f" ({date})" if date else ""
        text = f"{', '.join(sources[kind, source, date])}: {kind}{dated}: {source}"
        yield _filled(text, "  ", 4)


def _row(name: str, text: str) -> str:
    return _filled(text, f"  {name:{_INDENT}}", _INDENT + 2)


def _filled(text: str, start: str, indent: int) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _known(kind: str) -> str:
    return _KNOWN.get(kind, kind)


def _share(share: float) -> str:
    if share > 1:
        return f"{number(share)} times"
    return "below 0.1%" if share < 0.001 else f"{share:.1%}"


def _devices(number: int, device: str) -> str:
    name = ("core" if number == 1 else "cores") if device == "cpu" else device
    return f"{number:,} {name}"


def number(value: float) -> str:
    """A number with three digits, or all digits of its integer part.

    >>> number(0.012345), number(12.345), number(38776.2)
    ('0.0123', '12.3', '38,776')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """A short time.

    >>> seconds(0.0123), seconds(2.5)
    ('12.3 ms', '2.5 s')
    """
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s"


def duration(hours: float) -> str:
    """A long time.

    >>> duration(0.01), duration(5), duration(100)
    ('36 s', '5 hours', '4.17 days')
    """
    if hours < 1 / 60:
        return f"{hours * 3600:.3g} s"
    if hours < 1:
        return f"{hours * 60:.3g} minutes"
    return f"{hours:.3g} hours" if hours < 72 else f"{hours / 24:,.3g} days"


def size(number: float) -> str:
    """Bytes with decimal prefixes.

    >>> size(999), size(1.5e9), size(2e16)
    ('999 B', '1.5 GB', '20 PB')
    """
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < 1000:
            return f"{number:.3g} {prefix}B"
        number /= 1000
    return f"{number:,.3g} EB"


def count(number: float) -> str:
    """A count in words.

    >>> count(1234), count(2_500_000), count(7e9)
    ('1,234', '2.5 million', '7 billion')
    """
    for value, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= value:
            return f"{number / value:,.3g} {name}"
    return f"{number:,.0f}"
