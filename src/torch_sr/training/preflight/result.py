"""The result of a check before a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from torch_sr.errors import TorchSRError

P = ParamSpec("P")


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check, in one line."""

    subject: str
    passed: bool
    text: str
    note: bool = False
    """Whether it reports a probable mistake that is not a failure."""

    @property
    def verdict(self) -> str:
        """``ok``, ``note`` or ``FAIL``."""
        return "FAIL" if not self.passed else "note" if self.note else "ok"


def attempt(
    subject: str, check: Callable[P, str], /, *args: P.args, **kwargs: P.kwargs
) -> CheckResult:
    """Run a check, which returns its result in words or raises a TorchSRError."""
    try:
        return CheckResult(subject, True, check(*args, **kwargs))
    except TorchSRError as error:
        return CheckResult(subject, False, " ".join(str(error).split()))
