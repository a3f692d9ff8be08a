"""Prepare a test: load its methods, and build the settings of its metrics."""

from __future__ import annotations

from collections.abc import Sequence

from torch_sr.aliases import OnDownload
from torch_sr.devices import choose_device
from torch_sr.errors import DataError, ModelError
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.methods import (
    TILE_SIZE,
    common_scale_factor,
    load_models,
    load_sweep,
    sweep_labels,
)
from torch_sr.evaluation.metric_table import MetricSettings
from torch_sr.metrics import PROTOCOLS
from torch_sr.models.model import Model


def load_methods(
    models: Sequence[str],
    *,
    sweep: Sequence[Model] = (),
    sweep_steps: int = 5,
    strengths: Sequence[float] = (),
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "auto",
    threads: int | None = None,
    tile_size: int | None = None,
    on_download: OnDownload | None = None,
) -> list[Method]:
    """Load the models, and the interpolations of a sweep.

    Args:
        models, strengths, device, precision, engine, threads, on_download: see
            :func:`~torch_sr.evaluation.methods.load_models`.
        sweep: two models whose interpolations are also measured; may be empty.
        sweep_steps: number of steps from the first model to the second.
        tile_size: the largest tile; by default ``TILE_SIZE``.

    Raises:
        ModelError: a model cannot be read, or the scale factors differ.
    """
    size = tile_size or TILE_SIZE
    alphas = [step / sweep_steps for step in range(sweep_steps + 1)] if sweep else []
    methods = load_models(
        models,
        strengths=strengths,
        device=device,
        precision=precision,
        engine=engine,
        threads=threads,
        tile_size=size,
        taken=sweep_labels(alphas),
        on_download=on_download,
    )
    if not sweep:
        return methods
    first, second = sweep
    steps = load_sweep(
        first,
        second,
        alphas=alphas,
        device=device,
        precision=precision,
        engine=engine,
        threads=threads,
        tile_size=size,
    )
    factor, other = common_scale_factor(methods), common_scale_factor(steps)
    if factor != other:
        raise ModelError(
            f"--sweep: choose models of x{factor}, as the others are; these are of x{other}"
        )
    return [*methods, *steps]


def metric_settings(
    methods: Sequence[Method],
    protocols: Sequence[str],
    device: str,
    on_download: OnDownload | None = None,
) -> MetricSettings:
    """The settings of the metrics: the scale factor of the methods, the protocols, the device.

    Args:
        methods: the methods that are measured.
        protocols: the main one first.
        device, on_download: see
            :class:`~torch_sr.evaluation.metric_table.MetricSettings`.

    Raises:
        DataError: there is no protocol, or an unknown one.
        ModelError: the scale factors of the methods differ.
    """
    for name in protocols:
        if name not in PROTOCOLS:
            raise DataError(f"protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    if not protocols:
        raise DataError(f"name a protocol: {', '.join(PROTOCOLS)}")
    main, *further = (PROTOCOLS[name] for name in dict.fromkeys(protocols))
    on = str(choose_device(device))
    return MetricSettings(
        common_scale_factor(methods), main, on, further=tuple(further), on_download=on_download
    )
