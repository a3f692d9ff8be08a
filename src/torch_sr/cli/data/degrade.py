"""``torch-sr data degrade``: write image pairs with degraded low resolution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.bars import progress_bar
from torch_sr.cli.data.prepare import ForPurpose
from torch_sr.cli.options import AsJSON, DataRoot, Overrides
from torch_sr.config import DegradationConfig, Hyperparameters, load_config, parse_config
from torch_sr.data.degradation.writing import HR, LR, NoiseAndJPEG, degrade_set
from torch_sr.data.sets.resolve import find_root
from torch_sr.options import Option

Source = Annotated[
    str, typer.Argument(help="High-resolution images: a folder, or a data set by name.")
]
Config = Annotated[
    Path | None,
    Option(
        "Degrade by the section `degradation` of this configuration.",
        ("--config", "-c"),
        default="that section's defaults, which are Real-ESRGAN's",
    ),
]
ScaleFactor = Annotated[
    int | None,
    Option(
        "Factor between low and high resolution.",
        min=1,
        max=8,
        default="4, or the configuration's",
    ),
]
Crop = Annotated[int | None, Option("Side of random crops of HR.", min=1, default="whole images")]
Seed = Annotated[
    int | None, Option("Seed of the random numbers.", min=0, default="0, or the configuration's")
]
Jpeg = Annotated[
    int | None,
    Option(
        "Instead of these degradations, compress the LR of the data set (or bicubic LR, if it "
        "has none) as JPEG of this quality.",
        min=1,
        max=100,
    ),
]
Noise = Annotated[
    float | None,
    Option(
        "Instead of these degradations, add Gaussian noise of this standard deviation (in levels "
        "of 0 to 255) to that LR, before --jpeg.",
        min=0,
        max=255,
    ),
]


def degrade(
    source: Source,
    out: Annotated[Path, typer.Argument(help="New folder for HR and LR.")],
    config: Config = None,
    overrides: Overrides = None,
    scale_factor: ScaleFactor = None,
    crop: Crop = None,
    per_image: Annotated[int, Option("Different pairs to write for each image.", min=1)] = 1,
    seed: Seed = None,
    jpeg: Jpeg = None,
    noise: Noise = None,
    data_root: DataRoot = Path("data"),
    for_purpose: ForPurpose = "test",
    overwrite: Annotated[bool, Option("Replace the pairs of an earlier run.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Write pairs of high resolution (HR) and degraded low resolution (LR).

    They are for validation, tests and other training programs: PNG files of the same names in
    OUT/LR and OUT/HR. The same command writes the same files.
    """
    configured = bool(config or overrides)
    hyperparameters = _read(config, overrides or [])
    how = _choose(hyperparameters, jpeg, noise, configured=configured)
    with progress_bar("pairs") as bar:
        task = bar.add_task("degrading", total=None)
        pairs = degrade_set(
            source,
            out,
            how,
            data_root=find_root(source, data_root),
            scale_factor=scale_factor or hyperparameters.scale_factor,
            purpose=for_purpose,
            channels=hyperparameters.img_channels if configured else None,
            crop=crop,
            per_image=per_image,
            seed=hyperparameters.seed if seed is None else seed,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    hr, lr = str(out / HR), str(out / LR)
    if as_json:
        print(json.dumps({"hr": hr, "lr": lr, "pairs": pairs}, indent=2))
    else:
        print(f"{out}: {pairs} pair{'s' if pairs > 1 else ''} in {HR} and {LR}")


def _read(config: Path | None, overrides: list[str]) -> Hyperparameters:
    """The configuration, or the defaults; overrides apply to both."""
    return load_config(config, overrides) if config else parse_config({}, overrides=overrides)


def _choose(
    hyperparameters: Hyperparameters, jpeg: int | None, noise: float | None, *, configured: bool
) -> DegradationConfig | NoiseAndJPEG:
    """How LR is degraded."""
    if jpeg is None and noise is None:
        return hyperparameters.degradation
    if configured:
        raise typer.BadParameter("leave out --config and --set, or --jpeg and --noise")
    return NoiseAndJPEG(noise or 0.0, jpeg)
