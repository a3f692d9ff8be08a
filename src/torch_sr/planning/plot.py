"""Draw the time of a job over the number of devices, and what the device hours cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_sr.errors import ConfigError
from torch_sr.planning.constants import Constants
from torch_sr.planning.costs import Plan, devices_plan

_INK, _GRAY, _PALE, _OWN, _OTHER = "#22262b", "#6b7280", "#eceef1", "#cf4257", "#7d93a8"
_STEPS = (1, 2, 5)
_MARKS: dict[float, str] = {
    1 / 60: "1 min",
    1: "1 h",
    24: "1 day",
    168: "1 week",
    720: "1 month",
    8760: "1 year",
    87600: "10 years",
    876000: "100 years",
}
"""Hours, and how they are written."""


def draw(plan: Plan, constants: Constants, out: Path) -> None:
    """Draw a picture of a plan and of the same job on other numbers of devices.

    Where a limit is reached, the job waits for it: more devices only cost more. The dotted line is
    without limits.

    Args:
        plan: to mark.
        constants: it was made of.
        out: the file; its suffix chooses the format.

    Raises:
        ConfigError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plans = [devices_plan(plan, constants, number) for number in _numbers(plan)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    _draw_hours(left, plan, plans)
    _draw_cost(right, plan, plans)
    work = plan.workload
    figure.suptitle(
        f"{work.images:,} images of {work.megapixels:g} megapixels with {plan.network.name}",
        x=0.012,
        ha="left",
        fontsize=12,
        fontweight="bold",
        color=_INK,
    )
    known = "ESTIMATE, not measured on this device" if plan.is_estimate else "Measured speed"
    figure.supxlabel(f"{known}. torch-sr plan", fontsize=8, color=_GRAY, x=0.012, ha="left")
    try:
        figure.savefig(out, dpi=100, facecolor="white")
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {out}: choose another file: {error}") from error
    finally:
        plt.close(figure)


def _numbers(plan: Plan) -> list[int]:
    """Numbers of devices around that of the plan: 1, 2, 5, 10 and so on."""
    top = 100 * max(plan.devices, 10)
    steps = [step * 10**power for power in range(8) for step in _STEPS]
    reached = (limit.devices for limit in plan.limits[:1])
    return sorted(step for step in {*steps, *reached, plan.devices} if step <= top)


def _draw_hours(axes: Any, plan: Plan, plans: list[Plan]) -> None:
    numbers = [each.devices for each in plans]
    hours = [each.hours * _waiting(each) for each in plans]
    axes.plot(numbers, [each.hours for each in plans], ":", color=_OTHER, linewidth=1.5, zorder=2)
    axes.plot(numbers, hours, color=_OWN, linewidth=2, zorder=3)
    axes.plot(plan.devices, plan.hours * _waiting(plan), "o", color=_OWN, markersize=8, zorder=4)
    _dress(axes, f"Time over the number of devices ({plan.workload.device})")
    axes.set_yscale("log")
    low, high = min(each.hours for each in plans), max(hours)
    shown = [(at, text) for at, text in _MARKS.items() if low / 3 <= at <= high * 3]
    axes.set_yticks([at for at, _ in shown], [text for _, text in shown])
    axes.minorticks_off()
    if (limit := plan.limits[0]).devices < numbers[-1]:
        axes.annotate(
            f"limit: {limit.name},\n{limit.devices:,} devices",
            (limit.devices, min(hours)),
            (8, 5),
            textcoords="offset points",
            va="bottom",
            fontsize=8,
            color=_GRAY,
        )


def _draw_cost(axes: Any, plan: Plan, plans: list[Plan]) -> None:
    """Price if it is known, otherwise device hours."""
    priced = plan.money.devices is not None
    numbers = [each.devices for each in plans]
    values = [_cost(each) for each in plans]
    axes.plot(numbers, values, color=_OWN, linewidth=2, zorder=3)
    if priced:
        rest = [each.money.known - (each.money.devices or 0.0) for each in plans]
        axes.fill_between(numbers, rest, color=_OTHER, alpha=0.25, linewidth=0, zorder=1)
        axes.fill_between(numbers, rest, values, color=_OWN, alpha=0.12, linewidth=0, zorder=1)
        for text, height in (
            ("requests, storage, transfer", rest[0] / 2),
            ("devices", (rest[0] + values[0]) / 2),
        ):
            axes.annotate(
                text,
                (numbers[0], height),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=_GRAY,
            )
    axes.plot(plan.devices, _cost(plan), "o", color=_OWN, markersize=8, zorder=4)
    left = "" if not plan.money.unknown else f", without {' and '.join(plan.money.unknown)}"
    _dress(axes, f"US dollars{left}" if priced else "Device hours")
    axes.set_ylim(0, min(1.1 * max(values), 5 * _cost(plan)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _waiting(plan: Plan) -> float:
    """How many times as long a job takes because it waits for the nearest limit."""
    return max(1.0, *(limit.share for limit in plan.limits), 0.0)


def _cost(plan: Plan) -> float:
    """US dollars if devices have a price, otherwise device hours; devices that wait cost, too."""
    waiting = _waiting(plan)
    if plan.money.devices is None:
        return plan.device_hours * waiting
    return plan.money.known + plan.money.devices * (waiting - 1)


def _dress(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(color=_PALE, zorder=0)
    axes.tick_params(length=0, labelsize=9, labelcolor=_GRAY, which="both")
    for spine in axes.spines.values():
        spine.set_visible(False)
