"""The models that a service offers, and their loaded upscalers.

A request names a model of this list; it never names a file, and nothing is downloaded for it.
"""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import ConfigError
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.catalog import ZOO
from torch_sr.models.loading import ModelChoice, choose_model, load
from torch_sr.models.model import Model
from torch_sr.models.weights import DEFAULT_MODEL, SHIPPED, canonical_name, find_pair
from torch_sr.models.zoo import name_of, open_model
from torch_sr.serving.batching import Device, OnBatch, SharedEngine
from torch_sr.serving.errors import RequestError
from torch_sr.serving.settings import ServiceSettings

FindModel = Callable[[str | Path], str | Path | Model]
"""The model of a name or file, or what to load it by."""


@dataclass(frozen=True)
class OfferedModel:
    """A model that clients may name.

    Args:
        name: for requests.
        scale_factor: how many times larger its results are.
        architecture: of its network.
        license: of its weights, if known.
        author: who trained it, if known.
        default_strength: that of the pair it belongs to; None without a partner.
        source: the name or file to load it by.
    """

    name: str
    scale_factor: int
    architecture: str
    license: str | None
    author: str | None
    default_strength: float | None
    source: str

    @property
    def summary(self) -> str:
        """A line about it."""
        parts = [f"{self.scale_factor}x", self.architecture, self.author, self.license]
        return ", ".join(part for part in parts if part)


class Offers:
    """The models that a service offers, the default first.

    Args:
        names: names or files of models; if empty, all that are on this machine are offered.

    Raises:
        ModelError: a model cannot be loaded.
        DownloadError: a model cannot be downloaded.
        ConfigError: two files have the same name.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        # Without names, the default is the pair at its default strength, as everywhere.
        self._pair_by_default = not names
        found = [_describe(name) for name in names] if names else _find_installed()
        self.models = {model.name: model for model in found}
        if len(self.models) < len(found):
            raise ConfigError(f"two models have the same name; rename one: {', '.join(names)}")

    @property
    def default(self) -> OfferedModel:
        """The model of requests that name none."""
        return next(iter(self.models.values()))

    def find(self, name: str | None) -> OfferedModel:
        """The model that a request names.

        Raises:
            RequestError: it is not offered.
        """
        if name is None:
            return self.default
        model = self.models.get(name) or self.models.get(canonical_name(name))
        if model is None:
            near = difflib.get_close_matches(canonical_name(name), self.models, n=1)
            raise RequestError(
                "this model is not offered",
                field="model",
                value=name,
                remedy=f"did you mean {near[0]}?" if near else f"use {', '.join(self.models)}",
            )
        return model

    def choose(self, name: str | None, strength: float | None) -> ModelChoice:
        """The model and the strength that are computed.

        Raises:
            RequestError: the model is not offered, or has no partner.
        """
        model = self.find(name)
        if strength is not None and model.default_strength is None:
            raise RequestError(
                f"{model.name} has no strength",
                field="strength",
                value=strength,
                remedy="leave it out",
            )
        if name is None and self._pair_by_default:
            return choose_model(None, strength)
        return choose_model(model.source, strength)


class Upscalers:
    """The upscalers of one device, of which the last few used stay loaded.

    Args:
        settings: of the service.
        name: of the device.
        on_batch: see :data:`~torch_sr.serving.batching.OnBatch`.
        find_model: returns what to load for the name of a model.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        name: str = "auto",
        on_batch: OnBatch | None = None,
        find_model: FindModel = lambda name: name,
    ) -> None:
        self._settings = settings
        self._name = name
        self._device = Device()
        self._on_batch = on_batch
        self._find_model = find_model
        self._loading = threading.Lock()
        self._loaded: OrderedDict[tuple[ModelChoice, bool], Upscaler] = OrderedDict()

    @property
    def num_loaded(self) -> int:
        """How many are loaded."""
        return len(self._loaded)

    def get(self, choice: ModelChoice, *, tta: bool = False) -> Upscaler:
        """The upscaler of a model, loaded now if it is not yet.

        Raises:
            ModelError, DeviceError: as :class:`torch_sr.Upscaler`.
        """
        key = (choice, tta)
        with self._loading:
            if key not in self._loaded:
                self._loaded[key] = self._load(choice, tta=tta)
            self._loaded.move_to_end(key)
            while len(self._loaded) > self._settings.loaded_models:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _load(self, choice: ModelChoice, *, tta: bool) -> Upscaler:
        how = self._settings
        return Upscaler(
            self._find_model(choice.model),
            strength=choice.strength,
            device=self._name,
            precision=how.precision,
            engine=how.engine,
            threads=how.threads,
            tile_size=how.tile_size,
            tta=tta,
            wrap_engine=lambda engine: SharedEngine(engine, self._device, self._on_batch),
        )


def _find_installed() -> list[OfferedModel]:
    """The shipped models, and those that are installed or downloaded; nothing is downloaded."""
    shipped = [DEFAULT_MODEL, *(name for name in SHIPPED if name != DEFAULT_MODEL)]
    others = [
        OfferedModel(
            model.name,
            model.scale_factor,
            model.architecture,
            model.license,
            model.author,
            None,
            model.name,
        )
        for model in ZOO.values()
        if model.found_path is not None
    ]
    return [*map(_describe, shipped), *others]


def _describe(name: str) -> OfferedModel:
    """Load a model once, so that errors are found when the service starts."""
    model = open_model(name) if find_pair(name) is None else load(name)
    known = model.info.path is not None and name_of(model.info.path)
    short = canonical_name(name) if find_pair(name) or known else Path(name).stem
    pair = find_pair(name)
    return OfferedModel(
        name=known or short,
        scale_factor=model.scale_factor,
        architecture=model.info.architecture,
        license=model.info.metadata.get("license"),
        author=model.info.metadata.get("author"),
        default_strength=pair.default_strength if pair else None,
        source=name,
    )
