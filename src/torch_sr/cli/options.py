"""Generate Typer options from settings classes; shared options.

A command is a function. A parameter annotated with an :class:`~torch_sr.options.Option` is an
option of the command line. A parameter whose type is a settings class (see
:mod:`torch_sr.options`) stands for all its options, and receives the complete object::

    def train(*, settings: RunSettings, check: Annotated[bool, Option("Find faults.")] = False): ...

Arguments are Typer's own. Typer parses the command line: it provides shell completion, panels in
the help, and error messages. Called from Python, a command is an ordinary function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from torch_sr.errors import TorchSRError
from torch_sr.options import (
    DATA_ROOT,
    DEVICE,
    DOWNLOAD,
    Option,
    OptionField,
    build,
    find_option,
    option_fields,
)

DataRoot = Annotated[Path, DATA_ROOT]
Download = Annotated[bool, DOWNLOAD]
Device = Annotated[str, DEVICE]
COMPUTATION = "Computation"
"""The panel of the options below, which ``upscale`` and ``test`` share."""
COMPUTE_DEVICE = replace(DEVICE, help=f"{DEVICE.help[:-1]}, vulkan (with ncnn).", panel=COMPUTATION)
PRECISION = Option("auto (fp16 on CUDA, else fp32), fp32, bf16 or fp16.", panel=COMPUTATION)
ENGINE = Option(
    "auto (the fastest that is exact), native (CPU, fp32, without PyTorch), torch, cuda (NVIDIA, "
    "experimental), ncnn (GPUs with Vulkan), or onnx (ONNX files, which need no other).",
    panel=COMPUTATION,
)
THREADS = Option(
    "Processors to compute with, on a CPU.", panel=COMPUTATION, min=1, default="all that are usable"
)
TILE_SIZE = Option("Largest tile, in pixels of the input.", panel=COMPUTATION, min=1)
AsJSON = Annotated[bool, Option("Print the result as JSON.", ("--json",))]
Overwrite = Annotated[bool, Option("Replace the new file if it exists already.")]
Overrides = Annotated[
    list[str] | None,
    Option("Override a hyper-parameter: generator.num_basic_blocks=8.", ("--set",)),
]


def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Convert a command for Typer: settings classes and descriptions become options."""
    classes: dict[str, type] = {}
    names: set[str] = set()
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind, option = parameter.annotation, find_option(parameter.annotation)
        if isinstance(kind, type) and is_dataclass(kind):
            classes[name] = kind
            names |= {field.name for field in option_fields(classes[name])}
            shown += map(_parameter, option_fields(classes[name]))
        elif option is not None:
            field = OptionField((name,), get_args(kind)[0], parameter.default, option)
            shown.append(_parameter(field, name))
        else:
            shown.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def call(**values: Any) -> Any:
        settings: dict[str, Any] = {name: build(kind, values) for name, kind in classes.items()}
        own = {name: value for name, value in values.items() if name not in names}
        return command(**own, **settings)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return call


def _parameter(field: OptionField, name: str | None = None) -> inspect.Parameter:
    """Convert an option to a parameter for Typer, with the option's name or another one."""
    option = field.option
    text = option.help if option.default is None else rf"{option.help} \[default: {option.default}]"
    made = typer.Option(
        *field.flags,
        help=text,
        rich_help_panel=option.panel,
        min=option.min,
        max=option.max,
        metavar=option.metavar,
        envvar=option.env,
        parser=None if option.parse is None else _parser(option.parse),
    )
    kind = field.type if option.parse is None else str
    return inspect.Parameter(
        name or field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[kind, made],
    )


def _parser(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A parser whose errors are usage errors; Typer also passes the default to it."""

    def convert(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except TorchSRError as error:
            raise typer.BadParameter(str(error)) from error

    return convert
