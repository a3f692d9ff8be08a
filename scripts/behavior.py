r"""Print what a refactoring must not change: losses, weights, metrics and pixels, as JSON.

    python scripts/behavior.py > after.json
    git worktree add ../before COMMIT
    python scripts/behavior.py ../before > before.json
    diff before.json after.json

Everything is computed by PyTorch on the CPU, with one thread, in a temporary folder, and only
through commands: the four root scripts, whose options are frozen, and ``torch-sr upscale`` and
``models convert``. An option that a commit does not have is reported in the output, not as an
error. Losses and metrics are printed as numbers, pixels and weights as hashes. It takes about a
minute on an idle machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

Digests = dict[str, Any]
VGG11 = ((0, 3, 64), (3, 64, 128))
"""The first convolutions of VGG11, conv1_1 and conv2_1: place in the network, and channels."""
STAGE = {
    "num_epoch": 2,
    "lr": 1e-3,
    "cr_patch_size": [32, 32],
    "train_datasets": ["photos"],
    "val_datasets": ["photos"],
    "ema_decay": 0.9,
}
GAN_STAGE = {**{key: STAGE[key] for key in STAGE if key != "lr"}, "g_lr": 1e-3, "d_lr": 1e-3}
BASE = {
    "scale_factor": 2,
    "batch_size": 2,
    "seed": 3,
    "pretraining": STAGE,
    "training": GAN_STAGE,
    "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
    "discriminator": {"vgg_blk_ch": [4, 4, 8, 8], "fc_features": [5]},
}
DEGRADED = {
    "pretraining": {**STAGE, "extra_losses": {"ms_ssim": 0.1, "focal_frequency": 0.1}},
    "training": {
        **GAN_STAGE,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "gradient_clip": 1.0,
        "extra_losses": {"ldl": 0.5},
        "augmentation": {"spatial": "dihedral", "compression": 0.5, "coarse_dropout": 0.5},
    },
    "discriminator": {"kind": "unet", "unet_channels": 4},
    "degradation": {"probability": 1.0},
}
UPSCALE_OPTIONS = {
    "tiles": ("--tile-size", "24", "--overlap", "16"),
    "flips and rotations": ("--tta",),
    "strength": ("--strength", "0.3"),
}


def main() -> None:
    """Run everything on one checkout and print the digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    here = Path(__file__).parents[1]
    parser.add_argument("checkout", type=Path, nargs="?", default=here, help=f"Default: {here}")
    checkout = parser.parse_args().checkout.resolve()
    with tempfile.TemporaryDirectory() as folder:
        digests = digest(checkout, Path(folder))
    print(json.dumps(digests, indent=1))


def digest(checkout: Path, work: Path) -> Digests:
    """Compute all digests of a checkout."""
    run = partial(run_command, checkout, work)
    write_images(work)
    write_vgg11(work / "vgg11.safetensors")
    digests: Digests = {
        "train": train(run, work, "plain", {}),
        "train, degraded": train(run, work, "degraded", DEGRADED),
    }
    psnr, esrgan = (
        next((work / "plain" / "saved_models").glob(f"*_{kind}_*_best_model.safetensors"))
        for kind in ("PSNR", "ESRGAN")
    )
    mixed = work / "mixed.safetensors"
    code = run(
        "net_interpolation.py",
        *("--psnr-model-path", psnr, "--esrgan-model-path", esrgan, "--alpha", "0.8", mixed),
    )
    digests["net_interpolation"] = code or hash_weights(mixed)
    digests["test"] = test(run, work, mixed)
    digests["inference"] = upscale(run, work, "inference.py", "-m", mixed)
    digests["inference, compact-x4"] = upscale(run, work, "inference.py", "-m", "compact-x4")
    command = ("-m", "torch_sr", "upscale")
    for name, options in UPSCALE_OPTIONS.items():
        digests[f"upscale, {name}"] = upscale(run, work, *command, *options, only="png")
    for layout in ("old", "new", "enhanced-srgan"):
        target = work / f"{layout}.safetensors"
        code = run(
            *("-m", "torch_sr", "models", "convert", mixed, target),
            *("--layout", layout, "--dtype", "fp16"),
        )
        digests[f"convert, {layout}"] = code or hash_weights(target)
    return digests


def run_command(checkout: Path, work: Path, script: str, *arguments: object) -> str:
    """Run a script of the checkout; return the reason if it refused its options, otherwise ""."""
    if script != "-m":
        script = str(checkout / script)
    command = [sys.executable, script, *map(str, arguments)]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("WANDB")},
        "TORCH_SR_ENGINE": "torch",  # the results of other engines differ by rounding
        "HOME": str(work),
        "PYTHONPATH": str(checkout / "src"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TORCH_SR_HOME": str(work / "home"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    (work / "stdout").write_text(done.stdout)
    if done.returncode == 2:
        reason = re.search(r"(No such option|error|Invalid value)[^│\n]*", done.stderr)
        return reason.group().strip() if reason else "refused"
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
    return ""


def write_images(work: Path) -> None:
    """Write photo-like images of all kinds that are read and written differently."""
    for number in range(5):
        save(work / "data" / "photos" / f"{number}.png", draw(64, 80, number))
    save(work / "images" / "gray.png", draw(37, 52, 5)[..., 0])
    save(work / "images" / "rgb.jpg", draw(41, 53, 6))
    alpha = draw(40, 44, 7)[..., :1]
    save(work / "images" / "alpha.png", np.concatenate([draw(40, 44, 8), alpha], axis=2))
    deep = draw(38, 45, 9)[..., 0].astype(np.uint16) * 257
    save(work / "images" / "deep.png", deep)
    save(work / "images" / "tall.webp", draw(90, 30, 10), lossless=True)
    save(work / "images" / "tiff.tif", draw(33, 49, 11))


def draw(height: int, width: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Gradients, an edge and texture, ``(H, W, 3)``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    layers = [
        0.4 + 0.3 * np.sin(x / (3 + seed + c)) * np.cos(y / (4 + c)) + 0.2 * (x > y + c)
        for c in range(3)
    ]
    unit = np.stack(layers, axis=2) + rng.normal(0, 0.03, (height, width, 3))
    return np.asarray(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray[Any, Any], **options: Any) -> None:
    """Write pixels with Pillow, independently of the checkout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write_vgg11(path: Path) -> None:
    """Write random weights for the feature network, whose trained weights take 500 MB."""
    rng = np.random.default_rng(0)
    state = {}
    for place, inputs, outputs in VGG11:
        shape = (outputs, inputs, 3, 3)
        state[f"features.{place}.weight"] = 0.1 * rng.standard_normal(shape, dtype=np.float32)
        state[f"features.{place}.bias"] = np.zeros(outputs, np.float32)
    save_file(state, path)


def train(run: Any, work: Path, name: str, changes: Mapping[str, Any]) -> Digests:
    """Train both stages; return losses, validation metrics, and hashes of the weights."""
    loss = {
        "vgg_type": "vgg11",
        "layer_weights": {"conv1_1": 1.0, "conv2_1": 0.5},
        "weights": str(work / "vgg11.safetensors"),
    }
    config = work / f"{name}.json"
    config.write_text(json.dumps({**BASE, "perceptual_loss": loss, **changes}))
    out = work / name
    arguments = ("--device", "cpu", "--data-root", work / "data", "--out", out, "--name", name)
    if refused := run("train.py", config, *arguments):
        return {"refused": refused}
    (log,) = (out / "logs").rglob("metrics.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    models = sorted((out / "saved_models").glob("*_model.safetensors"))
    return {
        "metrics": [line for line in lines if "message" not in line],
        "weights": {path.name: hash_weights(path) for path in models},
    }


def test(run: Any, work: Path, model: Path) -> Digests:
    """Run ``test.py``; return its printed numbers and the hashes of its images."""
    out = work / "results"
    arguments = ("--data-root", work / "data", "--device", "cpu", "-o", out)
    if refused := run("test.py", "-d", "photos", *arguments, model):
        return {"refused": refused}
    printed = (work / "stdout").read_text()
    numbers = [re.findall(r"-?\d+\.\d+", line) for line in printed.splitlines()]
    return {
        "numbers": [" ".join(found) for found in numbers if found],
        "pixels": {path.name: hash_pixels(path) for path in sorted(out.rglob("*_sr.png"))},
    }


def upscale(run: Any, work: Path, *command: object, only: str = "*") -> Digests:
    """Run a command that upscales the images; return the hashes of the results."""
    script, *options = command
    with tempfile.TemporaryDirectory(dir=work) as out:
        images = sorted((work / "images").glob(f"*.{only}"))
        if refused := run(script, *options, "-o", f"{out}/", "--device", "cpu", *images):
            return {"refused": refused}
        return {path.name: hash_pixels(path) for path in sorted(Path(out).iterdir())}


def hash_pixels(path: Path) -> str:
    """Size and mode of an image, and the hash of its pixels."""
    with Image.open(path) as image:
        pixels = np.asarray(image)
        return f"{image.mode} {image.width}x{image.height} {short_hash([pixels.tobytes()])}"


def hash_weights(path: Path) -> str:
    """Hash of all tensors in a weights file: names, types, shapes and values."""
    state, parts = load_file(path), []
    for name, tensor in sorted(state.items()):
        parts += [f"{name} {tensor.dtype} {tensor.shape}".encode(), tensor.tobytes()]
    return f"{len(state)} tensors {short_hash(parts)}"


def short_hash(parts: Sequence[bytes]) -> str:
    """The first 16 digits of a SHA-256."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
