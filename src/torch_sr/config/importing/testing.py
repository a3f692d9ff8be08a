"""Convert an option file of tests to the commands ``torch-sr test`` and ``torch-sr upscale``."""

from __future__ import annotations

from torch_sr.config.importing.datasets import convert_other, find_test_sets
from torch_sr.config.importing.draft import Draft, is_off, plain_path
from torch_sr.config.importing.run_options import convert_param_key, run_name
from torch_sr.config.messages import show

_MODEL = "path.pretrain_network_g"
_METRICS = {
    "calculate_psnr": "psnr",
    "calculate_ssim": "ssim",
    "calculate_lpips": "lpips",
    "calculate_dists": "dists",
    "calculate_niqe": "niqe",
}


def convert_tests(draft: Draft) -> list[list[str]]:
    """Convert the whole file, and return the words of the commands.

    Raises:
        ConfigError: the file names no model or no data set.
    """
    model = _convert_model(draft)
    options = _convert_computation(draft)
    specs, folders = _convert_sets(draft)
    if not specs and not folders:
        raise draft.absent("add the folders of a data set")
    metrics = _convert_metrics(draft, used=bool(specs))
    results = _convert_results(draft)
    commands = []
    if specs:
        names = ",".join(f'"{spec}"' if "," in spec else spec for spec in specs)
        words = ["torch-sr", "test", model, "--datasets", names, "--data-root", "."]
        commands.append([*words, *metrics, *options, "--out", results])
    if folders:
        commands.append(["torch-sr", "upscale", *folders, "-m", model, *options, "--out", results])
    return commands


def _convert_model(draft: Draft) -> str:
    leaf = draft.find(_MODEL)
    if leaf is None or is_off(leaf.value):
        raise draft.absent(f"add {_MODEL}, the model that is tested")
    model = draft.path(leaf)
    draft.take(leaf, {"MODEL": model})
    for key, inner in draft.left():
        if key.startswith("network_g.") or key == "scale":
            draft.skip(inner, "read from the file of the model")
        elif key == "path.strict_load_g":
            draft.skip(inner, "all parameters must fit")
        elif key == "path.param_key_g":
            convert_param_key(draft, inner)
        elif key.startswith("path.") and key != _MODEL:
            draft.drop(inner, "tests have no such setting here")
    return model


def _convert_computation(draft: Draft) -> list[str]:
    words: list[str] = []
    gpus = draft.find("num_gpu")
    if gpus is not None and gpus.value == 0:
        words += ["--device", "cpu"]
        draft.take(gpus, {"--device": "cpu"})
    elif gpus is not None:
        draft.skip(gpus, "one device is used; the first that is there")
    mixed, bf16 = draft.find("use_amp"), draft.find("amp_bf16")
    if mixed is not None and draft.switch(mixed):
        kind = "bf16" if bf16 is not None and draft.switch(bf16) else "fp16"
        words += ["--precision", kind]
        draft.take(mixed, {"--precision": kind})
    for leaf in (mixed, bf16):
        if leaf is not None and not draft.is_reported(leaf):
            draft.skip(leaf, "see --precision")
    for key in ("val.tile", "val.tile_size"):
        leaf = draft.find(key)
        if leaf is not None and not is_off(leaf.value):
            words += ["--tile-size", str(draft.whole(leaf))]
            draft.take(leaf, {"--tile-size": draft.whole(leaf)})
        elif leaf is not None:
            draft.skip(leaf, "large images are cut into tiles by themselves")
    return words


def _convert_sets(draft: Draft) -> tuple[list[str], list[str]]:
    """Data sets with originals, and folders of low resolution only."""
    specs: list[str] = []
    folders: list[str] = []
    for leaves, pairs in find_test_sets(draft):
        high, low = leaves.get("dataroot_gt"), leaves.get("dataroot_lq")
        if pairs and high is not None:
            draft.take(high, {"--datasets": pairs})
            if low is not None and not is_off(low.value):
                draft.take(low, {"--datasets": pairs})
            specs += pairs
        elif low is not None and not is_off(low.value):
            own = [plain_path(folder) for folder in draft.texts(low)]
            if not all(own):
                raise draft.fault(low, "remove the empty name, or name a folder")
            draft.take(low, {"SOURCE": own})
            folders += own
        convert_other(draft, leaves)
    return specs, folders


def _convert_metrics(draft: Draft, *, used: bool) -> list[str]:
    """The options ``--metrics`` and ``--protocol``.

    Args:
        draft: what is built.
        used: whether there are originals to compare with.
    """
    leaves = draft.below("val.metrics")
    if not used:
        for leaf in leaves.values():
            draft.skip(leaf, "there are no originals (dataroot_gt) to compare with")
        return []
    luma = [leaf for key, leaf in leaves.items() if key.endswith(".test_y_channel")]
    protocols = {"paper" if draft.switch(leaf) else "rgb" for leaf in luma} or {"rgb"}
    protocol = ",".join(sorted(protocols))
    names = []
    for key, leaf in leaves.items():
        last = key.rpartition(".")[2]
        if last == "type" and (name := _METRICS.get(str(leaf.value))):
            names.append(name)
    metrics = ",".join(dict.fromkeys(names)) or "psnr,ssim"
    for key, leaf in leaves.items():
        last = key.rpartition(".")[2]
        if last == "type" and str(leaf.value) in _METRICS:
            draft.take(leaf, {"--metrics": metrics})
        elif last == "test_y_channel":
            draft.take(leaf, {"--protocol": protocol})
        elif last == "crop_border" and leaf.value == draft.value("scale"):
            draft.skip(leaf, "as many pixels as the scale factor are cropped, as there")
        elif last == "crop_border":
            draft.take(leaf, {}, "as many pixels as the scale factor are cropped")
        elif last == "better":
            draft.skip(leaf, "each metric has its own direction")
        else:
            draft.drop(leaf, f"no such metric or setting: {show(leaf.value)}")
    return ["--metrics", metrics, "--protocol", protocol] if leaves else ["--protocol", protocol]


def _convert_results(draft: Draft) -> str:
    """The folder of the results."""
    leaf = draft.find("name")
    folder, why = "results", ""
    if leaf is not None and not is_off(leaf.value):
        name, why = run_name(draft.text(leaf))
        folder = f"results/{name}"
    if leaf is not None:
        draft.take(leaf, {"--out": folder}, why)
    reasons = {
        "val.save_img": "results are saved below --out",
        "val.save_lq": "low resolution is in the sheets",
        "val.suffix": "results have the names of the method and of their images",
        "val.val_enabled": "the command tests",
        "val.metrics_enabled": "--metrics chooses what is measured",
        "val.tile_overlap": "the overlap is the receptive field of the network",
        "val.pbar": "progress is always shown",
        "model_type": "the model decides",
        "manual_seed": "tests have no random numbers",
        "use_channels_last": "chosen by the engine",
        "compile": "see --engine",
        "fast_matmul": "see --precision",
    }
    for key, inner in draft.left():
        if key in reasons or key.startswith("dist_params"):
            draft.skip(inner, reasons.get(key, "one process computes"))
    return folder
