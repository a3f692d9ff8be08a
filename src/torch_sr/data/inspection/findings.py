"""What a check of data sets returns: checked sets and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.data.sets.table import Purpose

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class CheckedSet:
    """The image pairs of a data set and their purpose.

    Args:
        label: its name in reports: ``bsds500:val``.
        purpose: ``train``, ``val`` or ``test``.
        pairs: its image pairs.
        other_side: the pairs on the other side of a split, which are not checked.
        degraded: whether its low resolution is degraded on purpose, so that a shift or a change
            of colors is not a fault.
    """

    label: str
    purpose: Purpose
    pairs: Sequence[FilePair]
    degraded: bool = False
    other_side: Sequence[FilePair] = ()


@dataclass(frozen=True)
class Finding:
    """A fault or a property of a data set.

    Args:
        severity: ``error`` if training or testing would suffer.
        check: the check that found it.
        dataset: label of the data set.
        message: one line: the fault, its value, and the remedy.
        images: the files concerned.
        value: the measured number, if any.
    """

    severity: Severity
    check: str
    dataset: str
    message: str
    images: tuple[str, ...] = ()
    value: float | None = None


@dataclass(frozen=True)
class CheckReport:
    """All checked data sets and all findings, errors first."""

    datasets: Sequence[CheckedSet]
    findings: Sequence[Finding]

    @property
    def passed(self) -> bool:
        """Whether there are no errors."""
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
