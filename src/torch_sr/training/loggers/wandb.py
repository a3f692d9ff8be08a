"""Log to Weights & Biases; check beforehand whether that is possible."""

from __future__ import annotations

import logging
import netrc
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from torch_sr.errors import LogError, MissingExtraError
from torch_sr.training.loggers.base import Logger
from torch_sr.training.loggers.graphs import traceable_copy

_log = logging.getLogger(__name__)
_REMEDY = "run 'wandb login', or set WANDB_API_KEY or WANDB_MODE=offline"
_OFFLINE = ("offline", "dryrun", "disabled", "shared")


class WandbLogger(Logger):
    """Log scalars, images and graphs; ``WANDB_MODE=offline`` needs no account.

    Both stages are one run of wandb; the names of their metrics start with the stage.

    Args:
        folder: where wandb stores its files.
        run: the name of the run; a resumed run continues its curves.
        project: the project in which wandb lists the run.
        optional: if the service cannot be reached, log only a warning.

    Raises:
        MissingExtraError: wandb is not installed.
        LogError: wandb is not logged in, or (at the start) cannot be reached.
    """

    def __init__(
        self, folder: Path, run: str, project: str = "torch-sr", *, optional: bool = False
    ) -> None:
        check_wandb()
        self._folder, self._name, self._project = folder, run, project
        self._stage = ""
        self._run: Any = None
        self._optional = optional
        self._given_up = False

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]
        if not self._starts():
            return
        self._run.config.update(run["hparams"], allow_val_change=True)
        # Each stage counts its steps from 0, but wandb's own counter only increases.
        self._run.define_metric(f"{self._stage}/step")
        self._run.define_metric(f"{self._stage}/*", step_metric=f"{self._stage}/step")

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        if self._run is None or self._run.disabled:  # a disabled run cannot take a graph
            return
        for name, (network, x) in networks.items():
            with traceable_copy(name, network) as traced, torch.no_grad():
                # wandb.watch gives the graphs of all networks the same name.
                from wandb.integration.torch.wandb_torch import TorchGraph

                graph: Any = TorchGraph.hook_torch(traced)  # type: ignore[no-untyped-call]
                traced(x.cpu())
                self._run.summary[f"{self._stage}/{name}"] = graph

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"epoch": epoch, "step": step, **metrics})

    def _starts(self) -> bool:
        if self._run is None and not self._given_up:
            try:
                self._run = start_wandb(self._folder, self._name, self._project)
            except LogError as error:
                if not self._optional:
                    raise
                self._given_up = True
                _log.warning("%s; the training is logged without it", error)
        return self._run is not None

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"step": step, **metrics})

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        if self._run is None:
            return
        import wandb

        logged = {
            name: wandb.Image(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())
            for name, image in images.items()
        }
        self._log({"step": step, **logged})

    def on_message(self, text: str) -> None:
        if self._run is not None:
            self._run.alert(title=self._stage, text=text)

    def _log(self, values: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.log({f"{self._stage}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


def check_wandb() -> str:
    """Check that a run can be logged, without starting one or prompting the user.

    Returns:
        the mode of wandb, such as ``online``, ``offline`` or ``disabled``.

    Raises:
        MissingExtraError: wandb is not installed.
        LogError: wandb is neither logged in nor offline.
    """
    try:
        import wandb
    except ImportError:
        raise MissingExtraError("wandb", "wandb") from None
    try:
        settings = wandb.setup().settings
    except Exception as error:  # wandb and pydantic raise many types for wrong settings
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
        LogError: the run cannot be started.
    """
    import wandb

    try:
        folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(project=project, id=run, name=run, dir=folder, resume="allow")
    except Exception as error:  # for example no connection, a wrong key, or a full disk
        raise LogError(
            f"wandb: {_REMEDY}: a run cannot be started: {_in_one_line(error)}"
        ) from error


def _in_netrc(address: str) -> bool:
    """Whether ``wandb login`` stored a key for a server."""
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
