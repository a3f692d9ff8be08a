"""Convert an option file of another program to a configuration and commands."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from torch_sr.config.importing import degradations, schedules
from torch_sr.config.importing.datasets import convert_training_data, convert_validation_data
from torch_sr.config.importing.draft import STATUSES, Draft, Entry
from torch_sr.config.importing.leaves import Leaf, OptionFile, read_options
from torch_sr.config.importing.losses import convert_losses
from torch_sr.config.importing.losses_found import choose_stage, find_losses
from torch_sr.config.importing.networks import convert_discriminator, convert_generator
from torch_sr.config.importing.programs import PROGRAMS, degrades, recognize
from torch_sr.config.importing.run_options import convert_run
from torch_sr.config.importing.testing import convert_tests
from torch_sr.config.messages import dotted, explain, refusal
from torch_sr.config.sections import Hyperparameters
from torch_sr.config.suggestions import section_at

_WINDOWS = os.name == "nt"
_SPECIAL = re.compile(r"[\s<>|&^%'()]")  # of the shells of Windows
_CONFIG_NAME = "CONFIG.json"


@dataclass(frozen=True)
class ImportedOptions:
    """What became of an option file.

    Args:
        file: its name.
        program: the title of the program that it is for.
        config: the configuration, with the keys that the file sets; None for a file of tests.
        commands: the words of the commands that do the same; ``CONFIG.json`` stands for the file
            of the configuration.
        entries: what became of every value, in the order of the lines; defaults come last.
    """

    file: str
    program: str
    config: Mapping[str, Any] | None
    commands: Sequence[Sequence[str]]
    entries: Sequence[Entry]

    @property
    def missing(self) -> int:
        """How many values have no counterpart."""
        return self.counts["missing"]

    @property
    def counts(self) -> dict[str, int]:
        """How many values each status has."""
        found = Counter(entry.status for entry in self.entries)
        return {status: found[status] for status in STATUSES}

    def command_lines(self, config_file: str = _CONFIG_NAME) -> list[str]:
        """The commands for a shell.

        Args:
            config_file: where the configuration is written.
        """
        return [
            _join([config_file if word == _CONFIG_NAME else word for word in words])
            for words in self.commands
        ]

    def config_text(self) -> str:
        """The configuration as JSON, ready for :func:`~torch_sr.config.load_config`."""
        assert self.config is not None
        return _write_json(self.config) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        return {
            "file": self.file,
            "program": self.program,
            "config": self.config,
            "commands": self.command_lines(),
            "counts": {status.replace(" ", "_"): n for status, n in self.counts.items()},
            "lines": [
                {
                    "line": entry.line or None,
                    "key": entry.key,
                    "value": _finite(entry.value),
                    "status": entry.status.replace(" ", "_"),
                    "becomes": dict(entry.becomes),
                    "note": entry.note,
                }
                for entry in self.entries
            ],
        }


def import_options(path: str | Path, program: str | None = None) -> ImportedOptions:
    """Convert an option file of BasicSR, Real-ESRGAN, neosr or traiNNer-redux.

    Args:
        path: YAML, or TOML if it ends in ``.toml``; of a training or of a test.
        program: a name of :data:`~torch_sr.config.importing.programs.PROGRAMS`; None recognizes it.

    Returns:
        the configuration, the commands, and what became of every value of the file.

    Raises:
        ConfigError: the file cannot be read, is not an option file, has a wrong value, or
            describes a network that torch-sr does not train. It names the line.

    >>> from tempfile import TemporaryDirectory
    >>> text = '''
    ... scale: 2
    ... datasets: {train: {dataroot_gt: photos, lq_size: 32, batch_size_per_gpu: 4}}
    ... network_g: {type: esrgan_lite}
    ... train: {total_iter: 1000, losses: [{type: l1loss, loss_weight: 1.0}]}
    ... '''
    >>> with TemporaryDirectory() as folder:
    ...     written = Path(folder, "options.yml").write_text(text)
    ...     imported = import_options(Path(folder, "options.yml"))
    >>> imported.program, imported.config["generator"]["num_basic_blocks"], imported.missing
    ('traiNNer-redux', 12, 0)
    """
    if program is not None and program not in PROGRAMS:
        raise refusal(f"program {program}", f"it must be one of {', '.join(PROGRAMS)}")
    file = read_options(Path(path))
    return convert_options(file, recognize(file) if program is None else program)


def convert_options(file: OptionFile, program: str) -> ImportedOptions:
    """Convert the values of an option file; see :func:`import_options`.

    Args:
        file: the values.
        program: a name of :data:`~torch_sr.config.importing.programs.PROGRAMS`.
    """
    kind = PROGRAMS[program]
    leaves: dict[str, Leaf] = {}
    repeated: list[tuple[Leaf, Leaf]] = []
    for leaf in file.leaves:
        key = kind.rename(leaf)
        if key in leaves:
            repeated.append((leaf, leaves[key]))
        else:
            leaves[key] = leaf
    draft = Draft(file, kind.title, leaves, kind.defaults)
    for leaf, first in repeated:
        _report_repeated(draft, leaf, first)
    is_training = any(leaf.path[0] == "train" for leaf in file.leaves)
    if is_training:
        _convert_training(draft, degraded=degrades(program, leaves))
        commands = [["torch-sr", "train", _CONFIG_NAME, *_words(draft.options)]]
    else:
        commands = convert_tests(draft)
    draft.finish()
    entries = sorted(draft.entries, key=lambda entry: (not entry.line, entry.line))
    config = _nest(draft.config) if is_training else None
    if config is not None:
        _check(file, config, entries)
    return ImportedOptions(file.name, kind.title, config, commands, entries)


def _report_repeated(draft: Draft, leaf: Leaf, first: Leaf) -> None:
    """Report a value whose key is in the file in two places."""
    if leaf.value == first.value:
        draft.skip(leaf, f"the same as in line {first.line}")
    else:
        draft.take(leaf, {}, f"the value in line {first.line} is used")


def _convert_training(draft: Draft, *, degraded: bool) -> None:
    losses = find_losses(draft)
    choose_stage(draft, losses)
    convert_generator(draft)
    convert_discriminator(draft)
    steps = schedules.convert_length(draft)
    schedules.convert_optimizers(draft)
    schedules.convert_schedule(draft, steps)
    schedules.convert_averaging(draft, losses)
    model = str(draft.value("model_type") or "").lower()
    convert_losses(draft, losses, relativistic=model == "esrganmodel")
    convert_training_data(draft)
    convert_validation_data(draft)
    degradations.convert_degradations(draft, used=degraded)
    convert_run(draft)


def _write_json(value: Any, indent: str = "") -> str:
    """JSON with a line for each key; lists are in one line."""
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    inner = f"{indent}  "
    lines = [f"{inner}{json.dumps(key)}: {_write_json(item, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _join(words: Sequence[str]) -> str:
    """Words as a line for the shell of this system."""
    if not _WINDOWS:
        return shlex.join(words)
    return " ".join(f'"{word}"' if _SPECIAL.search(word) else word for word in words)


def _finite(value: Any) -> Any:
    """A value that JSON has: infinity and NaN, in lists too, as texts."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command line."""
    words: list[str] = []
    for flag, value in options.items():
        words += [flag] if value is None else [flag, str(value)]
    return words


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nest the paths of hyper-parameters, in the order of the schema."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        section = nested
        *parents, key = path.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    return _sorted(nested, Hyperparameters, ())


def _sorted(
    data: Mapping[str, Any], root: type[BaseModel], path: tuple[str, ...]
) -> dict[str, Any]:
    section = section_at(root, path)
    if section is None:
        return dict(data)
    names = [name for name in section.model_fields if name in data]
    return {
        name: _sorted(data[name], root, (*path, name))
        if isinstance(data[name], Mapping)
        else data[name]
        for name in names
    }


def _check(file: OptionFile, config: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Check the configuration; an error names the line that a wrong value comes from."""
    try:
        Hyperparameters.model_validate(config)
    except ValidationError as invalid:
        error = invalid.errors(include_url=False)[0]
        where, text = dotted(error["loc"]), explain(error)
        keys = [where, text.partition(" is ")[0]]
        for entry in entries:
            if entry.line and any(key in entry.becomes for key in keys):
                name = f"{file.name}, line {entry.line}"
                raise refusal(name, f"{entry.key} cannot be taken over: {text}") from None
        raise refusal(file.name, f"cannot be taken over: {text}") from None
