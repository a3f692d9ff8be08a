"""``torch-sr serve`` as an application of Ray Serve: ``torch_sr.cli.serve.application:build``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from torch_sr.cli.serve.command import make_settings
from torch_sr.cli.serve.options import ServeOptions
from torch_sr.errors import ConfigError
from torch_sr.options import OptionField, option_fields
from torch_sr.options import build as build_options

_OF_RAY = {"host", "port", "open", "access_log", "ray"}
"""What is set up for Ray Serve and its proxies."""


def build(args: Mapping[str, Any]) -> Any:
    """The application, which Ray Serve builds with ``args``.

    Args:
        args: options of ``torch-sr serve`` by their names, without the dashes at the front.

    Raises:
        ConfigError: an option is unknown, or its value is wrong.
    """
    from torch_sr.serving.cluster.ingress import make_application

    options = read_options(args)
    return make_application(
        make_settings(options, on_cluster=True),
        options.cluster,
        token=options.token,
        no_token=options.no_token,
        hosts=options.allowed_hosts,
        page=options.page,
        grace=options.grace,
    )


def read_options(args: Mapping[str, Any]) -> ServeOptions:
    """The options of an application.

    Raises:
        ConfigError: one is unknown, or its value is wrong.

    >>> read_options({"max-upload": "5M", "ray-workers": "1:4"}).cluster.workers
    (1, 4)
    """
    fields = {field.name: field for field in option_fields(ServeOptions)}
    values = {}
    for given, value in args.items():
        name = given.replace("-", "_")
        if name not in fields or name in _OF_RAY:
            raise ConfigError(f"{given} is not an option of this application; leave it out")
        try:
            values[name] = _read(fields[name], value)
        except (ConfigError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ConfigError(f"{given}: {value}: {reason}") from error
    return build_options(ServeOptions, values)


def _read(field: OptionField, value: Any) -> Any:
    option = field.option
    if option.parse is not None:
        return option.parse(str(value))
    kind = Annotated[field.type, Field(ge=option.min, le=option.max)]  # type: ignore[name-defined]
    return TypeAdapter(kind).validate_python(value)
