"""The models that a benchmark compares, as options of its command line."""

from __future__ import annotations

import argparse
from dataclasses import replace

from torch_sr.evaluation.method import Method
from torch_sr.evaluation.methods import common_scale_factor, load_models, load_sweep
from torch_sr.models.interpolation import format_alphas

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add models, ``--partner``, ``--strengths`` and ``--device``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name, file, or LABEL=MODEL")
    parser.add_argument(
        "--partner", metavar="MODEL", help="mix the weights of the first MODEL with those of this"
    )
    parser.add_argument(
        "--strengths",
        nargs="+",
        type=float,
        metavar="S",
        help="shares of the partner, or of the shipped one, 0 to 1",
    )
    parser.add_argument("--device", default="cpu")


def load_methods(options: argparse.Namespace) -> tuple[int, list[Method]]:
    """The models of :func:`add_model_options`: mixtures first, then models as they are.

    Returns:
        Their factor, and the methods, which see images whole and without mirrored borders.

    Raises:
        ModelError: a model that cannot be read, networks that differ in architecture, or models of
            several factors.
    """
    if options.partner is None:
        strengths = options.strengths or ()
        methods = load_models(options.models, strengths=strengths, device=options.device)
        return common_scale_factor(methods), methods
    first, *others = options.models
    strengths = options.strengths or STRENGTHS
    mixtures = load_sweep(first, options.partner, alphas=strengths, device=options.device)
    labels = [f"strength {text}" for text in format_alphas(strengths)]
    methods = [replace(each, label=label) for each, label in zip(mixtures, labels, strict=True)]
    if others:
        methods += load_models(others, device=options.device, taken=labels)
    return common_scale_factor(methods), methods
