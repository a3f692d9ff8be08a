"""What a check of data sets is about, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch_sr.data.sets.file_pairs import FilePair, Purpose

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class CheckedSet:
    """A set of images and what it is for.

    Args:
        label: as it is reported: ``bsds500:val``.
        purpose: ``train``, ``val`` or ``test``.
        pairs: its images.
        degraded: whether its low resolution is meant to be more than shrunk, so that a shift or
            other colours are no fault.
    """

    label: str
    purpose: Purpose
    pairs: Sequence[FilePair]
    degraded: bool = False


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    Args:
        severity: ``error`` where training or testing would suffer.
        check: which check found it.
        dataset: label of the set.
        message: one line: what, its value, the remedy.
        images: the files concerned.
        value: what was measured, where there is a number.
    """

    severity: Severity
    check: str
    dataset: str
    message: str
    images: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """All sets and all that was found, the worst first."""

    datasets: Sequence[CheckedSet]
    findings: Sequence[Finding]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        datasets = [
            {
                "label": dataset.label,
                "purpose": dataset.purpose,
                "images": len(dataset.pairs),
                "with_lr": sum(pair.lr is not None for pair in dataset.pairs),
            }
            for dataset in self.datasets
        ]
        findings = [asdict(finding) for finding in self.findings]
        return {"passed": self.passed, "datasets": datasets, "findings": findings}
