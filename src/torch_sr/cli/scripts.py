"""The scripts ``train.py``, ``test.py``, ``inference.py`` and ``net_interpolation.py``.

They have the options of enhanced-srgan (docs/reference/description.md) and run the matching
commands of torch-sr. Additional options (``--data-root``, ``--device`` …) are in the help, but not
in the usage line. Some options that the description uses in examples, but not in its usage lines,
are accepted without being shown: ``train.py --config-json``, ``train.py --load-model-path``, and
the ESRGAN model as the first positional argument of ``net_interpolation.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import typer

from torch_sr.aliases import StageName
from torch_sr.cli.exits import run_command
from torch_sr.options import build, split_commas
from torch_sr.training.settings import Every


def train_main() -> None:
    """Run ``train.py``."""
    _run(train, sys.argv[1:])


def test_main() -> None:
    """Run ``test.py``."""
    _run(test, sys.argv[1:])


def inference_main() -> None:
    """Run ``inference.py``."""
    _run(inference, sys.argv[1:])


def net_interpolation_main() -> None:
    """Run ``net_interpolation.py``."""
    _run(net_interpolation, sys.argv[1:])


def train(arguments: Sequence[str]) -> None:
    """Run ``torch-sr train``, and log to Weights & Biases if it is configured."""
    options = parse_train(arguments)
    from torch_sr.cli.train.run import train_config
    from torch_sr.training.settings import RunSettings

    values = vars(options)
    if options.no_data_parallel:
        values["devices"] = 1
    if options.autocast:
        values["precision"] = _autocast_precision(values.get("device", "auto"))
    settings = replace(
        build(RunSettings, values),
        resume_auto=options.resume is not None,
        wandb_if_available=True,  # as the description does
    )
    train_config(options.config_file, settings, options.set, like=options.like)


def test(arguments: Sequence[str]) -> None:
    """Run ``torch-sr test``."""
    options = parse_test(arguments)
    from torch_sr.cli.test.options import MeasureOptions
    from torch_sr.cli.test.run import run_test

    run_test([options.model_path], build(MeasureOptions, vars(options)))


def inference(arguments: Sequence[str]) -> None:
    """Run ``torch-sr upscale``."""
    options = parse_inference(arguments)
    from torch_sr.cli.upscale.options import ComputeOptions, UpscaleOptions
    from torch_sr.cli.upscale.run import upscale_all

    folder = None if options.out_dir is None else os.path.join(options.out_dir, "")  # noqa: PTH118
    chosen = UpscaleOptions(
        model=options.model_path,
        out=folder,
        overwrite=True,
        compute=ComputeOptions(device=options.device),
    )
    upscale_all(options.images, chosen)


def net_interpolation(arguments: Sequence[str]) -> None:
    """Run ``torch-sr interpolate``."""
    options = parse_net_interpolation(arguments)
    from torch_sr.cli.interpolate.options import SweepOptions
    from torch_sr.cli.interpolate.run import write_sweep

    ends = [str(options.psnr_model_path), str(options.esrgan_model_path)]
    write_sweep(ends, str(options.alpha), options.out_model_path, SweepOptions())


def parse_train(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of ``train.py``; wrong usage exits with 2."""
    parser = _parser(
        "train.py",
        "[-h] [-l LOAD_CHECKPOINT] [-a] [--no-data-parallel] [-i CHECKPOINT_INTERVAL] "
        "[-w BEST_CHECKPOINT_WARMUP] [-s STORE_MODEL_INTERVAL] config_file",
        "Train a generator. Models and checkpoints go to saved_models/, logs to logs/.",
    )
    add = parser.add_argument
    add(
        "config_file",
        type=Path,
        nargs="?",
        help="JSON training configuration hyper-parameters",
    )
    add("--config-json", type=Path, help=argparse.SUPPRESS)
    add(
        "-l",
        "--load-checkpoint",
        type=Path,
        help="Path to the training checkpoint to resume, or to the model to start from",
    )
    add("--load-model-path", type=Path, dest="load_checkpoint", help=argparse.SUPPRESS)
    add(
        "-a",
        "--autocast",
        action="store_true",
        help="Compute in half precision (PyTorch autocast) on a GPU with CUDA; ignored elsewhere",
    )
    add(
        "--no-data-parallel",
        action="store_true",
        help="Use one GPU even if there are more",
    )
    add(
        "-i",
        "--checkpoint-interval",
        type=_epochs,
        default=Every(1),
        help="Epochs between stored checkpoints. Default: 1",
    )
    add(
        "-w",
        "--best-checkpoint-warmup",
        type=_not_negative,
        default=0,
        help="Epochs before a best checkpoint is stored. Default: 0",
    )
    add(
        "-s",
        "--store-model-interval",
        type=_epochs,
        help="Epochs between stored models. "
        "If not specified, only the best and the last are stored",
    )
    _add_run_options(parser, data_root=True, out_dir=True)
    _add_train_options(parser)
    options = parser.parse_args(arguments)
    if options.config_json is not None:
        if options.config_file is not None:
            parser.error("config_file and --config-json mean the same; give one of them")
        options.config_file = options.config_json
    if options.config_file is None:
        parser.error("the following arguments are required: config_file")
    return options


def parse_test(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of ``test.py``; wrong usage exits with 2."""
    parser = _parser(
        "test.py",
        "[-h] [-d DATASETS] [-s SHOW_RESULTS] [-o OUT_DIR] model_path",
        "Measure PSNR and SSIM of a model on data sets, next to bicubic interpolation, under two "
        "protocols: that of the papers (paper), and that of enhanced-srgan.",
    )
    add = parser.add_argument
    add("model_path", help="ESRGAN model path to test")
    add(
        "-d",
        "--datasets",
        default="set5,set14",
        help="Datasets to test the model with, separated by commas. Example: "
        "--datasets=set5,set14. Known are 'div2k', 'bsds500', 'set5', 'set14' and others; "
        "a folder of images can be given too. Default: set5,set14",
    )
    add(
        "-s",
        "--show-results",
        type=_not_negative,
        default=0,
        help="List the N images with the best PSNR (with --out-dir, also the files of their "
        "results), and show them if there is a display. If not specified, only metrics are printed",
    )
    add(
        "-o",
        "--out-dir",
        type=Path,
        dest="out",
        metavar="OUT_DIR",
        help="Directory for the results: OUT_DIR/<dataset>/<image>_sr.png, and _sheet.png, which "
        "compares them; without <dataset> if OUT_DIR has the name of the only data set. "
        "If not specified, results are not stored",
    )
    _add_protocol(parser)
    _add_run_options(parser, data_root=True)
    options = parser.parse_args(arguments)
    if not options.datasets.strip(" ,"):
        parser.error("argument -d/--datasets: name at least one data set")
    return options


def parse_inference(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of ``inference.py``; wrong usage exits with 2."""
    parser = _parser(
        "inference.py",
        "[-h] -m MODEL_PATH [-o OUT_DIR] images [images ...]",
        "Super-resolve images: photo.png becomes photo_sr.png.",
    )
    add = parser.add_argument
    add("images", nargs="+", help="Image files, folders of images, or patterns such as '*.png'")
    add(
        "-m",
        "--model-path",
        required=True,
        help="Input generator model path. Can be a checkpoint or a final model",
    )
    add(
        "-o",
        "--out-dir",
        type=Path,
        help="Output directory where inferred images are stored. "
        "If not specified, each is stored next to its source",
    )
    _add_run_options(parser)
    return parser.parse_args(arguments)


def parse_net_interpolation(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of ``net_interpolation.py``; wrong usage exits with 2."""
    parser = _parser(
        "net_interpolation.py",
        "[-h] --psnr-model-path PSNR_MODEL_PATH --esrgan-model-path ESRGAN_MODEL_PATH "
        "--alpha ALPHA out_model_path",
        "Interpolate the weights of two networks: (1 - alpha) * PSNR + alpha * ESRGAN.",
    )
    add = parser.add_argument
    add(
        "paths",
        type=Path,
        nargs="+",
        metavar="out_model_path",
        help="Output interpolated model (.safetensors or .pth)",
    )
    add(
        "--psnr-model-path",
        type=Path,
        required=True,
        help="PSNR-based (pre-training) input model path",
    )
    add("--esrgan-model-path", type=Path, help="ESRGAN-based (training) input model path")
    add(
        "--alpha",
        type=float,
        required=True,
        help="Network interpolation alpha: 0 is the PSNR model, 1 the ESRGAN model",
    )
    options = parser.parse_intermixed_args(arguments)  # one path may precede --alpha, one follow
    *before, options.out_model_path = options.paths
    if options.esrgan_model_path is None and len(before) == 1:
        options.esrgan_model_path = before.pop()
    if options.esrgan_model_path is None and not before:
        parser.error("the following arguments are required: --esrgan-model-path")
    if before:
        parser.error(f"unrecognized arguments: {' '.join(map(str, options.paths[1:]))}")
    return options


def _parser(prog: str, usage: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=prog, usage=f"{prog} {usage}", description=description)


def _add_run_options(
    parser: argparse.ArgumentParser, *, data_root: bool = False, out_dir: bool = False
) -> None:
    """Add options for this machine, which the description does not have."""
    add = parser.add_argument_group("on this machine").add_argument
    if data_root:
        add(
            "--data-root",
            type=Path,
            default=Path(os.environ.get("TORCH_SR_DATA") or "data"),
            help="Folder in which data sets are found by their usual names. "
            "Default: $TORCH_SR_DATA, else data",
        )
    if out_dir:
        add(
            "--out-dir",
            type=Path,
            dest="out",
            metavar="OUT_DIR",
            default=Path(),
            help="Parent of saved_models/ and logs/. Default: the working directory",
        )
    add(
        "--device",
        default="auto",
        help="auto (the first available of cuda, mps, cpu), cpu, cuda or mps. Default: auto",
    )


def _add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``torch-sr train`` that its messages suggest."""
    add = parser.add_argument_group("as in torch-sr train").add_argument
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Override a hyper-parameter: generator.num_basic_blocks=8",
    )
    add(
        "--like",
        metavar="MODEL",
        help="Take scale_factor, img_channels and generator.* from a model, by file or name",
    )
    add("--download", action="store_true", help="Download data sets that are missing")
    add(
        "--partial",
        action="store_true",
        help="Take only the parameters that fit from the model of -l",
    )
    add(
        "--start-stage",
        choices=get_args(StageName),
        help="Stage to begin with if -l names a model. Default: training",
    )
    add("--resume", choices=("auto",), help="auto: resume the newest checkpoint in --out-dir")
    add("--name", help="Name of the run and its files. Default: the time")
    add(
        "--val-metrics",
        type=split_commas,
        default=(),
        help="More metrics for validations: lpips,dists,niqe,brisque,perceptual_loss",
    )
    add(
        "--accumulate",
        type=_positive,
        default=1,
        help="Parts that mini-batches are split into, to save memory. Default: 1",
    )


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol",
        default="paper,enhanced-srgan",
        help="paper (luma, border cropped, 8 bit), enhanced-srgan (gray, nothing cropped or "
        "rounded) or rgb; several are separated by commas. Default: paper,enhanced-srgan",
    )


def _autocast_precision(device: str) -> str:
    """The precision for ``--autocast``: fp16 on CUDA; elsewhere fp32, with a note."""
    from torch_sr.devices import choose_device

    if choose_device(device).type == "cuda":
        return "fp16"
    print("note: --autocast needs a GPU with CUDA; training in full precision", file=sys.stderr)
    return "fp32"


def _epochs(text: str) -> Every:
    return Every(_positive(text))


def _positive(text: str) -> int:
    return _at_least(1, text)


def _not_negative(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def _run(script: Callable[[Sequence[str]], Any], arguments: Sequence[str]) -> None:
    """Run a script and exit with the exit codes of the commands."""

    def until_exit() -> None:
        try:
            script(arguments)
        except typer.Exit as stop:  # how the commands end early; only Typer handles it
            sys.exit(stop.exit_code)
        except typer.BadParameter as error:  # the commands refuse a value with it
            print(f"{Path(sys.argv[0]).name}: error: {error.message}", file=sys.stderr)
            sys.exit(2)

    run_command(until_exit)
