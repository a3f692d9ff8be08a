"""Follows a page of the docs: runs its commands and examples in a folder with small files."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from torch_sr import convert
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet

ROOT = Path(__file__).parents[1]
SIZE = (100, 72)
"""Width and height of the images."""
_BLOCK = re.compile(r"^ *```(sh|python)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def page_path(page):
    """A page by its name in docs/, or the README."""
    return ROOT / page if page == "README.md" else ROOT / "docs" / page


def blocks(page):
    """Languages and texts of the ``sh`` and ``python`` blocks of a page, in its order."""
    return _BLOCK.findall(page_path(page).read_text(encoding="utf-8"))


def commands(text):
    """The ``torch-sr`` commands of an ``sh`` block."""
    for line in text.replace("\\\n", " ").splitlines():
        parts = (part.strip() for part in re.split(r" #|^#", line)[0].split("&&"))
        yield from (" ".join(part.split()) for part in parts if part.startswith("torch-sr "))


@dataclass
class Follower:
    """Runs what a page shows.

    Args:
        run: runs ``torch-sr`` in this process.
        reduced: parts of commands or examples, and what replaces them so that they take seconds.
        not_run: beginnings of commands that cannot run in a test, with the reason.
        known: names that the examples of the page use without defining them.
    """

    run: object
    reduced: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    """What each command printed on stdout and stderr."""

    def follow(self, page):
        """Run everything; the tables must not name what the page does not have."""
        self._unused = {*self.reduced, *self.not_run}
        for language, text in blocks(page):
            if language == "python":
                exec(compile(self._reduce(text), page, "exec"), self.known)
            else:
                for command in commands(text):
                    self._run_command(command)
        assert not self._unused, f"not on {page}"
        return self.printed

    def _run_command(self, command):
        for start in self.not_run:
            if command.startswith(start):
                return self._unused.discard(start)
        code, out, err = self.run(*shlex.split(self._reduce(command))[1:])
        assert code == 0, f"{command}\n{out}\n{err}"
        self.printed[command] = out + err
        return None

    def _reduce(self, text):
        for part, replacement in self.reduced.items():
            if part in text:
                self._unused.discard(part)
                text = text.replace(part, replacement)
        return text


# --- The folder in which a page is followed -------------------------------------------------------


def scene(seed, size=SIZE):
    """An image that has nothing in common with those of other seeds."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize(size)


def save_scenes(folder, names, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names, first):
        scene(seed).save(folder / name)


def make_folder(folder, vgg_file):
    """All files that pages name: photographs, data sets, configurations and models."""
    save_scenes(folder, ["photo.jpg", "scan.tif", "rendering.png", "old_phone.jpg"], 100)
    save_scenes(folder / "holiday", ["astronaut.jpg", "cat.jpg", "coffee.jpg"], 110)
    save_scenes(folder / "examples", ["dahlia.jpg"], 118)
    save_scenes(folder / "my_photos", [f"{number}.jpg" for number in range(8)], 120)
    shutil.copytree(folder / "my_photos", folder / "photos")
    shutil.copytree(folder / "my_photos", folder / "my_images")
    _make_data(folder / "data")
    _make_configs(folder / "configs", vgg_file)
    shutil.copy(folder / "configs" / "starter_x4.json", folder / "config.json")
    _make_models(folder)
    (folder / "options").mkdir()
    options = ROOT / "tests" / "option_files" / "real_esrgan_x4.yml"
    shutil.copy(options, folder / "options" / "train_realesrgan_x4plus.yml")


def _make_data(root):
    shutil.copytree(root.parent / "photos", root / "photos")
    names = iter(range(200, 300))
    for part in ("train", "val", "test"):
        folder = root / "BSR" / "BSDS500" / "data" / "images" / part
        save_scenes(folder, ["a.jpg", "b.jpg"], next(names) * 2)
    for name in ("Set5", "Set14", "B100"):
        save_scenes(root / "benchmark" / name / "HR", ["a.png", "b.png"], next(names) * 2)
    save_scenes(root / "SunHays80" / "HR", ["a.png", "b.png"], next(names) * 2)
    for part in ("train", "valid"):
        save_scenes(root / "DIV2K" / f"DIV2K_{part}_HR", ["1.png", "2.png"], next(names) * 2)


def _make_configs(folder, vgg_file):
    """The configurations of the repository, with tiny networks and two steps a stage."""
    folder.mkdir()
    for path in (ROOT / "configs").glob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if path.name != "schema.json":
            _shrink(config, vgg_file)
        (folder / path.name).write_text(json.dumps(config), encoding="utf-8")


def _shrink(config, vgg_file):
    config["batch_size"] = 2
    config["generator"] = {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1}
    if config.get("discriminator", {}).get("kind") != "unet":
        config["discriminator"] = {"vgg_blk_ch": [4, 4, 8, 8], "fc_features": [5]}
    for stage in ("pretraining", "training"):
        section = config.setdefault(stage, {})
        section |= {"cr_patch_size": [32, 32], "num_steps": 2, "warmup_steps": 0}
        section["num_epoch"] = min(section.get("num_epoch", 2), 2)
    config["training"]["g_sched_steps"] = config["training"]["d_sched_steps"] = [2]
    if config.get("perceptual_loss", {}).get("backbone", "vgg") == "vgg":
        layers = {"vgg_type": "vgg11", "layer_weights": {"conv1_1": 1.0}}
        config["perceptual_loss"] = {**layers, "weights": str(vgg_file)}


def _make_models(folder):
    names = ["PSNR.pth", "ESRGAN.pth", "PSNR.safetensors", "ESRGAN.safetensors", "4x_your_own.pth"]
    names += ["a.pth", "b.pth", "c.pth", "my_model.safetensors", "mine.safetensors"]
    names += ["model.safetensors", "run_1/best.safetensors", "run_2/best.safetensors"]
    names += ["psnr.pth", "gan.pth", "experiments/mine/models/net_g_latest.pth"]
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
        save_generator(folder / name, network, metadata={"name": Path(name).stem})
    for name in ("models/realesrgan-x4plus.param", "upscayl/model.param"):
        (folder / name).parent.mkdir()
        convert(folder / "model.safetensors", folder / name)


def packed(root, folder):
    """A tar archive of a folder below a root, as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root / folder, folder)
    return buffer.getvalue()
