"""Whether Weights & Biases can be used here, found before a run starts; and starting it."""

from __future__ import annotations

import netrc
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from torch_sr.errors import LogError, MissingExtraError

_REMEDY = "run 'wandb login', or set WANDB_API_KEY or WANDB_MODE=offline"
_OFFLINE = ("offline", "dryrun", "disabled", "shared")


def check_wandb() -> str:
    """See that a run could be logged, without starting one or asking for anything.

    Returns:
        how it would be logged: ``online`` or ``offline``.

    Raises:
        MissingExtraError: when wandb is not installed.
        LogError: when it is neither logged in nor offline.
    """
    try:
        import wandb
    except ImportError:
        raise MissingExtraError("wandb", "wandb") from None
    try:
        settings = wandb.setup().settings
    except Exception as error:  # wandb and pydantic raise many kinds for wrong settings
        raise LogError(f"wandb: {_REMEDY}: {_in_one_line(error)}") from error
    mode = os.environ.get("WANDB_MODE") or settings.mode
    if mode in _OFFLINE:
        return str(mode)
    keys = (settings.api_key, os.environ.get("WANDB_API_KEY"))
    token = getattr(settings, "identity_token_file", None)
    if not (any(keys) or token or _in_netrc(settings.base_url)):
        raise LogError(f"wandb: {_REMEDY}: it is not logged in at {settings.base_url}")
    return str(mode)


def start_wandb(folder: Path, run: str, project: str) -> Any:
    """Start or resume a run of wandb.

    Raises:
        LogError: when that fails.
    """
    import wandb

    try:
        folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(project=project, id=run, name=run, dir=folder, resume="allow")
    except Exception as error:  # no connection, a wrong key, a full disk …
        raise LogError(
            f"wandb: {_REMEDY}: a run cannot be started: {_in_one_line(error)}"
        ) from error


def _in_netrc(address: str) -> bool:
    """Whether ``wandb login`` has stored a key for that server."""
    host = urlparse(address).hostname or address
    named = os.environ.get("NETRC")
    files = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    for file in files:
        with suppress(OSError, netrc.NetrcParseError, RuntimeError):
            if netrc.netrc(file.expanduser()).authenticators(host):
                return True
    return False


def _in_one_line(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return " ".join(text.split())[:200] or type(error).__name__
