"""Option files of other programs become configurations, and no value is dropped silently."""

from __future__ import annotations

import json
import random
import shlex
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from torch_sr.cli.main import COMMANDS
from torch_sr.config import load_config, parse_config
from torch_sr.config.importing import PROGRAMS, import_options
from torch_sr.config.importing.conversion import convert_options
from torch_sr.config.importing.leaves import Leaf, OptionFile, read_options, write_path
from torch_sr.config.importing.programs import recognize
from torch_sr.config.importing.toml_lines import find_lines
from torch_sr.errors import ConfigError
from torch_sr.networks.rrdb import RRDBNet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "option_files"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".yml", ".toml"))
TRAININGS = [path for path in FILES if not path.stem.endswith("test")]
TESTS = [path for path in FILES if path not in TRAININGS]
SCALARS = (None, True, False, -5, 0, 3, 2.5, float("nan"), "", "x", "1e-4")
ODD_VALUES = (*SCALARS, [], {}, ["a"], [1, 2], [0.5, 0.5, 0.5], [[1]])

MINIMAL = """
model_type: SRModel
scale: 4
datasets: {train: {dataroot_gt: photos, gt_size: 32, batch_size_per_gpu: 2}}
network_g: {type: RRDBNet}
train: {total_iter: 10, pixel_opt: {type: L1Loss}}
"""


def each(files):
    return pytest.mark.parametrize("path", files, ids=lambda path: path.name)


def parse(path):
    """The file as a plain parser reads it, without lines."""
    text = path.read_text(encoding="utf-8")
    return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)


def values_in(data, path=()):
    """All values of nested data by key; independent of the code that is tested."""
    if isinstance(data, dict) and data:
        for key, inner in data.items():
            yield from values_in(inner, (*path, key))
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        for number, item in enumerate(data):
            yield from values_in(item, (*path, number))
    else:
        yield write_path(path), data


def write(folder, text, name="options.yml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(folder, text, name="options.yml"):
    return import_options(write(folder, text, name))


def line_of(result, key):
    (entry,) = (entry for entry in result.entries if entry.key == key)
    return entry


# --- Every value is reported, with its line -------------------------------------------------------


@each(FILES)
def test_every_value_is_reported_once_with_its_line(path):
    result = import_options(path)
    given = [entry for entry in result.entries if entry.line]
    assert {entry.key: entry.value for entry in given} == dict(values_in(parse(path)))
    assert Counter(entry.key for entry in given).most_common(1)[0][1] == 1
    assert [entry.line for entry in given] == sorted(entry.line for entry in given)
    lines = path.read_text(encoding="utf-8").splitlines()
    for entry in given:
        if "<<" not in entry.key and entry.key not in MERGED:
            assert entry.key.rpartition(".")[2] in lines[entry.line - 1], entry
        assert entry.becomes or entry.note, f"line {entry.line} says nothing"
    assert sum(result.counts.values()) == len(result.entries)


MERGED = {f"train.optim_d.{key}" for key in ("type", "weight_decay", "betas")}


@each(FILES)
def test_the_program_is_recognized(path):
    expected = {"basicsr": "BasicSR", "real": "Real-ESRGAN", "neosr": "neosr"}
    assert import_options(path).program == expected.get(
        path.stem.partition("_")[0], "traiNNer-redux"
    )


@each(TRAININGS)
def test_the_result_is_a_valid_configuration_and_command(path):
    result = import_options(path)
    config = parse_config(json.loads(result.config_text()))
    assert len(config.stages) == 1
    assert config.to_dict() == parse_config(result.config).to_dict()
    for entry in result.entries:  # what the report says is what the configuration has
        for key, value in entry.becomes.items():
            if not key.startswith("-") and key.partition(".")[0] in result.config:
                found = config.to_dict()
                for part in key.split("."):
                    found = found[part]
                assert found == value, entry
    (command,) = result.commands
    COMMANDS["train"].load("train").make_context("train", list(command[2:]))


@each(TESTS)
def test_tests_become_commands(path):
    result = import_options(path)
    assert result.config is None
    for command in result.commands:
        COMMANDS[command[1]].load(command[1]).make_context(command[1], list(command[2:]))


def test_option_files_may_be_mutilated():
    chance = random.Random(0)
    files = {path: read_options(path) for path in FILES}
    for _ in range(150):
        file = files[chance.choice(FILES)]
        leaves, place = list(file.leaves), chance.randrange(len(file.leaves))
        removed = leaves.pop(place)
        if chance.random() < 0.8:
            leaves.insert(place, Leaf(removed.path, chance.choice(ODD_VALUES), removed.line))
        try:
            result = convert_options(
                OptionFile(file.name, file.language, tuple(leaves)), recognize(file)
            )
        except ConfigError as error:
            message = str(error)
        else:
            message = file.name
            keys = sorted(entry.key for entry in result.entries if entry.line)
            assert keys == sorted(leaf.key for leaf in leaves), removed
        assert message.startswith(file.name), removed
        assert "\n" not in message


def test_lines_of_toml_are_found():
    text = (
        "# [a]\n[a] # b = 1\nb = '''\nc = 1\n'''\n\"d.e\".f = [ # ]\n  1,\n]\n"
        'g = "[h]"\n[[i]]\nj = { k = 1 }\n[[i]]\n[i.l]\nm = """a"""""\nn = 2\n'
    )
    assert find_lines(text) == {
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "d.e", "f"): 6,
        ("a", "g"): 9,
        ("i", 0): 10,
        ("i", 0, "j"): 11,
        ("i", 1): 12,
        ("i", 1, "l"): 13,
        ("i", 1, "l", "m"): 14,
        ("i", 1, "l", "n"): 15,
    }


# --- What values become ---------------------------------------------------------------------------


def test_a_psnr_training_of_basicsr():
    result = import_options(FOLDER / "basicsr_psnr.yml")
    stage = result.config["pretraining"]
    assert (stage["num_steps"], stage["scheduler"], stage["lr"]) == (1000, "cosine", 2e-4)
    assert stage["train_datasets"] == ["datasets/photos:HR<LR_bicubic/X4"]
    assert stage["augmentation"] == {"spatial": "dihedral", "compression": 0, "coarse_dropout": 0}
    assert result.config["training"] == {"num_epoch": 0}
    assert result.config["generator"]["num_basic_blocks"] == 1
    assert line_of(result, "train.scheduler.periods").status == "changed"
    assert result.missing == 0


def test_the_gan_stage_of_basicsr():
    result = import_options(FOLDER / "basicsr_esrgan.yml")
    stage = result.config["training"]
    assert stage["g_adversarial_loss_scaling"] == 0.0025  # ESRGANModel averages two terms
    assert stage["g_content_loss_scaling"] == 0.01
    assert (stage["g_lr"], stage["d_lr"]) == (1e-4, 5e-5)
    assert stage["g_sched_steps"] == [50, 100, 200, 300]
    assert stage["extra_losses"] == {"ldl": 0.5}
    perceptual = result.config["perceptual_loss"]
    assert perceptual["layer_weights"] == {"conv5_4": 2.0, "conv4_4": 1.0}
    assert perceptual["criterion"] == "l2"
    words = shlex.join(result.commands[0])
    assert "--name esrgan-x4 --device cpu" in words
    assert "-l experiments" not in words
    assert "--load-checkpoint experiments/psnr_x4/models/net_g_1000.pth --partial" in words
    missing = {entry.key for entry in result.entries if entry.status == "missing"}
    assert missing == {
        "datasets.train.meta_info_file",
        "datasets.train.io_backend.type",
        "path.pretrain_network_d",
        "path.resume_state",
        "train.perceptual_opt.style_weight",
        "train.net_d_init_iters",
        "logger.wandb.resume_id",
    }


def test_the_degradations_of_real_esrgan():
    config = import_options(FOLDER / "real_esrgan_x4.yml").config
    degradation = parse_config(config).degradation
    assert degradation.probability == 1
    assert degradation.sharpen_targets
    assert degradation.final_sinc_probability == 0.7
    assert degradation.first.blur.sinc_probability == 0.1
    assert degradation.second.blur.kernels == {"iso": 0.75, "aniso": 0.25}
    assert degradation.second.blur.sigma == (0.001, 1.5)
    assert degradation.second.resize_probabilities == (0.3, 0.4, 0.3)
    assert degradation.second.resize_range == (0.3, 1)
    assert degradation.second.jpeg_range == (30, 95)
    assert config["discriminator"] == {"kind": "unet", "unet_channels": 8}
    assert config["perceptual_loss"]["layer_weights"] == {"five_blocks": 1.0}
    assert config["training"]["cr_patch_size"] == [32, 32]


def test_a_fine_tuning_on_pairs_of_real_esrgan():
    result = import_options(FOLDER / "real_esrgan_pairs_x2.yml")
    stage = result.config["pretraining"]
    assert "degradation" not in result.config
    assert result.config["generator"]["pixel_unshuffle"] == 2
    assert stage["cr_patch_size"] == [32, 32]  # not 33
    assert stage["train_datasets"] == ["/data/pairs:gt<lq"]
    assert stage["extra_losses"] == {"perceptual": 0.25}  # the content loss has the weight 2
    assert (stage["sched_step"], stage["weight_decay"]) == (334, 0.01)
    assert line_of(result, "train.scheduler.milestones").status == "changed"


def test_degradations_of_neosr():
    result = import_options(FOLDER / "neosr_otf.toml")
    config, stage = result.config, result.config["training"]
    assert config["batch_size"] == 8
    assert stage["cr_patch_size"] == [64, 64]
    assert stage["train_datasets"] == ["C:/datasets/photos:HR"]
    assert stage["val_datasets"] == ["C:/datasets/val:gt<lq"]
    assert (stage["optimizer"], stage["g_lr"], stage["gradient_clip"]) == ("adamw", 1e-4, None)
    assert config["degradation"]["first"]["jpeg_range"] == [40, 95]
    assert config["perceptual_loss"]["layer_weights"] == {"conv5_4": 1.0}  # in place of FDL
    words = result.commands[0]
    assert words[words.index("--accumulate") + 1] == "2"
    assert words[words.index("--precision") + 1] == "bf16"


def test_pairs_of_neosr():
    config = import_options(FOLDER / "neosr_paired.toml").config
    assert config["pretraining"]["gradient_clip"] == 1  # the default of neosr
    assert config["pretraining"]["ema_decay"] == 0
    losses = config["pretraining"]["extra_losses"]  # neosr multiplies features by 0.1
    assert losses == {"focal_frequency": 0.35, "perceptual": pytest.approx(0.05)}
    assert config["generator"]["pixel_unshuffle"] == 2


def test_trainings_of_trainner_redux():
    result = import_options(FOLDER / "redux_gan_otf.yml")
    stage = result.config["training"]
    assert result.config["generator"]["num_basic_blocks"] == 12
    assert stage["cr_patch_size"] == [64, 64]
    assert stage["train_datasets"] == ["datasets/photos:HR", "datasets/more:hr2"]
    assert len(stage["g_sched_steps"]) == 5  # a cosine in steps
    assert stage["g_content_loss_scaling"] == 0
    assert stage["extra_losses"] == {"ms_ssim": 0.5}
    assert result.config["perceptual_loss"]["layer_weights"] == {"five_blocks": 0.01}
    second = parse_config(result.config).degradation.second
    assert (second.blur.probability, second.jpeg_range) == (0, (75, 95))
    assert "--no-channels-last" in result.commands[0]
    fidelity = import_options(FOLDER / "redux_fidelity.yml").config
    assert fidelity["generator"]["pixel_unshuffle"] == 1
    assert fidelity["pretraining"]["val_datasets"] == []
    assert fidelity["pretraining"]["sched_step"] == 200000


def test_data_sets_of_tests():
    test, upscale = import_options(FOLDER / "basicsr_test.yml").commands
    assert test[1:5] == [
        *("test", "experiments/pretrained_models/ESRGAN_x4.pth"),
        *("--datasets", "datasets/Set5:GTmod12<LRbicx4"),
    ]
    assert test[test.index("--protocol") + 1] == "paper,rgb"
    assert upscale[1:3] == ["upscale", "datasets/phone"]
    (upscale,) = import_options(FOLDER / "redux_test.yml").commands
    assert upscale[upscale.index("--tile-size") + 1] == "128"


@pytest.mark.parametrize(
    ("milestones", "step", "status"),
    [
        ([25, 50, 75], 25, "taken"),
        ([100], 100, "taken"),
        ([200, 300], 200, "taken"),
        ([25, 50], 34, "changed"),
        ([50, 80, 90, 95], 20, "changed"),
    ],
)
def test_milestones_of_the_psnr_stage(tmp_path, milestones, step, status):
    scheduler = f"scheduler: {{type: MultiStepLR, milestones: {milestones}, gamma: 0.5}}"
    text = MINIMAL.replace("total_iter: 10", f"total_iter: 100, {scheduler}")
    result = imported(tmp_path, text)
    assert result.config["pretraining"]["sched_step"] == step
    assert line_of(result, "train.scheduler.milestones").status == status


def with_losses(*losses):
    return MINIMAL.replace("pixel_opt: {type: L1Loss}", f"losses: [{', '.join(losses)}]")


def test_a_mix_of_ms_ssim_and_l1_becomes_both(tmp_path):
    mixed = "{type: MSSSIML1Loss, loss_weight: 2.0, alpha: 0.2}"
    result = imported(tmp_path, with_losses(mixed, "{type: ffloss, loss_weight: 0.8}"))
    found = result.config["pretraining"]["extra_losses"]
    assert found == pytest.approx({"ms_ssim": 0.25, "focal_frequency": 0.5})
    result = imported(tmp_path, with_losses(mixed, "{type: ganloss, loss_weight: 0.1}"))
    assert result.config["training"]["g_content_loss_scaling"] == pytest.approx(1.6)
    assert result.config["training"]["extra_losses"] == {"ms_ssim": 0.4}
    assert result.config["perceptual_loss"]["layer_weights"] == {"conv5_4": 1e-6}


def test_a_second_loss_of_a_kind_is_left_out(tmp_path):
    losses = ("{type: L1Loss, loss_weight: 2}", "{type: MSELoss}", "{type: mssimloss}")
    result = imported(tmp_path, with_losses(*losses, "{type: ssimloss, loss_weight: 3}"))
    assert result.config["content_loss"] == {"loss_f": "l1"}
    assert result.config["pretraining"]["extra_losses"] == {"ms_ssim": 0.5}
    assert line_of(result, "train.losses[1].type").status == "missing"
    assert line_of(result, "train.losses[3].type").status == "missing"


def test_the_keys_of_basicsr_1_0_are_known(tmp_path):
    text = MINIMAL.replace("total_iter", "niter").replace("2}}", "2, use_flip: true}}")
    text = text.replace("batch_size_per_gpu", "batch_size")
    text += "path: {pretrain_model_g: a.pth}\n"
    result = imported(tmp_path, text)
    assert result.config["pretraining"]["num_steps"] == 10
    assert result.config["pretraining"]["augmentation"]["spatial"] == "dihedral"
    assert "--load-checkpoint" in result.commands[0]


@pytest.mark.parametrize(
    ("roots", "spec"),
    [
        ("dataroot_gt: gt", ".:gt"),
        ("dataroot_gt: ./a/gt/", "a:gt"),
        ("dataroot_gt: /gt", "/:gt"),
        ("dataroot_gt: ~/a+b", "~/a+b"),
        ("dataroot_gt: a/hr, dataroot_lq: b/c/lr", ".:a/hr<b/c/lr"),
        ("dataroot_gt: a, dataroot_lq: a/lr", ".:a<a/lr"),
        ("dataroot_gt: /a/b/hr, dataroot_lq: /a/lr", "/a:b/hr<lr"),
        ("dataroot_gt: 'D:\\a\\hr', dataroot_lq: 'D:\\a\\lr'", "D:/a:hr<lr"),
    ],
)
def test_folders_become_specifications(tmp_path, roots, spec):
    result = imported(tmp_path, MINIMAL.replace("dataroot_gt: photos", roots))
    assert result.config["pretraining"]["train_datasets"] == [spec]


NEOSR = """
model_type = "image"
scale = 4
network_g.type = "esrgan"
datasets.train = { dataroot_gt = "hr", patch_size = 32, batch_size = 8 }
train.gan_opt.type = "gan_loss"
train.perceptual_opt = { type = "vgg_perceptual_loss", loss_weight = 0.5, criterion = "l1" }
"""


def test_weights_of_neosr_have_its_defaults_and_scale(tmp_path):
    result = imported(tmp_path, NEOSR, "options.toml")
    assert result.config["training"]["g_adversarial_loss_scaling"] == 0.05
    assert result.config["perceptual_loss"]["layer_weights"] == {"five_blocks": 0.05}
    assert "features by 0.1" in line_of(result, "train.perceptual_opt.loss_weight").note
    squared = imported(tmp_path, NEOSR.replace('"l1"', '"l2"'), "options.toml")
    weights = squared.config["perceptual_loss"]["layer_weights"]
    assert weights == {"five_blocks": pytest.approx(0.005)}
    unnamed = imported(tmp_path, NEOSR.replace(" loss_weight = 0.5,", ""), "options.toml")
    assert unnamed.config["perceptual_loss"]["layer_weights"] == {"five_blocks": 0.1}


@pytest.mark.parametrize("average", ["", "train.ema = 0\n"])
def test_ldl_of_neosr_switches_the_moving_average_on(tmp_path, average):
    text = NEOSR + average + "train.ldl_opt = { type = 'ldl_loss' }\n"
    result = imported(tmp_path, text, "options.toml")
    assert result.config["training"]["ema_decay"] == 0.999
    assert line_of(result, "train.ema" if average else "train.ema_decay").note.startswith("LDL")
    assert line_of(result, "train.ldl_opt.type").status == "changed"


def test_gradients_of_trainner_redux_are_clipped_at_its_default(tmp_path):
    text = with_losses("{type: l1loss, loss_weight: 1}").replace("model_type: SRModel", "")
    result = imported(tmp_path, text.replace("train: {total", "train: {grad_clip: true, total"))
    assert result.config["pretraining"]["gradient_clip"] == 100
    assert imported(tmp_path, text).config["pretraining"].get("gradient_clip") is None


def test_losses_with_weights_below_0_are_left_out(tmp_path):
    text = with_losses("{type: l1loss, loss_weight: -1.0}", "{type: ganloss, loss_weight: -0.1}")
    entry = line_of(imported(tmp_path, text), "train.losses[0].loss_weight")
    assert (entry.status, entry.note) == ("missing", "its weight is below 0: it is left out")
    result = imported(tmp_path, text.replace("model_type: SRModel", ""))
    assert "enlarged low resolution" in line_of(result, "train.losses[1].loss_weight").note
    assert "g_adversarial_loss_scaling" not in result.config["training"]


def test_weights_of_one_layer_before_and_after_activation_are_added(tmp_path):
    layers = "{type: perceptualloss, layer_weights: {conv5_4: 1, relu5_4: 0.5}}"
    result = imported(tmp_path, with_losses("{type: ganloss}", layers))
    assert result.config["perceptual_loss"]["layer_weights"] == {"conv5_4": 1.5}
    for name in ("conv5_4", "relu5_4"):
        assert "are added" in line_of(result, f"train.losses[1].layer_weights.{name}").note


@pytest.mark.parametrize(
    ("period", "status"), [(10, "not needed"), (40, "changed"), (5, "changed")]
)
def test_only_a_cosine_of_the_whole_training_is_the_same(tmp_path, period, status):
    scheduler = f"scheduler: {{type: CosineAnnealingLR, T_max: {period}}}"
    result = imported(tmp_path, MINIMAL.replace("total_iter", f"{scheduler}, total_iter"))
    assert line_of(result, "train.scheduler.T_max").status == status


@pytest.mark.parametrize(
    ("key", "status"), [("params", "changed"), ("params_ema", "not needed"), ("~", "not needed")]
)
def test_other_parameters_than_the_average_are_a_change(tmp_path, key, status):
    path = f"path: {{pretrain_network_g: a.pth, param_key_g: {key}}}\n"
    test = "scale: 4\nnetwork_g: {type: esrgan}\ndatasets: {test: {dataroot_gt: g}}\n"
    for text in (MINIMAL, test):
        assert line_of(imported(tmp_path, text + path), "path.param_key_g").status == status


def test_commands_are_safe_to_paste(tmp_path):
    text = """
name: ../../evil
network_g: {type: RRDBNet}
datasets: {test_1: {dataroot_gt: -x}, test_2: {dataroot_lq: -rf}}
path: {pretrain_network_g: -m.pth}
"""
    test, upscale = imported(tmp_path, text).commands
    assert test[2:5] == ["./-m.pth", "--datasets", ".:-x"]
    assert test[-2:] == ["--out", "results/evil"]
    assert upscale[2:5] == ["./-rf", "-m", "./-m.pth"]
    result = imported(tmp_path, MINIMAL + "num_gpu: -1\n")
    assert line_of(result, "num_gpu").status == "changed"
    assert "--devices" not in result.commands[0]


# --- Files that are refused, each with its line ---------------------------------------------------

BAD = [
    ("a: 1\na: 2\n", ", line 2: give a once; it is in line 1 too"),
    ("a: !!python/object/apply:os.system [ls]\n", "line 1: remove the tag !!python/object/apply"),
    ("a:\n- !!python/name:os.system\n", "line 2: remove the tag !!python/name:os.system"),
    ("!!python/object/apply:collections.OrderedDict\n- [a, 1]\n", "it could run code"),
    ("a: !custom 1\n", "only plain data is read"),
    ("a: &x [*x]\n", "remove the alias that contains itself"),
    ("a: &x {b: *x}\n", "remove the alias that contains itself"),
    ("a: [1\nb: 2\n", ", line 2: correct the YAML"),
    ("a: {1, 2\n", "correct the YAML"),
    ("? [a]\n: 1\n", "write the key as plain text"),
    ("a: !!int abc\n", "correct the value 'abc'"),
    ("a: !!int ''\n", "correct the value ''"),
    ("a: !!float ''\n", "correct the value ''"),
    ("a: !!bool foo\n", "correct the value 'foo'"),
    ("a: !!timestamp foo\n", "correct the value 'foo'"),
    (f"a: 1{'0' * 400}\n", "line 1: correct the value '1000"),
    ("a: {<<: 1}\n", "line 1: give << a mapping"),
    ("a: &x {<<: *x}\n", "remove the alias that contains itself"),
    ("- 1\n", "consists of keys and values"),
    ("", "contains no options"),
    ("\x01", "this is not YAML"),
    ("[" * 1200, "too deeply nested"),
    ("a: 1\nb: {c: 2}\n", "none of the sections network_g, datasets and train"),
    ("onnx: {opset: 20}\nnetwork_g: {type: esrgan}\n", "this one exports to ONNX"),
    ("network_G: {which_model_G: RRDB_net}\n", "file of an older program"),
    ("model_type: VideoBaseModel\nnetwork_g: {type: EDVR}\n", "line 1: name a file for single"),
    (MINIMAL.replace("RRDBNet", "OmniSR"), 'line 5: network_g.type is "OmniSR"; torch-sr trains'),
    (MINIMAL.replace("RRDBNet", "SRVGGNetCompact"), "num_feat 32, num_block 3"),
    (MINIMAL.replace("RRDBNet}", "RRDBNet, num_block: 0}"), "line 5: network_g.num_block cannot"),
    (MINIMAL.replace("RRDBNet}", "RRDBNet, num_in_ch: 1, num_out_ch: 3}"), "it must be 1"),
    (MINIMAL.replace("RRDBNet}", "RRDBNet, scale: 2}"), "line 5: network_g.scale is 2; it must"),
    (MINIMAL.replace("scale: 4", "scale: 5"), "line 3: scale is 5; torch-sr trains scale factors"),
    (MINIMAL.replace("scale: 4\n", "\n"), "add the scale"),
    (MINIMAL.replace("total_iter: 10, ", ""), "add train.total_iter"),
    (MINIMAL.replace("total_iter: 10", "total_iter: ten"), 'train.total_iter is "ten"; it must be'),
    (MINIMAL.replace("total_iter: 10", "total_iter: 1.0e+300"), "it must be smaller"),
    (MINIMAL.replace("gt_size: 32, ", ""), "add the size of the crops"),
    (MINIMAL.replace("dataroot_gt: photos, ", ""), "add datasets.train.dataroot_gt"),
    (MINIMAL.replace("photos", "a+b, dataroot_lq: lq"), "rename the folders"),
    (MINIMAL.replace("photos", "['', x]"), "remove the empty name"),
    (MINIMAL.replace("photos", '"\\e[2J"'), '"\\u001b[2J"; remove the control characters'),
    (MINIMAL.replace("photos", "[a, b], dataroot_lq: lq"), "it must name 2 folders"),
    (MINIMAL.replace("photos", "/a, dataroot_lq: lq"), "they must have a common folder"),
    ("x: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + MINIMAL.replace("10,", "10, y: [*a],"), None),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_files_that_are_refused(tmp_path, text, message):
    if message is None:
        assert imported(tmp_path, text).missing == 2
        return
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "options.yml"))
    assert "\n" not in str(caught.value)


def test_values_that_json_does_not_have_are_texts(tmp_path):
    result = imported(tmp_path, MINIMAL + "made: 2026-11-28\nodd: [.nan, 1]\n")
    lines = {line["key"]: line for line in json.loads(json.dumps(result.to_dict()))["lines"]}
    assert lines["made"]["value"] == "2026-11-28"
    assert lines["odd"]["value"] == ["nan", 1]
    path = write(tmp_path, "a = [1979-05-27]\nb = 07:32:00\n", "options.toml")
    assert [leaf.value for leaf in read_options(path).leaves] == [["1979-05-27"], "07:32:00"]


@pytest.mark.parametrize(
    "text",
    [
        "a{n}: &a{n} {{x: *a{m}, y: *a{m}}}",
        "a{n}: &a{n} {{<<: [*a{m}, *a{m}]}}",
        "a{n}: &a{n} [*a{m}, *a{m}]",
    ],
)
def test_aliases_that_multiply_are_refused(tmp_path, text):
    lines = ["a0: &a0 {x: 1, y: 1}", *(text.format(n=n, m=n - 1) for n in range(1, 40))]
    with pytest.raises(ConfigError, match="over 5000 values"):
        imported(tmp_path, "\n".join(lines))


def test_mappings_that_are_merged_may_be_named_again(tmp_path):
    text = "a: &a {k: 1, l: 2}\nb: &b {<<: [*a, {l: 3, m: 4}], k: 5}\nc: *b\n"
    values = {leaf.key: leaf.value for leaf in read_options(write(tmp_path, text)).leaves}
    assert values == dict(values_in(yaml.safe_load(text)))


def test_integers_that_are_too_large_are_refused_in_toml(tmp_path):
    for digits in (400, 5000):
        with pytest.raises(ConfigError, match="an integer is too large"):
            imported(tmp_path, f"a = 1{'0' * digits}\n", "options.toml")


def test_names_of_folders_are_kept_to_the_letter(tmp_path, monkeypatch):
    text = MINIMAL.replace("photos", "'my  [ old ] photos/HR & <1>'")
    result = imported(tmp_path, text)
    spec = "my  [ old ] photos:HR & <1>"
    assert json.loads(result.config_text())["pretraining"]["train_datasets"] == [spec]
    assert '"cr_patch_size": [32, 32],' in result.config_text()
    (test, _) = import_options(FOLDER / "basicsr_test.yml").command_lines()
    assert "'datasets/Set5:GTmod12<LRbicx4'" in test
    monkeypatch.setattr("torch_sr.config.importing.conversion._WINDOWS", True)
    (test, _) = import_options(FOLDER / "basicsr_test.yml").command_lines()
    assert ' "datasets/Set5:GTmod12<LRbicx4" ' in test


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"PK\x03\x04\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="is not text"):
        import_options(tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="check the path"):
        import_options(tmp_path / "missing.yml")
    with pytest.raises(ConfigError, match="write paths of Windows in single quotes"):
        imported(tmp_path, 'dataroot_gt = "C:\\xy"\n', "options.toml")
    with pytest.raises(ConfigError, match=r"correct the TOML: .*line 1"):
        imported(tmp_path, "a = \n", "options.toml")


# --- The command ----------------------------------------------------------------------------------


def save_pair(folder, high, low):
    """A pair of blocks of random colors, at 96 and 24 pixels per side."""
    blocks = np.random.default_rng(len(list(folder.rglob("*")))).integers(0, 256, (6, 6, 3))
    for name, side in ((high, 16), (low, 4)):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = blocks.repeat(side, axis=0).repeat(side, axis=1).astype(np.uint8)
        Image.fromarray(pixels).save(path)


def test_the_command_writes_a_configuration_that_trains(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for number in range(2):
        save_pair(tmp_path / "datasets/photos", f"HR/{number}", f"LR_bicubic/X4/{number}x4")
        save_pair(tmp_path / "datasets/val", f"GTmod12/{number}", f"LRbicx4/{number}")
    code, out, _ = run("config", "import", FOLDER / "basicsr_psnr.yml", "-o", "psnr.json")
    assert code == 0
    assert "54 changed    train.scheduler.periods: [250, 250, 250, 250] (one cosine" in out
    assert "17 taken      datasets.train.gt_size: 32 -> pretraining.cr_patch_size=[32, 32]" in out
    command = out.splitlines()[-1]
    assert command.startswith("torch-sr train psnr.json --data-root . ")
    assert load_config("psnr.json").scale_factor == 4
    words = shlex.split(command.replace("--val-metrics niqe", ""))  # needs pyiqa's weights
    code, out, err = run(*words[1:], "--check", "--device", "cpu")
    assert code == 0, out + err


def test_a_gan_training_starts_from_the_checkpoint_of_basicsr(run, tmp_path, vgg_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for number in range(3):
        save_pair(tmp_path / "datasets/photos", f"HR/{number}", f"LR_bicubic/X4/{number}")
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=8, num_basic_blocks=1)
    state = network.state_dict()
    checkpoint = tmp_path / "experiments/psnr_x4/models/net_g_1000.pth"
    checkpoint.parent.mkdir(parents=True)
    torch.save({"params": state, "params_ema": state}, checkpoint)
    code, out, _ = run("config", "import", FOLDER / "basicsr_esrgan.yml", "-o", "gan.json")
    assert code == 0
    words = shlex.split(out.splitlines()[-1])
    words.remove("--wandb")
    layers = {"vgg_type": "vgg11", "layer_weights": '{"conv1_1": 1}', "weights": vgg_file}
    for key, value in layers.items():
        words += ["--set", f"perceptual_loss.{key}={value}"]
    code, out, err = run(*words[1:], "--check")
    assert code == 0, out + err
    assert "net_g_1000.pth" in out + err


def test_without_out_the_configuration_goes_to_stdout(run):
    code, out, err = run("config", "import", FOLDER / "redux_fidelity.yml")
    assert code == 0
    assert parse_config(json.loads(out)).scale_factor == 2
    assert "torch-sr train CONFIG.json --data-root ." in err
    assert "22 taken" not in out


def test_the_report_escapes_control_characters(run, tmp_path):
    code, _, err = run("config", "import", write(tmp_path, MINIMAL + '"\\e[2J": 1\n'))
    assert code == 0
    assert "\\x1b[2J: 1 (torch-sr does not know" in err
    assert "\x1b[2J" not in err


def test_strict_refuses_keys_without_counterpart(run, tmp_path):
    source, target = FOLDER / "basicsr_esrgan.yml", tmp_path / "gan.json"
    code, out, err = run("config", "import", source, "-o", target, "--strict")
    assert code == 1
    assert not target.exists()
    assert ", 7 missing\n" in out
    assert "remove --strict, or the keys without a counterpart: 7" in err
    assert run("config", "import", FOLDER / "basicsr_psnr.yml", "--strict")[0] == 0


def test_existing_files_are_kept(run, tmp_path):
    target = write(tmp_path, "mine", "mine.json")
    arguments = ["config", "import", FOLDER / "basicsr_psnr.yml", "-o", target]
    code, _, err = run(*arguments)
    assert (code, target.read_text()) == (1, "mine")
    assert "--overwrite replaces it" in err
    assert run(*arguments, "--overwrite")[0] == 0
    assert load_config(target).seed == 10
    code, _, err = run("config", "import", FOLDER / "neosr_test.toml", "-o", tmp_path / "x.json")
    assert code == 1
    assert "leave out --out" in err
    code, _, err = run(*arguments[:-1], tmp_path / "no" / "x.json")
    assert code == 1
    assert "check the path" in err


def test_the_program_can_be_given(run, tmp_path):
    path = write(tmp_path, MINIMAL)
    code, _, err = run("config", "import", path, "--from", "trainner-redux")
    assert code == 0
    assert f"{path} (traiNNer-redux)" in err
    assert run("config", "import", path, "--from", "mmsr")[0] == 2
    with pytest.raises(ConfigError, match="it must be one of basicsr"):
        import_options(path, "mmsr")
    assert [*PROGRAMS] == ["basicsr", "real-esrgan", "neosr", "trainner-redux"]


def test_configurations_are_checked_and_printed(run, tmp_path):
    path = write(tmp_path, '{"batch_size": 3, "training": {"num_steps": 5}}', "mine.json")
    code, out, _ = run("config", "check", path, "--set", "pretraining.num_epoch=7")
    assert (code, out) == (0, f"{path}: correct; pretraining of 7 epochs, training of 5 steps\n")
    code, out, _ = run("config", "show", path)
    assert code == 0
    assert json.loads(out)["batch_size"] == 3
    assert json.loads(out)["seed"] == 0
    assert run("config", "check", write(tmp_path, '{"batch": 3}', "bad.json"))[0] == 1
    code, out, _ = run("config", "schema")
    schema = Path(__file__).parents[1] / "configs" / "schema.json"
    assert json.loads(out) == json.loads(schema.read_text(encoding="utf-8"))
