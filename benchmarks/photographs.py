r"""Measure models on low resolution that is clean, compressed or noisy.

Degrades the low resolution of test sets, super-resolves it by bicubic interpolation and by every
model, whole and without mirrored borders, and compares with the originals:

- ``Y-PSNR`` under the papers' protocol, which measures fidelity and prefers blurred results
- the distance in features of networks trained on ImageNet (features.py), which is closer to what
  people see; choose a network that no model was trained with
- ``color``: the mean over all images of red, green and blue minus the originals', in 1/255, and
  the largest of a single image
- ``grid``: regular patterns in the spectrum, in dB above the originals' own (spectrum.py)

Run with::

    python benchmarks/photographs.py compact-x4 mine=runs/mine/best.pth --data-root ../shared/data
    python benchmarks/photographs.py faithful.safetensors --partner restoring.safetensors \
        --strengths 0 0.5 1 --datasets bsds500:val --limit 20 --data-root ../shared/data
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from features import NETWORKS, FeatureDistance
from methods import add_model_options, load_methods
from PIL import Image
from spectrum import PERIODS, grids
from torch import Tensor

from torch_sr.aliases import Array
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.resize import imresize
from torch_sr.errors import TorchSRError
from torch_sr.evaluation.method import BASELINE, Method
from torch_sr.images import convert, to_nchw
from torch_sr.metrics import PROTOCOLS, luma, prepare, psnr

_INPUTS = ("clean", "jpeg60", "noise10")
_SEED = 15


@dataclass(frozen=True)
class Score:
    """What was measured of one image under one method.

    Args:
        psnr: on luma, in dB.
        distances: to the original, by the network whose features were compared.
        color: mean red, green and blue minus the original's, in 1/255.
        grids: by period in pixels, in dB above the original's own.
    """

    psnr: float
    distances: dict[str, float]
    color: tuple[float, float, float]
    grids: dict[int, float]


def main() -> None:
    """Measure and print."""
    options = _parse()
    scale, models = load_methods(options)
    methods = [Method(BASELINE, partial(imresize, scale=float(scale))), *models]
    measures = {name: FeatureDistance(name) for name in options.features}
    tables = []
    for dataset in options.datasets:
        pairs = open_pairs(
            [dataset],
            data_root=options.data_root,
            scale_factor=scale,
            purpose="test",
            channels=3 if options.rgb else None,
        )
        for name in options.inputs:
            scores = _measure_set(methods, pairs, name, options.limit, measures)
            print(
                f"\n{dataset}, {name}, {len(scores[BASELINE])} images\n{_table(scores)}",
                flush=True,
            )
            tables.append({"dataset": dataset, "input": name, "scores": scores})
    if options.json is not None:
        text = json.dumps(tables, default=asdict, indent=1)
        options.json.write_text(f"{text}\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser)
    parser.add_argument("--datasets", nargs="+", default=["set14"], metavar="DATASET")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument(
        "--inputs", nargs="+", default=_INPUTS, type=_input, help="clean, jpegQUALITY, noiseSIGMA"
    )
    parser.add_argument("--features", nargs="+", default=["lite0", "lite2"], choices=NETWORKS)
    parser.add_argument("--limit", type=int, help="use only the first images of each data set")
    parser.add_argument(
        "--rgb", action="store_true", help="read gray images as RGB, which adds 0.1 dB on Set14"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the metrics of every image"
    )
    return parser.parse_intermixed_args()


def _input(text: str) -> str:
    if not re.fullmatch(r"clean|(jpeg|noise)\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: write clean, or such as jpeg60 or noise10")
    return text


# --- Degradation --------------------------------------------------------------------------------


def degraded(lr: Array, name: str, index: int) -> Array:
    """Low resolution of 8 bits as ``clean``, ``jpegQUALITY`` or ``noiseSIGMA`` names it."""
    kind, amount = re.fullmatch(r"([a-z]+)(\d*)", name).groups()  # type: ignore[union-attr]
    if kind == "jpeg":
        return _compressed(lr, int(amount))
    if kind == "noise":
        noise = np.random.default_rng([_SEED, index]).normal(0, int(amount), lr.shape)
        noisy: Array = (lr + noise).round().clip(0, 255).astype(np.uint8)
        return noisy
    return lr


def _compressed(pixels: Array, quality: int) -> Array:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).reshape(pixels.shape)


# --- Measures -----------------------------------------------------------------------------------


def _measure_set(
    methods: Sequence[Method],
    pairs: ImagePairs,
    name: str,
    limit: int | None,
    measures: dict[str, FeatureDistance],
) -> dict[str, list[Score]]:
    """The scores of each method, one for each image."""
    scores: dict[str, list[Score]] = {method.label: [] for method in methods}
    for index in range(min(len(pairs), limit or len(pairs))):
        lr, hr = (convert(image, np.uint8) for image in pairs[index])
        score = _scorer(hr, pairs.scale_factor, measures)
        seen = degraded(lr, name, index)
        for method in methods:
            scores[method.label].append(score(method.super_resolve(seen)))
    return scores


def _scorer(
    hr: Array, scale: int, measures: dict[str, FeatureDistance]
) -> Callable[[Array], Score]:
    """What compares images with one original."""
    original = torch.from_numpy(to_nchw(hr))
    protocol = PROTOCOLS["paper"]
    reference = prepare(original, scale, protocol)
    features = {name: measure.describe(original) for name, measure in measures.items()}
    own_grids = grids(_gray(original))

    def score(sr: Array) -> Score:
        image = torch.from_numpy(to_nchw(sr))
        distances = {
            name: measure.between(measure.describe(image), features[name])
            for name, measure in measures.items()
        }
        shift = (image - original).mean(dim=(0, 2, 3)).expand(3) * 255
        own = grids(_gray(image))
        return Score(
            float(psnr(prepare(image, scale, protocol), reference)),
            distances,
            tuple(shift.tolist()),
            {period: own[period] - own_grids[period] for period in PERIODS},
        )

    return score


def _gray(image: Tensor) -> Array:
    gray: Array = (luma(image) if image.shape[1] == 3 else image)[0, 0].numpy()
    return gray


# --- Tables -------------------------------------------------------------------------------------


def _table(scores: dict[str, list[Score]]) -> str:
    """A row a method; a distance is followed by its change against bicubic and the first model."""
    networks = list(scores[BASELINE][0].distances)
    first = list(scores)[1]
    title = ["method", "Y-PSNR", "gain"]
    for network in networks:
        title += [network, "to bicubic", "to first"]
    title += ["color R", "G", "B", "largest", *(f"grid {period}" for period in PERIODS)]
    rows = [title]
    for label, own in scores.items():
        level = _mean([score.psnr for score in own])
        baseline = _mean([score.psnr for score in scores[BASELINE]])
        row = [label, f"{level:.2f}", f"{level - baseline:+.2f}"]
        for network in networks:
            distance, *bases = (
                _mean([score.distances[network] for score in scores[other]])
                for other in (label, BASELINE, first)
            )
            row += [f"{distance:.4f}", *(f"{100 * (distance / base - 1):+.1f}%" for base in bases)]
        colors = np.array([score.color for score in own])
        row += [f"{value:+.2f}" for value in colors.mean(axis=0)]
        row.append(f"{np.abs(colors).max():.2f}")
        row += [f"{_mean([score.grids[period] for score in own]):+.1f}" for period in PERIODS]
        rows.append(row)
    return _aligned(rows)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


if __name__ == "__main__":
    try:
        main()
    except TorchSRError as error:
        sys.exit(str(error))
