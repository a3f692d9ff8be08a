"""What is known of a model: architecture, sizes, number types, records."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from torch_sr.models.files.ncnn.reading import weights_path
from torch_sr.networks.configs import RRDBConfig

Tiling = Literal["free", "avoided", "never"]

_ONLY_IF_KNOWN = ("strength",)
_NOT_LISTED = ("config", "tensor_types")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model.

    Args:
        path: the weights file; None for a model made in memory, such as an interpolation.
        name: the name recorded in the file, otherwise the file's without suffix.
        architecture: ``RRDBNet``, spandrel's name of another, or the class of a custom network.
        layout: one of :data:`torch_sr.models.files.layouts.LAYOUTS`, or ``ncnn``; None for another
            architecture, or without a file.
        wrapper: keys of the file that contain the parameters, joined by ``/``; None if it contains
            nothing else.
        scale_factor: how many times higher and wider the output is.
        img_channels: channels of input and output: 1 (gray), 3 (RGB) or 4.
        config: the hyper-parameters of an RRDBNet; None for another architecture.
        num_parameters: how many parameters the network has.
        dtype: type of the stored parameters, such as ``float16``.
        stage: the training stage, if recorded.
        metadata: all other records, as text; see :mod:`torch_sr.models.files.records`.
        precisions: precisions that the network computes in without overflowing.
        tiling: ``free``; ``avoided`` for networks that look at whole images, which are cut into
            tiles only if they do not fit into memory; or ``never``.
        restriction: the license of the architecture, if it does not allow every use.
        strength: position between the two models of a pair, in [0, 1]; None for other models. See
            :func:`torch_sr.load`.
        tensor_types: how many stored tensors there are of each type.
    """

    path: Path | None = None
    name: str
    architecture: str
    layout: str | None = None
    wrapper: str | None = None
    scale_factor: int
    img_channels: int
    config: RRDBConfig | None = None
    num_parameters: int
    dtype: str
    stage: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")
    tiling: Tiling = "free"
    restriction: str | None = None
    strength: float | None = None
    tensor_types: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The weights files: none for a model in memory, two for ncnn."""
        if self.path is None:
            return ()
        return (self.path, weights_path(self.path)) if self.layout == "ncnn" else (self.path,)

    @property
    def origin(self) -> str:
        """The file, or the name of a model made in memory: how errors refer to the model."""
        return self.name if self.path is None else str(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        found["hparams"] = {} if self.config is None else self.config.to_dict()
        found["path"] = None if self.path is None else str(self.path)
        for key in _NOT_LISTED:
            del found[key]
        return {
            key: value
            for key, value in found.items()
            if value is not None or key not in _ONLY_IF_KNOWN
        }
