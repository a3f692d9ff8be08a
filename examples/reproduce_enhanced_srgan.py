r"""Train the four configurations of enhanced-srgan's section 9 and make its tables and figures.

    python examples/reproduce_enhanced_srgan.py --data-root data --out-dir enhanced_srgan
    python examples/reproduce_enhanced_srgan.py --data-root data --out-dir trial --minute \
        --train-datasets photos --val-datasets set5

The first command takes days on a GPU. It can be stopped and started again at any time: finished
trainings are not repeated, and a stopped one resumes from its checkpoint. The second tries
everything with tiny networks, few steps and any data set. See reproduce_enhanced_srgan.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from torch_sr.config import load_config

CONFIGS = Path(__file__).parent.parent / "configs"
TRAININGS = {
    "128_cr_23_rrdb_div2k": "PRE CR: 128 / CR: 128 / 23 RRDBs / DIV2K",
    "p192_t128_cr_23_rrdb_div2k+bsds500": "PRE CR: 192 / CR: 128 / 23 RRDBs / DIV2K+BSDS500",
    "192_cr_23_rrdb_div2k": "PRE CR: 192 / CR: 192 / 23 RRDBs / DIV2K",
    "p192_t128_cr_16_rrdb_div2k+bsds500": "PRE CR: 192 / CR: 128 / 16 RRDBs / DIV2K+BSDS500",
}
"""The executions of section 9.1, by the names of their configurations."""
ALPHA = 0.8
"""Of the interpolated models of section 9.4."""
PROTOCOLS = ("enhanced-srgan", "paper")
CURVES = {
    "9.2.1 Train (PSNR-driven)": ("pretraining", ("train/content_loss",)),
    "9.2.2 Validation (PSNR-driven)": ("pretraining", ("val/content_loss", "val/PSNR", "val/SSIM")),
    "9.2.3 Train (GAN-based)": (
        "training",
        (
            "train/content_loss",
            "train/perceptual_loss",
            "train/g_adversarial_loss",
            "train/g_total_loss",
            "train/d_adversarial_loss",
        ),
    ),
    "9.2.4 Validation (GAN-based)": (
        "training",
        ("val/content_loss", "val/perceptual_loss", "val/PSNR", "val/SSIM"),
    ),
}
MINUTE = (
    *("batch_size=2", "generator.rrdb_channels=8", "generator.growth_channels=4"),
    *("discriminator.vgg_blk_ch=[8,8,16,16]", "pretraining.num_epoch=4", "training.num_epoch=2"),
    *("pretraining.num_steps=160", "training.num_steps=60", "pretraining.lr=0.002"),
    *("pretraining.ema_decay=0.9", "training.ema_decay=0.9"),
    *("watch.psnr_drop=null", "watch.color_drift=null"),  # so short a run says little of either
    *("perceptual_loss.vgg_type=vgg11", 'perceptual_loss.layer_weights={"conv1_1": 1}'),
)
"""What ``--minute`` changes in every configuration, beside :func:`shrink`."""


def main() -> None:
    """Train, interpolate, test, draw."""
    options = parse_options()
    names = options.only or list(TRAININGS)
    changes = [*choose_data(options), *options.set]
    if options.minute:
        changes = [*MINUTE, f"perceptual_loss.weights={write_vgg(options.out_dir)}", *changes]
    for name in names:
        train(name, options, [*(shrink(name) if options.minute else ()), *changes])
        collect(name, options.out_dir)
    models = options.out_dir / "models"
    kinds = ("PSNR", "ESRGAN", "ESRGAN-interp")
    paths = [models / f"{name}_{kind}.safetensors" for name in names for kind in kinds]
    text = ["# Section 9", draw_curves(names, options.out_dir)]
    text += [test(paths, protocol, options) for protocol in PROTOCOLS]
    page = options.out_dir / "README.md"
    page.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    print(page)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--out-dir", type=Path, default=Path("enhanced_srgan"))
    parser.add_argument(
        "--datasets", default="set5,set14", help="data sets to test on, comma-separated"
    )
    parser.add_argument(
        "--only", nargs="*", choices=list(TRAININGS), help="run only these trainings"
    )
    parser.add_argument("--train-datasets", help="instead of DIV2K and BSDS500, comma-separated")
    parser.add_argument("--val-datasets", help="the same for validation")
    parser.add_argument(
        "--minute", action="store_true", help="try everything with tiny networks and few steps"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="override a hyper-parameter, as in 'torch-sr train'",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", help="precision of the training")
    return parser.parse_args()


def choose_data(options: argparse.Namespace) -> list[str]:
    """The data sets of both stages, where the command names others."""
    chosen = {"train_datasets": options.train_datasets, "val_datasets": options.val_datasets}
    return [
        f"{stage}.{key}={json.dumps(names.split(','))}"
        for stage in ("pretraining", "training")
        for key, names in chosen.items()
        if names is not None
    ]


def write_vgg(out_dir: Path) -> Path:
    """One random layer in place of a VGG network's weights, so that a trial downloads nothing."""
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 64, 3)
    path = out_dir.absolute() / "random_vgg11.pth"
    out_dir.mkdir(parents=True, exist_ok=True)
    torch.save({f"features.0.{key}": value for key, value in layer.state_dict().items()}, path)
    return path


def shrink(name: str) -> list[str]:
    """What parts the trainings, made small: a quarter of the crops, a tenth of the blocks."""
    config = load_config(config_file(name))
    changes = [f"generator.num_basic_blocks={config.generator.num_basic_blocks // 10}"]
    for stage, section in config.stages.items():
        crop = [side // 4 for side in section.cr_patch_size or ()]
        changes.append(f"{stage}.cr_patch_size={crop}")
    return changes


def config_file(name: str) -> Path:
    """The configuration of a training."""
    return CONFIGS / f"esrgan_{name}.json"


def torch_sr(*arguments: object) -> str:
    """Run a command of torch-sr, in a process of its own; its errors are shown and end this."""
    words = [sys.executable, "-m", "torch_sr", *map(str, arguments)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def train(name: str, options: argparse.Namespace, changes: list[str]) -> None:
    """Both stages of a training, unless they are done; on from where they were stopped."""
    folder = options.out_dir / "runs" / name
    if find(folder, "*_RRDB_ESRGAN_x4_model.safetensors"):
        return
    print(f"training {TRAININGS[name]}", file=sys.stderr)
    checkpoint = find(folder, "*_checkpoint.pth")
    resume = ["--load-checkpoint", checkpoint] if checkpoint else []
    overrides = [word for change in changes for word in ("--set", change)]
    torch_sr(
        *("train", config_file(name), *overrides, *resume),
        *("--data-root", options.data_root, "--out", folder),
        *("--device", options.device, "--precision", options.precision),
    )


def find(folder: Path, pattern: str) -> Path | None:
    """The newest file of that name in ``saved_models``."""
    files = (folder / "saved_models").glob(pattern)
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def collect(name: str, out_dir: Path) -> None:
    """The three models of a training under the names of section 9.4."""
    models = out_dir / "models"
    models.mkdir(parents=True, exist_ok=True)
    for kind in ("PSNR", "ESRGAN"):
        file = find(out_dir / "runs" / name, f"*_RRDB_{kind}_x4_model.safetensors")
        assert file is not None, f"{name} has trained no {kind} model"
        shutil.copy(file, models / f"{name}_{kind}.safetensors")
    torch_sr(
        *("interpolate", models / f"{name}_PSNR.safetensors"),
        *(models / f"{name}_ESRGAN.safetensors", models / f"{name}_ESRGAN-interp.safetensors"),
        *("--alpha", ALPHA),
    )


def draw_curves(names: list[str], out_dir: Path) -> str:
    """The figures of 9.2, a file for each stage and kind, and the text that shows them."""
    from matplotlib.figure import Figure

    text = []
    for title, (stage, metrics) in CURVES.items():
        figure = Figure(figsize=(5 * len(metrics), 4), layout="constrained")
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for name in names:
                epochs, values = read_curve(out_dir / "runs" / name, stage, metric)
                axes.plot(epochs, values, marker=".", label=name)
            axes.set_title(metric)
            axes.set_xlabel("epoch")
        axes.legend(fontsize=7)
        file = out_dir / f"{title.partition(' ')[0]}.png"
        figure.savefig(file, dpi=110)
        text.append(f"## {title}\n\n![{title}]({file.name})")
    return "\n\n".join(text)


def read_curve(folder: Path, stage: str, metric: str) -> tuple[list[int], list[float]]:
    """Epochs and values of a metric in a stage; of a repeated epoch the last."""
    points: dict[int, float] = {}
    for file in sorted((folder / "logs").glob("*/metrics.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row: dict[str, Any] = json.loads(line)
            if row.get("stage") == stage and row.get(metric) is not None:
                points[int(row["epoch"])] = float(row[metric])
    return list(points), list(points.values())


def test(models: list[Path], protocol: str, options: argparse.Namespace) -> str:
    """The table of 9.5 under a protocol; the pictures of 9.3 and a report beside it."""
    folder = options.out_dir / f"results_{protocol}"
    report = options.out_dir / f"report_{protocol}.html"
    found = json.loads(
        torch_sr(
            *("test", *models, "--datasets", options.datasets, "--protocol", protocol, "--json"),
            *("--data-root", options.data_root, "--device", options.device),
            *("--out", folder, "--report", report),
        )
    )
    rows = [f"## 9.5 Comparison metrics, protocol {protocol}", ""]
    rows += ["| data set | model | PSNR (dB) | SSIM |", "|---|---|---|---|"]
    for dataset, methods in found["mean"].items():
        for method, means in methods.items():
            rows.append(f"| {dataset} | {method} | {means['psnr']:.2f} | {means['ssim']:.4f} |")
    return "\n".join([*rows, "", f"[every image]({report.name}), pictures in {folder.name}/"])


if __name__ == "__main__":
    main()
