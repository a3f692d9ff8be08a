"""Overrides of a configuration: ``--set generator.num_basic_blocks=8``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch_sr.config.features import default_layer_weights
from torch_sr.config.messages import dotted, refusal, show
from torch_sr.config.sections import Hyperparameters
from torch_sr.config.stages import STAGES
from torch_sr.config.suggestions import section_at
from torch_sr.config.text import parse_value, split_list

_DATASETS = ("train_datasets", "val_datasets")
_PAIRS = ("cr_patch_size", "betas")


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set a value at one key, or in both stages.

    Args:
        data: as JSON has it; changed, but not the sections in it, which are replaced.
        override: ``key.key=value``; see :func:`~torch_sr.config.parse_config`.

    Raises:
        ConfigError: it has another form, or leads below a value.
    """
    path, equals, text = override.partition("=")
    if not equals:
        raise refusal(
            f"override {show(override)}",
            "it must be written as key.key=value, such as generator.num_basic_blocks=8",
        )
    keys = path.strip().split(".")
    if keys[0] not in Hyperparameters.model_fields and _is_of_both_stages(keys):
        for stage in STAGES:
            _set(data, [stage, *keys], text, override)
    else:
        _set(data, keys, text, override)


def _is_of_both_stages(keys: Sequence[str]) -> bool:
    sections = (section_at(Hyperparameters, [stage, *keys[:-1]]) for stage in STAGES)
    return all(section is not None and keys[-1] in section.model_fields for section in sections)


def _set(data: dict[str, Any], keys: Sequence[str], text: str, override: str) -> None:
    """Set one value; the sections that contain it are copied first."""
    *parents, last = keys
    default: Any = _defaults(data)
    for depth, key in enumerate(parents, start=1):
        default = default.get(key, {}) if isinstance(default, dict) else {}
        is_section = section_at(Hyperparameters, parents[:depth]) is not None
        inner = data.get(key, {} if is_section else default)  # keys that are not set stay so
        if not isinstance(inner, Mapping):
            where = dotted(parents[:depth])
            raise refusal(f"override {show(override)}", f"there is nothing below {where}")
        data[key] = dict(inner)
        data = data[key]
    try:
        data[last] = _read_value(text, last, default.get(last) if default else None)
    except ValueError as error:
        raise refusal(f"override {show(override)}", f"{error}, as in [64, 128]") from error


def _defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of all keys; that of layer_weights depends on the network."""
    defaults, section = Hyperparameters().to_dict(), data.get("perceptual_loss")
    if isinstance(section, Mapping) and "backbone" in section:
        weights = default_layer_weights(section["backbone"])
        defaults["perceptual_loss"]["layer_weights"] = weights
    return defaults


def _read_value(text: str, key: str, default: object) -> Any:
    """The value of an override; items without brackets become a list if the key needs one."""
    wants_list = isinstance(default, list)
    if key in _DATASETS:  # a folder may be called 2024, None or a'b
        return _read_datasets(text)
    value = parse_value(text)
    if wants_list and isinstance(value, str) and len(split_list(value)) > 1:
        return [parse_value(item) for item in split_list(value)]
    if wants_list and key not in _PAIRS and isinstance(value, int | float):
        return [value]
    return value


def _read_datasets(text: str) -> Any:
    """A list of names; only quoted names may contain commas."""
    text = text.strip()
    if text.startswith("(") and not text.endswith(")"):  # a folder: "(2024) trip"
        return split_list(text)
    value = parse_value(text)
    if value is None:
        return None
    if text.startswith(("[", "(")) and isinstance(value, list | tuple):
        return [item if isinstance(item, str) else str(item) for item in value]
    return [parse_value(item) if item[0] in "'\"" else item for item in split_list(text)]


def to_overrides(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Write a part of a configuration as overrides, such as ``generator.num_basic_blocks=8``."""
    overrides = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            overrides += to_overrides(value, f"{prefix}{key}.")
        else:
            overrides.append(f"{prefix}{key}={json.dumps(value)}")
    return overrides
