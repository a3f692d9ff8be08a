"""``torch-sr data degrade``: write pairs whose low resolution is degraded like photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torch_sr.cli.console import AsJSON, DataRoot, progress_bar
from torch_sr.cli.train.options import Overrides

if TYPE_CHECKING:
    from torch_sr.config import DegradationConfig, Hyperparameters
    from torch_sr.data.degradation.writing import NoiseAndJPEG

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Degrade by the section `degradation` of this configuration. \\[default: that "
        "section's defaults, which are Real-ESRGAN's]",
    ),
]
ScaleFactor = Annotated[
    int | None,
    typer.Option("--scale", "-s", min=1, max=8, help="\\[default: 4, or the configuration's]"),
]
Crop = Annotated[
    int | None,
    typer.Option("--crop", min=1, help="Side of random crops of HR. \\[default: whole images]"),
]
Jpeg = Annotated[
    int | None,
    typer.Option(
        "--jpeg",
        min=1,
        max=100,
        help="Instead, take the set's own LR, or else bicubic LR, and compress it as JPEG of this "
        "quality.",
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        "--noise",
        min=0,
        max=255,
        help="Instead, take the same LR and add Gaussian noise of this standard deviation, in "
        "levels of 0 to 255; before --jpeg.",
    ),
]


def degrade(
    source: Annotated[
        str, typer.Argument(help="High-resolution images: a folder, or a data set by name.")
    ],
    out: Annotated[Path, typer.Argument(help="New folder for HR and LR.")],
    config: Config = None,
    overrides: Overrides = None,
    scale: ScaleFactor = None,
    crop: Crop = None,
    per_image: Annotated[
        int, typer.Option("--per-image", min=1, help="Different pairs to write for each image.")
    ] = 1,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="\\[default: 0, or the configuration's]")
    ] = None,
    jpeg: Jpeg = None,
    noise: Noise = None,
    data_root: DataRoot = Path("data"),
    for_purpose: Annotated[
        str,
        typer.Option(
            "--for", help="train, val or test: whose splits to take, where the source names none."
        ),
    ] = "test",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the pairs of an earlier run.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Write pairs of high resolution (HR) and degraded low resolution (LR).

    They serve validation, tests and other trainers. OUT/LR and OUT/HR get PNG files of the same
    names. The same command writes the same files.
    """
    from torch_sr.data.degradation.writing import HR, LR, degrade_set

    if for_purpose not in ("train", "val", "test"):
        raise typer.BadParameter(f"--for {for_purpose!r}: choose train, val or test")
    configured = bool(config or overrides)
    hyperparameters = _read(config, overrides or [])
    how = _choose(hyperparameters, jpeg, noise, configured=configured)
    with progress_bar("pairs") as bar:
        task = bar.add_task("degrading", total=None)
        pairs = degrade_set(
            source,
            out,
            how,
            data_root=_place(source, data_root),
            scale_factor=scale or hyperparameters.scale_factor,
            purpose=for_purpose,  # type: ignore[arg-type]
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
    from torch_sr.config import load_config, parse_config

    return load_config(config, overrides) if config else parse_config({}, overrides=overrides)


def _choose(
    hyperparameters: Hyperparameters, jpeg: int | None, noise: float | None, *, configured: bool
) -> DegradationConfig | NoiseAndJPEG:
    """How LR is degraded."""
    from torch_sr.data.degradation.writing import NoiseAndJPEG

    if jpeg is None and noise is None:
        return hyperparameters.degradation
    if configured:
        raise typer.BadParameter("leave out --config and --set, or --jpeg and --noise")
    return NoiseAndJPEG(noise or 0.0, jpeg)


def _place(source: str, data_root: Path) -> Path:
    """Where to look for the source: here if it has such a folder, otherwise below the root."""
    from torch_sr.data.sets.spec_syntax import parse_spec

    here = Path.cwd()
    return here if (here / parse_spec(source, here)[0]).exists() else data_root
