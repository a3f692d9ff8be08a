"""Measure training: images per second and memory of a step, random crops per second.

::

    python benchmarks/training.py configs/compact_x4.json --data-root data
    python benchmarks/training.py configs/compact_x4.json --data-root data --basicsr ../BasicSR

What is timed is one step of the pre-training stage (forward, content loss, backward, Adam, learning
rate, average of the weights) on a batch that lies on the device already, and the loader that cuts
and turns the crops, on one core. The result is one JSON object on stdout; progress and errors go
to stderr. A configuration's compressions, dropouts and pipelines are left out.

With ``--basicsr`` the same is done with BasicSR (Wang et al., https://github.com/XPixelGroup/BasicSR)
in the same process, in rounds that take turns so that what else the machine does meets both: its
SRModel and its PairedImageDataset, as they are, eager and in fp32, on the same batch, from the same
initial weights, with PNG sub-images of the same images on disk. Both networks must compute the
same image first. ``PATH`` is a checkout, or the folder above an installed ``basicsr``. Beyond our
own dependencies BasicSR imports cv2 (opencv-python-headless), scipy, lmdb, addict, future,
requests, tqdm and yapf.

Every peak of memory is taken in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from torch_sr.config import PSNR_STAGE, Hyperparameters, load_config
from torch_sr.data.crops.random_crops import RandomCrops, to_float, training_loader
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.devices import choose_device
from torch_sr.errors import ConfigError, TorchSRError
from torch_sr.images import Image, write_image
from torch_sr.training.building import build_generator, build_stage, prepare_network
from torch_sr.training.context import RunContext
from torch_sr.training.launch import launch
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_data import open_crops

OURS, THEIRS = "torch-sr", "basicsr"
PLAIN = (  # what BasicSR does too: the eight flips and rotations
    f"{PSNR_STAGE}.num_epoch=1",
    f"{PSNR_STAGE}.augmentation.spatial=dihedral",
    f"{PSNR_STAGE}.augmentation.compression=0",
    f"{PSNR_STAGE}.augmentation.coarse_dropout=0",
    f"{PSNR_STAGE}.augmentation.pipeline=null",
)
WARM_UP_STEPS = 2
MEMORY_STEPS = 2  # Adam's state comes with the first, and is there in the second
SUB_IMAGE, SUB_IMAGES = 480, 48
LOADER_SECONDS = 0.5
TOLERANCE = 1e-4

Step = Callable[[Tensor, Tensor], object]
Batches = Iterator[int]
"""A loader at work: the length of one batch after another."""


@dataclass(frozen=True)
class Benchmark:
    """What the command line asks for."""

    config: Hyperparameters
    settings: RunSettings
    basicsr: Path | None
    steps: int
    rounds: int

    @property
    def device(self) -> torch.device:
        """Where the steps are done."""
        return choose_device(self.settings.device)


# --- the step -----------------------------------------------------------------------------------


def build_ours(benchmark: Benchmark) -> tuple[nn.Module, Step]:
    """The network of torch-sr and a step of it, put together as a run does."""
    config, settings = benchmark.config, benchmark.settings
    context = RunContext("benchmark", launch(settings), config, settings)
    generator = prepare_network(build_generator(config), settings)
    stage = build_stage(
        PSNR_STAGE, context, generator=generator, perceptual=None, total_steps=1_000_000
    )
    return generator, stage.train_step


def build_theirs(benchmark: Benchmark) -> tuple[nn.Module, Step]:
    """BasicSR's SRModel for the same network and the same hyper-parameters."""
    import_basicsr(benchmark)
    from basicsr.models.sr_model import SRModel

    section, sizes = benchmark.config.pretraining, benchmark.config.generator
    model = SRModel(
        {
            "num_gpu": 1 if benchmark.device.type == "cuda" else 0,
            "is_train": True,
            "dist": False,
            "path": {},
            "network_g": {
                "type": "RRDBNet",
                "num_in_ch": 3,
                "num_out_ch": 3,
                "num_feat": sizes.rrdb_channels,
                "num_block": sizes.num_basic_blocks,
                "num_grow_ch": sizes.growth_channels,
            },
            "train": {
                "ema_decay": section.ema_decay,
                "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
                "optim_g": {"type": "Adam", "lr": section.lr, "betas": list(section.betas)},
                "scheduler": {"type": "MultiStepLR", "milestones": [1_000_000], "gamma": 0.5},
            },
        }
    )
    model.net_g.load_state_dict(build_generator(benchmark.config).state_dict())
    if section.ema_decay:
        model.model_ema(0)

    def step(lr: Tensor, hr: Tensor) -> None:
        model.update_learning_rate(1)
        model.feed_data({"lq": lr, "gt": hr})
        model.optimize_parameters(1)

    return model.net_g, step


def import_basicsr(benchmark: Benchmark) -> None:
    """Make ``basicsr`` importable: its checkout lacks one module, today's torchvision another."""
    if "basicsr" in sys.modules:
        return
    from torchvision.transforms import functional

    moved: Any = ModuleType("torchvision.transforms.functional_tensor")
    moved.rgb_to_grayscale = functional.rgb_to_grayscale
    version: Any = ModuleType("basicsr.version")
    version.__version__ = version.__gitsha__ = "unknown"
    sys.modules |= {moved.__name__: moved, version.__name__: version}
    sys.path.insert(0, str(benchmark.basicsr))
    try:
        from basicsr.utils import get_root_logger
    except ImportError as error:
        raise ConfigError(f"--basicsr {benchmark.basicsr}: cannot be imported: {error}") from error
    get_root_logger(log_level=logging.WARNING)  # or it prints the whole network


def measure_step(benchmark: Benchmark) -> dict[str, float]:
    """Images per second of each contestant, the median of rounds that take turns."""
    built = {name: BUILDERS[name](benchmark) for name in contestants(benchmark)}
    lr, hr = make_batch(benchmark)
    check_same_output([network for network, _ in built.values()], lr)

    def rate(step: Step, steps: int) -> float:
        synchronize(benchmark.device)
        started = time.perf_counter()
        for _ in range(steps):
            step(lr, hr)
        synchronize(benchmark.device)
        return steps * len(hr) / (time.perf_counter() - started)

    for _, step in built.values():
        rate(step, WARM_UP_STEPS)
    rates = {
        name: lambda step=step: rate(step, benchmark.steps) for name, (_, step) in built.items()
    }
    return take_turns(rates, benchmark.rounds, "images/s")


def measure_memory(benchmark: Benchmark, name: str) -> float:
    """Peak memory in MB: all that CUDA holds, or by how much steps make the process grow."""
    _, step = BUILDERS[name](benchmark)
    lr, hr = make_batch(benchmark)
    before = peak_resident_bytes()
    for _ in range(MEMORY_STEPS):
        step(lr, hr)
    if benchmark.device.type == "cuda":
        return torch.cuda.max_memory_allocated(benchmark.device) / 1e6
    return (peak_resident_bytes() - before) / 1e6


def make_batch(benchmark: Benchmark) -> tuple[Tensor, Tensor]:
    """Random images in [0, 1] on the device, the same in every process."""
    config = benchmark.config
    random_numbers = torch.Generator().manual_seed(config.seed)
    shape = (config.batch_size, config.img_channels, *config.pretraining.cr_patch_size)
    hr = torch.rand(shape, generator=random_numbers)
    lr = nn.functional.avg_pool2d(hr, config.scale_factor)
    return lr.to(benchmark.device), hr.to(benchmark.device)


def check_same_output(networks: list[nn.Module], lr: Tensor) -> None:
    """Refuse to compare networks that do not compute the same."""
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        first, *others = [network.forward(lr) for network in networks]  # not the compiled call
    for other in others:
        difference = (first - other).abs().max().item()
        if not difference <= TOLERANCE:
            raise TorchSRError(f"the two networks differ by {difference:.2g}; they must agree")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def peak_resident_bytes() -> int:
    """The most memory this process has had."""
    from resource import RUSAGE_SELF, getrusage  # not on Windows

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# --- the loader ---------------------------------------------------------------------------------


def measure_loader(benchmark: Benchmark) -> dict[str, float]:
    """Pairs of crops per second and core of each contestant, the median of rounds."""
    crops = open_crops(PSNR_STAGE, benchmark.config, benchmark.settings)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        batches = {OURS: our_batches(crops, benchmark.config.batch_size)}
        if benchmark.basicsr:
            write_sub_images(crops.pairs, Path(folder))
            batches[THEIRS] = their_batches(benchmark, Path(folder))
        rates = {name: lambda each=each: crops_per_second(each) for name, each in batches.items()}
        take_turns(rates, 1, "crops/s, to warm up")
        return take_turns(rates, benchmark.rounds, "crops/s")


def our_batches(crops: RandomCrops, batch_size: int) -> Batches:
    """The training loader, and the floats that a step begins with, epoch after epoch."""
    loader, sampler = training_loader(crops, batch_size)
    while True:
        for lr, hr in loader:
            yield len(to_float(lr)) and len(to_float(hr))
        sampler.epoch += 1


def their_batches(benchmark: Benchmark, folder: Path) -> Batches:
    """BasicSR's data set of images on disk, in PyTorch's loader."""
    import_basicsr(benchmark)
    from basicsr.data.paired_image_dataset import PairedImageDataset

    config = benchmark.config
    random.seed(config.seed)
    crops = PairedImageDataset(
        {
            "dataroot_gt": str(folder / "hr"),
            "dataroot_lq": str(folder / "lr"),
            "io_backend": {"type": "disk"},
            "phase": "train",
            "scale": config.scale_factor,
            "gt_size": config.pretraining.cr_patch_size[0],
            "use_hflip": True,
            "use_rot": True,
        }
    )
    order = RandomSampler(crops, generator=torch.Generator().manual_seed(config.seed))
    loader = DataLoader(crops, batch_size=config.batch_size, sampler=order, drop_last=True)
    while True:
        for batch in loader:
            yield len(batch["gt"])


def crops_per_second(batches: Batches) -> float:
    """Draw batches for a while."""
    crops, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < LOADER_SECONDS:
        crops += next(batches)
    return crops / seconds


def write_sub_images(pairs: ImagePairs, folder: Path) -> None:
    """Store overlapping squares of the largest images as PNG, as BasicSR's guide does."""
    for name in ("lr", "hr"):
        (folder / name).mkdir()
    for number, both in zip(range(SUB_IMAGES), sub_images(pairs), strict=False):
        for name, pixels in zip(("lr", "hr"), both, strict=True):
            write_image(folder / name / f"{number:04}.png", Image.from_array(pixels))


def sub_images(pairs: ImagePairs) -> Iterator[tuple[Any, Any]]:
    """LR and HR of squares of 480 pixels every 240 pixels, less where an image is smaller."""
    scale = pairs.scale_factor
    side = SUB_IMAGE // scale
    for index in sorted(range(len(pairs)), key=lambda i: -min(pairs.lr_size(i))):
        lr, hr = pairs[index]
        for top in range(0, max(lr.shape[0] - side, 0) + 1, side // 2):
            for left in range(0, max(lr.shape[1] - side, 0) + 1, side // 2):
                small = lr[top : top + side, left : left + side]
                height, width = (scale * length for length in small.shape[:2])
                yield small, hr[scale * top :, scale * left :][:height, :width]


# --- the whole ----------------------------------------------------------------------------------


def main() -> None:
    """Measure everything, or one part of it in a process that this function has started."""
    options = parse_options()
    try:
        benchmark = read_benchmark(options)
        if options.part:
            print(json.dumps(PARTS[options.part](benchmark)))
        else:
            print(json.dumps(describe(options, benchmark) | measure(benchmark), indent=2))
    except TorchSRError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except subprocess.CalledProcessError as error:  # which has said why
        sys.exit(error.returncode)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("config", type=Path, help="JSON file of hyper-parameters")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data-root", type=Path, default=Path("data"), metavar="DIR")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or fp16; of torch-sr alone")
    parser.add_argument("--compile", action="store_true", help="compile torch-sr's network")
    parser.add_argument("--basicsr", type=Path, metavar="PATH", help="compare with BasicSR there")
    parser.add_argument("--steps", type=count, default=3, help="steps in a round (%(default)s)")
    parser.add_argument("--rounds", type=count, default=9, help="timed rounds (%(default)s)")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def count(text: str) -> int:
    """A whole number, 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number, 1 or more")
    return int(text)


def read_benchmark(options: argparse.Namespace) -> Benchmark:
    """Read the configuration, and refuse what cannot be measured or compared."""
    config = load_config(options.config, [*options.overrides, *PLAIN])
    if config.pretraining.cr_patch_size is None:
        raise ConfigError("pretraining.cr_patch_size is null; the benchmark needs a size")
    settings = RunSettings(
        options.data_root,
        device=options.device,
        devices=1,
        precision=options.precision,
        compile=options.compile,
    )
    benchmark = Benchmark(config, settings, options.basicsr, options.steps, options.rounds)
    if options.basicsr:
        check_comparable(benchmark)
    return benchmark


def check_comparable(benchmark: Benchmark) -> None:
    """Refuse what BasicSR cannot do."""
    config, sizes = benchmark.config, benchmark.config.generator
    crop, extra = config.pretraining.cr_patch_size, config.pretraining.extra_losses
    holds = {
        f"a folder basicsr in {benchmark.basicsr}": (benchmark.basicsr / "basicsr").is_dir(),
        "device cpu or cuda": benchmark.device.type in ("cpu", "cuda"),
        "scale_factor 4": config.scale_factor == 4,
        "img_channels 3": config.img_channels == 3,
        "num_dense_blocks 3": sizes.num_dense_blocks == 3,
        "num_residual_blocks 5": sizes.num_residual_blocks == 5,
        "residual_scaling 0.2": sizes.residual_scaling == 0.2,
        "use_subpixel_conv false": not sizes.use_subpixel_conv,
        "loss_f l1": config.content_loss.loss_f == "l1",
        "no extra_losses": not any(extra.model_dump().values()),
        "no gradient_clip": config.pretraining.gradient_clip is None,
        "a square cr_patch_size": crop[0] == crop[1],
    }
    missing = [name for name, there in holds.items() if not there]
    if missing:
        raise ConfigError(f"--basicsr needs {', '.join(missing)}")


def describe(options: argparse.Namespace, benchmark: Benchmark) -> dict[str, Any]:
    """What the numbers depend on."""
    device = benchmark.device
    return {
        "config": options.config.name,
        "overrides": options.overrides,
        "batch_size": benchmark.config.batch_size,
        "crop": list(benchmark.config.pretraining.cr_patch_size),
        "precision": options.precision,
        "compile": options.compile,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """Measure all parts, each in a fresh process, and put them together."""
    results: dict[str, dict[str, float]] = {
        "peak_memory_mb": {name: run_part(f"memory {name}") for name in contestants(benchmark)},
        "images_per_s": run_part("step"),
        "crops_per_s_per_core": run_part("loader"),
    }
    if benchmark.basicsr:
        for result in results.values():
            result["ratio"] = result[OURS] / result[THEIRS]
    return dict(results)


def run_part(part: str) -> Any:
    """Measure one part in a fresh process; what that says on stderr is shown."""
    tell(part)
    command = [sys.executable, *sys.argv, "--part", part]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def contestants(benchmark: Benchmark) -> list[str]:
    """Who is measured."""
    return [OURS, THEIRS] if benchmark.basicsr else [OURS]


def take_turns(rates: dict[str, Callable[[], float]], rounds: int, unit: str) -> dict[str, float]:
    """Measure each again and again in turn; return the medians."""
    measured: dict[str, list[float]] = {name: [] for name in rates}
    for number in range(1, rounds + 1):
        for name, rate in rates.items():
            measured[name].append(rate())
            tell(f"round {number}/{rounds}  {name}  {measured[name][-1]:.4g} {unit}")
    return {name: median(each) for name, each in measured.items()}


def tell(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr)


BUILDERS = {OURS: build_ours, THEIRS: build_theirs}
PARTS: dict[str, Callable[[Benchmark], Any]] = {
    f"memory {OURS}": lambda benchmark: measure_memory(benchmark, OURS),
    f"memory {THEIRS}": lambda benchmark: measure_memory(benchmark, THEIRS),
    "step": measure_step,
    "loader": measure_loader,
}

if __name__ == "__main__":
    main()
