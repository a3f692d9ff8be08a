import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from torch_sr.aliases import StageName
from torch_sr.config import (
    STAGES,
    AugmentationConfig,
    DegradationConfig,
    GeneratorConfig,
    Hyperparameters,
    PretrainingConfig,
    TrainingConfig,
    json_schema,
    load_config,
    parse_config,
)
from torch_sr.errors import ConfigError
from torch_sr.networks.feature_layers import layer_names
from torch_sr.networks.rrdb import RRDBNet

CONFIGS = Path(__file__).parent.parent / "configs"

# Copied by hand from section 7.3 of enhanced-srgan's README.
TABLE = {
    "scale_factor": 4,
    "batch_size": 16,
    "img_channels": 3,
    "pretraining/num_epoch": 10000,
    "pretraining/cr_patch_size": [128, 128],
    "pretraining/lr": 2e-4,
    "pretraining/sched_step": 200000,
    "pretraining/sched_gamma": 0.5,
    "pretraining/train_datasets": ["div2k"],
    "pretraining/val_datasets": ["div2k"],
    "training/num_epoch": 8000,
    "training/cr_patch_size": [128, 128],
    "training/g_lr": 1e-4,
    "training/d_lr": 1e-4,
    "training/g_sched_steps": [50000, 100000, 200000, 300000],
    "training/g_sched_gamma": 0.5,
    "training/d_sched_steps": [50000, 100000, 200000, 300000],
    "training/d_sched_gamma": 0.5,
    "training/g_adversarial_loss_scaling": 0.005,
    "training/g_content_loss_scaling": 0.01,
    "training/train_datasets": ["div2k"],
    "training/val_datasets": ["div2k"],
    "generator/rrdb_channels": 64,
    "generator/growth_channels": 32,
    "generator/num_basic_blocks": 16,
    "generator/num_dense_blocks": 3,
    "generator/num_residual_blocks": 5,
    "generator/residual_scaling": 0.2,
    "generator/use_subpixel_conv": False,
    "discriminator/vgg_blk_ch": [64, 64, 128, 128, 256, 256, 512, 512],
    "discriminator/fc_features": [100],
    "content_loss/loss_f": "l1",
    "perceptual_loss/layer_weights": {"conv5_4": 1.0},
    "perceptual_loss/vgg_type": "vgg19",
    "perceptual_loss/criterion": "l1",
    "perceptual_loss/normalize_input": True,
    "perceptual_loss/normalize_loss": False,
}
# Copied by hand from Real-ESRGAN's options/train_realesrgan_x4plus.yml; it always blurs at first,
# always adds noise and compresses, and sharpens targets.
KERNELS = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
FIRST_ROUND = {
    "blur": {
        "probability": 1.0,
        "kernel_size": 21,
        "kernels": KERNELS,
        "sigma": [0.2, 3.0],
        "betag": [0.5, 4.0],
        "betap": [1.0, 2.0],
        "sinc_probability": 0.1,
    },
    "resize_probabilities": [0.2, 0.7, 0.1],
    "resize_range": [0.15, 1.5],
    "noise_probability": 1.0,
    "gaussian_probability": 0.5,
    "gaussian_range": [1.0, 30.0],
    "poisson_range": [0.05, 3.0],
    "gray_noise_probability": 0.4,
    "jpeg_probability": 1.0,
    "jpeg_range": [30, 95],
}
SECOND_ROUND = {
    **FIRST_ROUND,
    "blur": {**FIRST_ROUND["blur"], "probability": 0.8, "sigma": [0.2, 1.5]},
    "resize_probabilities": [0.3, 0.4, 0.3],
    "resize_range": [0.3, 1.2],
    "gaussian_range": [1.0, 25.0],
    "poisson_range": [0.05, 2.5],
    "probability": 1.0,
}
DEGRADATION = {
    "probability": 0.0,
    "first": FIRST_ROUND,
    "second": SECOND_ROUND,
    "final_sinc_probability": 0.8,
    "sharpen_targets": False,
}
# Section 8 of the same: spatial transforms in both stages, hard ones in the first.
BEYOND_THE_TABLE = {
    "seed": 0,
    "pretraining/betas": [0.9, 0.99],
    "pretraining/num_steps": None,
    "pretraining/scheduler": "step",
    "pretraining/warmup_steps": 0,
    "pretraining/ema_decay": 0.999,
    "pretraining/gradient_clip": None,
    "pretraining/optimizer": "adam",
    "pretraining/weight_decay": 0.0,
    "pretraining/extra_losses": {"ms_ssim": 0.0, "focal_frequency": 0.0, "perceptual": 0.0},
    "pretraining/augmentation": {
        "spatial": "flip_or_transpose",
        "compression": 0.25,
        "coarse_dropout": 0.25,
        "pipeline": None,
    },
    "training/betas": [0.9, 0.99],
    "training/num_steps": None,
    "training/warmup_steps": 0,
    "training/ema_decay": 0.999,
    "training/gradient_clip": None,
    "training/optimizer": "adam",
    "training/weight_decay": 0.0,
    "training/extra_losses": {"ms_ssim": 0.0, "focal_frequency": 0.0, "ldl": 0.0},
    "training/augmentation": {
        "spatial": "flip_or_transpose",
        "compression": 0.0,
        "coarse_dropout": 0.0,
        "pipeline": None,
    },
    "generator/pixel_unshuffle": 1,
    "discriminator/kind": "vgg",
    "discriminator/unet_channels": 64,
    "perceptual_loss/weights": None,
    "perceptual_loss/backbone": "vgg",
    "watch": {
        "max_skipped": 20,
        "psnr_drop": 6.0,
        "color_drift": 0.05,
        "action": "rollback",
        "lr_factor": 0.5,
        "max_rollbacks": 3,
    },
    "degradation": DEGRADATION,
}
SECTIONS = {
    "pretraining",
    "training",
    "generator",
    "discriminator",
    "content_loss",
    "perceptual_loss",
}


def flat(config: Hyperparameters) -> dict[str, object]:
    found = {}
    for key, value in config.to_dict().items():
        if key in SECTIONS:
            found.update({f"{key}/{inner}": each for inner, each in value.items()})
        else:
            found[key] = value
    return found


def refusal(data: dict, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(data, "run.json", overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def file_refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- defaults and round trips


def test_the_stages_are_sections_in_their_order():
    assert get_args(StageName) == STAGES
    assert [name for name in Hyperparameters.model_fields if name in STAGES] == list(STAGES)
    assert list(parse_config({}).stages) == list(STAGES)


def test_defaults_are_the_tables():
    assert flat(parse_config({})) == TABLE | BEYOND_THE_TABLE
    assert [key for key in flat(parse_config({})) if key in TABLE] == list(TABLE)


def test_every_key_is_described_and_every_section_names_its_keys_that_are_not_in_the_table():
    sections: list[tuple[str, type[BaseModel]]] = [("", Hyperparameters)]
    for name, field in Hyperparameters.model_fields.items():
        if name in SECTIONS:
            sections.append((f"{name}/", field.annotation))
    beyond = set()
    for prefix, section in sections:
        assert all(field.description for field in section.model_fields.values())
        beyond |= {prefix + name for name in named_as_beyond(section)}
    assert beyond == set(BEYOND_THE_TABLE)


def named_as_beyond(section: type[BaseModel]) -> set[str]:
    """The keys that the text of a section names as those that are not in the table."""
    keys = list(section.model_fields)
    found = re.search(r"Not in enhanced-srgan's table: (.*?)\.", " ".join(section.__doc__.split()))
    parts = found[1].split(", ") if found else []
    named = {part for part in parts if part in keys}
    for part in set(parts) - named:
        first = re.fullmatch("(?:and )?all keys from (.*) on", part)[1]
        named |= set(keys[keys.index(first) :])
    return named


def test_every_section_beyond_the_table_says_so_and_describes_its_keys():
    stages = (PretrainingConfig, TrainingConfig)
    inner = [s.model_fields[name] for s in stages for name in ("augmentation", "extra_losses")]
    inner += [Hyperparameters.model_fields[name] for name in ("watch", "degradation")]
    for field in inner:
        section = field.annotation
        assert "Not in enhanced-srgan's table." in section.__doc__
        assert all(field.description for field in section.model_fields.values())


def test_the_old_name_of_an_augmentation_is_read():
    config = parse_config({"pretraining": {"augmentation": {"spatial": "described"}}})
    assert config == parse_config({})
    assert config.to_dict()["pretraining"]["augmentation"]["spatial"] == "flip_or_transpose"


def test_every_key_of_the_degradations_is_described():
    sections: list[type[BaseModel]] = [DegradationConfig]
    for section in sections:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                sections.append(field.annotation)
    assert len(sections) == 5


def test_a_part_of_a_round_keeps_the_defaults_of_that_round():
    part = {"jpeg_range": [50, 90], "blur": {"kernel_size": 7}}
    degradation = parse_config({"degradation": {"first": part, "second": part}}).degradation
    assert (degradation.first.blur.sigma, degradation.second.blur.sigma) == ((0.2, 3), (0.2, 1.5))
    assert (degradation.first.resize_range, degradation.second.resize_range[0]) == (
        (0.15, 1.5),
        0.3,
    )
    config = parse_config({}, overrides=["degradation.second.blur.kernel_size=9"])
    assert (config.degradation.second.blur.sigma[1], config.degradation.probability) == (1.5, 0)
    assert parse_config(config.to_dict()) == config


def test_overrides_of_degradations_are_written_without_quotes():
    overrides = [
        "degradation.first.jpeg_range=[40,80]",
        "degradation.second.blur.sigma=0.5,2",
        "degradation.second.resize_probabilities=0,0.5,0.5",
        'degradation.first.blur.kernels={"iso":0.5,"aniso":0.5}',
        "degradation.sharpen_targets=true",
        "degradation.probability=1",
    ]
    degradation = parse_config({}, overrides=overrides).degradation
    assert degradation.first.jpeg_range == (40, 80)
    assert degradation.second.jpeg_range == (30, 95)
    assert degradation.second.blur.sigma == (0.5, 2.0)
    assert degradation.second.resize_probabilities == (0, 0.5, 0.5)
    assert degradation.first.blur.kernels == {"iso": 0.5, "aniso": 0.5}
    assert degradation.sharpen_targets
    assert degradation.probability == 1


def test_images_with_transparency_are_not_degraded():
    data = {"img_channels": 4, "degradation": {"probability": 0.5}}
    assert "degradation.probability is 0.5; it must be 0 if img_channels is 4" in refusal(data)
    parse_config({"img_channels": 4})


def test_an_override_of_one_kernel_has_to_leave_a_sum_of_1():
    message = refusal({}, ("degradation.first.blur.kernels.iso=0.5",))
    assert "these probabilities must sum to 1; they sum to 1.05" in message
    message = refusal({"degradation": {"first": {"gaussian_noise_prob": 0.5}}})
    assert "no such key, did you mean gaussian_probability?" in message
    message = refusal({"degradation": {"second_blur_prob": 0.5}})
    assert "did you mean second.blur.probability?" in message


def test_a_part_of_an_augmentation_keeps_the_defaults_of_its_stage():
    part = {"augmentation": {"spatial": "dihedral"}}
    config = parse_config({"pretraining": part, "training": part})
    assert config.pretraining.augmentation.spatial == "dihedral"
    assert config.training.augmentation.spatial == "dihedral"
    assert config.pretraining.augmentation.compression == 0.25
    assert config.training.augmentation.compression == 0
    assert config.training.augmentation.coarse_dropout == 0
    config = parse_config({}, overrides=["training.augmentation.compression=0.5"])
    assert config.training.augmentation.compression == 0.5
    assert config.training.augmentation.coarse_dropout == 0
    assert parse_config(config.to_dict()) == config


def test_the_shipped_models_training_is_not_augmented_otherwise_than_it_was():
    augmentation = load_config(CONFIGS / "compact_x4.json").pretraining.augmentation
    assert augmentation == AugmentationConfig(
        spatial="dihedral", compression=0, coarse_dropout=0, pipeline=None
    )


def test_to_dict_and_to_json_are_read_back(tmp_path):
    config = parse_config(
        {
            "batch_size": 1,
            "pretraining": {"cr_patch_size": None, "num_steps": 7},
            "perceptual_loss": {"layer_weights": {"conv1_1": 2, "conv5_4": 0.5}},
        }
    )
    assert parse_config(config.to_dict()) == config
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert load_config(path) == config
    assert config.to_json().endswith("}\n")
    assert config.to_json().splitlines()[1] == '  "scale_factor": 4,'


def test_lists_become_tuples_and_whole_numbers_floats():
    config = parse_config(
        {"pretraining": {"cr_patch_size": (64, 96), "lr": 1}, "discriminator": {"vgg_blk_ch": [8]}}
    )
    assert config.pretraining.cr_patch_size == (64, 96)
    assert isinstance(config.pretraining.lr, float)
    assert config.discriminator.vgg_blk_ch == (8,)


def test_generator_kwargs_build_the_generator():
    config = parse_config(
        {
            "scale_factor": 2,
            "img_channels": 1,
            "generator": {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1},
        }
    )
    network = RRDBNet(**config.generator_kwargs)
    assert network.config.to_dict() == config.generator_kwargs
    assert network.config.rrdb_channels == 8


def test_models_are_frozen_and_checked_when_built_in_python():
    with pytest.raises(ValidationError):
        GeneratorConfig(num_dense_blocks=0)
    with pytest.raises(ValidationError):
        PretrainingConfig().lr = 1.0


def test_defaults_are_not_shared():
    Hyperparameters().perceptual_loss.layer_weights["conv1_1"] = 1.0
    assert Hyperparameters().perceptual_loss.layer_weights == {"conv5_4": 1.0}


@pytest.mark.parametrize(
    ("vgg_type", "convs", "last"),
    [
        ("vgg11", 8, "conv5_2"),
        ("vgg13", 10, "conv5_2"),
        ("vgg16", 13, "conv5_3"),
        ("vgg19", 16, "conv5_4"),
    ],
)
def test_vgg_layers(vgg_type, convs, last):
    assert (len(layer_names(vgg_type)), layer_names(vgg_type)[-1]) == (convs, last)
    config = parse_config({"perceptual_loss": {"vgg_type": vgg_type, "layer_weights": {last: 1}}})
    assert config.perceptual_loss.layer_weights == {last: 1.0}


def test_five_blocks_is_the_last_convolution_of_each():
    section = {"layer_weights": {"five_blocks": 2, "conv1_1": 0.5}}
    config = parse_config({"perceptual_loss": section})
    assert config.perceptual_loss.single_layer_weights == {
        "conv1_1": 0.5, "conv1_2": 0.2, "conv2_2": 0.2, "conv3_4": 2.0, "conv4_4": 2.0,
        "conv5_4": 2.0,
    }  # fmt: skip
    assert set(config.perceptual_loss.single_layer_weights) <= set(layer_names("vgg19"))


EFFICIENTNET = "perceptual_loss.backbone=efficientnet_lite0"


def test_the_default_layers_are_those_of_the_network():
    section = parse_config({}, overrides=[EFFICIENTNET]).perceptual_loss
    assert section.layer_weights == {"four_scales": 1.0}
    assert list(section.single_layer_weights) == ["stage1_1", "stage2_2", "stage3_2", "stage5_3"]
    assert set(section.single_layer_weights) <= set(layer_names("efficientnet_lite0"))
    assert section.network == "efficientnet_lite0"
    # A file that spells out the default of VGG means the default here, and the other way round.
    whole = load_config(CONFIGS / "esrgan_default.json", [EFFICIENTNET])
    assert whole.perceptual_loss == section
    back = parse_config(whole.to_dict(), overrides=["perceptual_loss.backbone=vgg"])
    assert back.perceptual_loss == Hyperparameters().perceptual_loss
    given = {"layer_weights": {"stage7_1": 2, "four_scales": 0.5, "stage1_1": 1}}
    section = parse_config({"perceptual_loss": given}, overrides=[EFFICIENTNET]).perceptual_loss
    shares = parse_config({}, overrides=[EFFICIENTNET]).perceptual_loss.single_layer_weights
    assert section.single_layer_weights == {
        **{name: 0.5 * share for name, share in shares.items()},
        "stage7_1": 2,
        "stage1_1": 1 + 0.5 * shares["stage1_1"],
    }


def test_efficientnet_has_its_own_layers():
    names = layer_names("efficientnet_lite0")
    assert (names[0], names[1], names[-1], len(names)) == ("stem", "stage1_1", "stage7_1", 17)
    added = [EFFICIENTNET, "perceptual_loss.layer_weights.stage4_3=2"]
    section = parse_config({}, overrides=added).perceptual_loss
    assert section.layer_weights == {"four_scales": 1.0, "stage4_3": 2.0}
    for layer, words in (
        ("stage_2_2", "efficientnet_lite0 has no such layer, did you mean stage2_2?"),
        ("conv3_4", 'is 1.0; leave layer_weights out or write {"four_scales": 1}: '),
    ):
        data = {"backbone": "efficientnet_lite0", "layer_weights": {layer: 1}}
        assert f"perceptual_loss.layer_weights.{layer} is 1" in refusal({"perceptual_loss": data})
        assert words in refusal({"perceptual_loss": data})
    data = {"layer_weights": {"stage1_1": 1}}
    assert "vgg19 has no such layer" in refusal({"perceptual_loss": data})
    assert "must be 'vgg' or 'eff" in refusal({"perceptual_loss": {"backbone": "efficientnet"}})
    null = {"backbone": "efficientnet_lite0", "layer_weights": None}
    assert "layer_weights is null; it must be an object" in refusal({"perceptual_loss": null})


def test_which_stages_need_features():
    config = Hyperparameters()
    assert [config.needs_features(name) for name in config.stages] == [False, True]
    config = parse_config({}, overrides=["pretraining.extra_losses.perceptual=0.1"])
    assert config.needs_features("pretraining")
    assert "training.extra_losses.perceptual" in refusal(
        {"training": {"extra_losses": {"perceptual": 1}}}
    )


def test_extra_losses_that_cannot_be_are_refused():
    small = {"cr_patch_size": [8, 8], "extra_losses": {"ms_ssim": 1}}
    assert "fewer than 11 pixels" in refusal({"pretraining": small})
    parse_config({"pretraining": {**small, "num_epoch": 0}})
    no_average = {"ema_decay": 0, "extra_losses": {"ldl": 1}}
    assert "training.ema_decay is 0" in refusal({"training": no_average})


@pytest.mark.parametrize(
    "spec",
    [
        *("set5", "bsds500:train+test", "SunHays80", "/data/my photos", "a/b:val", r"C:\x:train"),
        *("my:set", "my:set:val", "set:GT<LQ_jpeg<LQ_blur", "set:one folder+two", "photos, all"),
    ],
)
def test_data_set_specs(spec):
    assert parse_config({"training": {"val_datasets": [spec]}}).training.val_datasets == (spec,)


# --- the committed files


def test_default_file_holds_every_default_in_full():
    written = json.loads((CONFIGS / "esrgan_default.json").read_text())
    assert written.pop("$schema") == "./schema.json"
    assert written == Hyperparameters().to_dict()


@pytest.mark.parametrize(
    ("name", "pretraining_crop", "training_crop", "blocks", "datasets"),
    [
        ("esrgan_128_cr_23_rrdb_div2k", 128, 128, 23, ("div2k",)),
        ("esrgan_192_cr_23_rrdb_div2k", 192, 192, 23, ("div2k",)),
        ("esrgan_p192_t128_cr_23_rrdb_div2k", 192, 128, 23, ("div2k",)),
        ("esrgan_p192_t128_cr_23_rrdb_div2k+bsds500", 192, 128, 23, ("div2k", "bsds500")),
        ("esrgan_p192_t128_cr_16_rrdb_div2k+bsds500", 192, 128, 16, ("div2k", "bsds500")),
    ],
)
def test_trainings_of_the_description(name, pretraining_crop, training_crop, blocks, datasets):
    config = load_config(CONFIGS / f"{name}.json")
    expected = TABLE | BEYOND_THE_TABLE
    expected["pretraining/cr_patch_size"] = [pretraining_crop] * 2
    expected["training/cr_patch_size"] = [training_crop] * 2
    expected["generator/num_basic_blocks"] = blocks
    expected["pretraining/train_datasets"] = list(datasets)
    expected["training/train_datasets"] = list(datasets)
    assert flat(config) == expected


def test_the_training_of_real_esrgan():
    config = load_config(CONFIGS / "real_x4.json")
    assert config.degradation.model_dump(mode="json") == {
        **DEGRADATION,
        "probability": 1.0,
        "sharpen_targets": True,
    }
    assert config.generator == GeneratorConfig(num_basic_blocks=23)
    assert config.discriminator.kind == "unet"
    # Copied by hand from Real-ESRGAN's options.
    weights = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}
    assert config.perceptual_loss.single_layer_weights == weights
    assert config.training.g_content_loss_scaling == 1
    assert config.training.g_adversarial_loss_scaling == 0.1
    for stage, steps in ((config.pretraining, 1_000_000), (config.training, 400_000)):
        assert (stage.num_steps, stage.cr_patch_size) == (steps, (256, 256))


def test_the_compact_training_for_photographs_is_milder_than_that():
    config, real = (load_config(CONFIGS / f"{name}real_x4.json") for name in ("compact_", ""))
    assert config.generator == GeneratorConfig(rrdb_channels=32, num_basic_blocks=3)
    mild, strong = config.degradation, real.degradation
    assert 0 < mild.probability <= strong.probability
    for a, b in ((mild.first, strong.first), (mild.second, strong.second)):
        assert a.resize_range[0] >= b.resize_range[0]
        assert a.gaussian_range[1] <= b.gaussian_range[1]
        assert a.jpeg_range[0] >= b.jpeg_range[0]
        assert a.blur.sigma[1] <= b.blur.sigma[1]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.name)
def test_every_committed_file_loads_and_names_the_schema(path):
    if path.name != "schema.json":
        load_config(path)
        assert json.loads(path.read_text())["$schema"] == "./schema.json"


def test_committed_schema_is_the_generated_one():
    committed = json.loads((CONFIGS / "schema.json").read_text())
    assert committed == json_schema(), "run: python -m torch_sr.config > configs/schema.json"


def test_schema_names_its_draft_and_refuses_unknown_keys():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    assert schema["description"]
    assert set(schema["properties"]) == {"$schema", *Hyperparameters.model_fields}
    assert schema["additionalProperties"] is False
    scaling = schema["$defs"]["GeneratorConfig"]["properties"]["residual_scaling"]
    assert (scaling["exclusiveMinimum"], scaling["maximum"], scaling["default"]) == (0, 1, 0.2)


# --- refusals

WHOLE = "it must be a whole number, 1 or more"
FACTOR = "it must be a number above 0 and at most 1"
PROBABILITY = "it must be a number from 0 to 1"
CROP = "it must be [height, width] in whole pixels, or null for whole images"
BETAS = "it must be [beta1, beta2], two numbers from 0 to below 1"


@pytest.mark.parametrize(
    ("path", "value", "remedy"),
    [
        ("scale_factor", 5, "it must be 1, 2, 3, 4 or 8"),
        ("scale_factor", True, "it must be 1, 2, 3, 4 or 8"),
        ("scale_factor", 4.0, "it must be 1, 2, 3, 4 or 8"),
        ("scale_factor", "4", "it must be 1, 2, 3, 4 or 8"),
        ("img_channels", 2, "it must be 1, 3 or 4"),
        ("img_channels", True, "it must be 1, 3 or 4"),
        ("batch_size", 0, WHOLE),
        ("batch_size", 1.5, WHOLE),
        ("batch_size", "16", WHOLE),
        ("batch_size", True, WHOLE),
        ("batch_size", None, WHOLE),
        ("seed", -1, "it must be a whole number from 0 to 4294967295"),
        ("bach_size", 8, "there is no such key, did you mean batch_size?"),
        ("generator.num_basic_block", 23, "no such key, did you mean num_basic_blocks?"),
        ("training.lr", 1e-4, "no such key, did you mean g_lr?"),
        ("content_loss.zzz", 1, "there is no such key, choose one of loss_f"),
        ("generator", 3, "it must be an object in braces"),
        ("generator", None, "it must be an object in braces"),
        ("pretraining.num_epoch", -1, "it must be a whole number, 0 or more"),
        ("pretraining.num_steps", 0, "it must be a whole number, 1 or more, or null"),
        ("pretraining.warmup_steps", -5, "it must be a whole number, 0 or more"),
        ("training.warmup_steps", 0.5, "it must be a whole number, 0 or more"),
        ("training.gradient_clip", 0, "it must be a number above 0, or null"),
        ("training.extra_losses.lld", 1, "no such key, did you mean ldl?"),
        ("pretraining.extra_losses.ldl", 1, "there is no such key"),
        ("training.extra_losses.ms_ssim", -1, "it must be a number, 0 or more"),
        ("watch.action", "hope", "it must be 'rollback' or 'stop'"),
        ("watch.psnr_drop", -3, "it must be a number above 0, or null"),
        ("watch.lr_factor", 2, "it must be a number above 0 and at most 1"),
        ("pretraining.cr_patch_size", [128], CROP),
        ("pretraining.cr_patch_size", [128, 128, 3], CROP),
        ("pretraining.cr_patch_size", [0, 128], CROP),
        ("pretraining.cr_patch_size", ["128", 128], CROP),
        ("pretraining.cr_patch_size", 128, CROP),
        ("pretraining.cr_patch_size", [126, 130], "scale_factor 4, the nearest is [128, 132]"),
        ("training.cr_patch_size", [1, 128], "scale_factor 4, the nearest is [4, 128]"),
        ("pretraining.lr", 0, "it must be a number above 0"),
        ("pretraining.lr", -1e-4, "it must be a number above 0"),
        ("pretraining.lr", "2e-4", "it must be a number above 0"),
        ("pretraining.lr", True, "it must be a number above 0"),
        ("pretraining.lr", float("nan"), "it must be a number above 0"),
        ("pretraining.lr", float("inf"), "it must be a number above 0"),
        ("pretraining.sched_step", 0, WHOLE),
        ("pretraining.sched_gamma", 0, FACTOR),
        ("pretraining.sched_gamma", 1.1, FACTOR),
        ("pretraining.betas", [0.9, 1.0], BETAS),
        ("pretraining.betas", [0.9], BETAS),
        ("pretraining.scheduler", "cosin", "it must be 'step' or 'cosine'"),
        ("pretraining.ema_decay", 1, "it must be a number from 0 to below 1"),
        ("pretraining.train_datasets", [], "it must not be empty"),
        ("pretraining.train_datasets", "div2k", "it must be a list in brackets"),
        ("pretraining.augmentation.compression", 1.5, PROBABILITY),
        ("training.augmentation.coarse_dropout", -0.1, PROBABILITY),
        ("training.augmentation.compression", "0.5", PROBABILITY),
        (
            "training.augmentation.spatial",
            "flips",
            "it must be 'flip_or_transpose', 'dihedral' or 'none'",
        ),
        ("pretraining.augmentation.pipeline", 3, "the path of a JSON or YAML file, or null"),
        ("training.augmentation.compresion", 0.5, "no such key, did you mean compression?"),
        ("training.g_sched_steps", [], "it must not be empty"),
        ("training.g_sched_steps", [10, 10], "each number must be larger than the one before it"),
        ("training.d_sched_steps", [20, 10], "each number must be larger than the one before it"),
        ("training.d_sched_gamma", 2, FACTOR),
        ("training.g_adversarial_loss_scaling", -0.1, "it must be a number, 0 or more"),
        ("training.betas", [-0.1, 0.9], BETAS),
        ("generator.num_dense_blocks", 0, WHOLE),
        ("generator.residual_scaling", 0, FACTOR),
        ("generator.residual_scaling", 1.5, FACTOR),
        ("generator.use_subpixel_conv", 1, "it must be true or false"),
        ("generator.use_subpixel_conv", "false", "it must be true or false"),
        ("discriminator.vgg_blk_ch", [], "it must not be empty"),
        ("discriminator.fc_features", 100, "it must be a list in brackets"),
        ("content_loss.loss_f", "l3", "it must be 'l1', 'l2' or 'mse'"),
        ("perceptual_loss.vgg_type", "vgg18", "it must be 'vgg11', 'vgg13', 'vgg16' or 'vgg19'"),
        ("perceptual_loss.criterion", "mse", "it must be 'l1', 'l2' or 'cosine'"),
        ("perceptual_loss.layer_weights", {}, "it must not be empty"),
        ("perceptual_loss.layer_weights", ["conv5_4"], "it must be an object in braces"),
        ("perceptual_loss.layer_weights.conv5_4", 0, "it must be a number above 0"),
        ("perceptual_loss.layer_weights.conv5_9", 1, "no such layer, did you mean conv5_4?"),
        (
            "perceptual_loss.layer_weights.relu",
            1,
            "vgg19 has no such layer, choose one of conv1_1, ",
        ),
        ("degradation.probability", 1.2, PROBABILITY),
        ("degradation.first.jpeg_range", [95, 30], "smaller number must come first: [30, 95]"),
        ("degradation.first.jpeg_range", [0, 95], "two whole numbers from 1 to 100"),
        ("degradation.first.jpeg_range", [30.5, 95], "two whole numbers from 1 to 100"),
        ("degradation.first.jpeg_range", 75, "from 1 to 100, such as [30, 95]"),
        ("degradation.first.gaussian_range", [1, 300], "two numbers from 0 to 255"),
        ("degradation.first.poisson_range", [-1, 2], "two numbers, 0 or more"),
        ("degradation.second.resize_range", [1.1, 1.5], "must include 1, the unchanged size, such"),
        ("degradation.second.resize_range", [0.2, 0.8], "size, such as [0.2, 1]"),
        ("degradation.second.resize_range", [0, 1], "two numbers above 0"),
        ("degradation.first.resize_probabilities", [0.5, 0.7, 0.1], "sum to 1; they sum to 1.3"),
        ("degradation.first.resize_probabilities", [1.5, -0.5, 0], "three numbers from 0 to 1"),
        ("degradation.first.resize_probabilities", [0.5, 0.5], "three numbers from 0 to 1"),
        ("degradation.first.blur.kernel_size", 20, "it must be odd, such as 21, because a kernel"),
        ("degradation.first.blur.kernel_size", 5, "an odd whole number from 7 to 51"),
        ("degradation.first.blur.sigma", [3, 0.2], "must come first: [0.2, 3]"),
        ("degradation.first.blur.sigma", [0, 1], "two numbers above 0"),
        ("degradation.first.blur.kernels", {"iso": 0.5}, "must sum to 1; they sum to 0.5"),
        ("degradation.first.blur.kernels", {}, "it must not be empty"),
        ("degradation.first.blur.kernels.isoo", 1, "no such kernel, did you mean iso?"),
        ("degradation.first.blur.kernels.iso", -1, PROBABILITY),
        ("degradation.second.blur.kernels.box", 1, "no such kernel, choose one of iso, aniso, gen"),
        ("degradation.sharpen_targets", 1, "it must be true or false"),
    ],
)
def test_refusal_names_path_value_and_remedy(path, value, remedy):
    data = value
    for key in reversed(path.split(".")):
        data = {key: data}
    message = refusal(data)
    assert message.startswith(f"run.json: {path} is ")
    shown = message.removeprefix(f"run.json: {path} is ").partition("; ")[0]
    assert json.dumps(json.loads(shown)) in (json.dumps(value), json.dumps(value) + ".0")
    assert remedy in message


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (
            {"training": {"g_sched_steps": [0]}},
            "training.g_sched_steps[0] is 0; it must be a whole",
        ),
        (
            {"discriminator": {"vgg_blk_ch": [64, 0]}},
            "discriminator.vgg_blk_ch[1] is 0; it must be",
        ),
        ({"training": {"val_datasets": ["set5", ""]}}, 'training.val_datasets[1] is ""; it must'),
    ],
)
def test_refusal_names_the_place_in_a_list(data, start):
    assert refusal(data).startswith(f"run.json: {start}")


@pytest.mark.parametrize("spec", ["", " ", ":train", "div2k:", "div2k:train+", "a: ", 5])
def test_bad_data_set_specs(spec):
    message = refusal({"pretraining": {"val_datasets": [spec]}})
    assert (
        f"pretraining.val_datasets[0] is {json.dumps(spec)}; it must be the name or folder of"
        in message
    )


def test_layer_must_be_one_of_the_chosen_network():
    message = refusal({"perceptual_loss": {"vgg_type": "vgg16"}})
    assert "perceptual_loss.layer_weights.conv5_4 is 1.0; vgg16 has no such layer" in message
    assert "did you mean conv5_3?" in message


def test_whole_images_need_batches_of_one():
    message = refusal({"training": {"cr_patch_size": None}})
    assert "batch_size is 16; it must be 1 if training.cr_patch_size is null" in message
    whole = {"batch_size": 1, "training": {"cr_patch_size": None}}
    assert parse_config({**whole, "discriminator": {"kind": "unet"}})
    message = refusal(whole)  # the dense layers of the VGG one need a size
    assert "training.cr_patch_size is null" in message
    assert "'unet'" in message


def test_the_unet_discriminator_needs_eight_pixels_a_side():
    small = {"training": {"cr_patch_size": [4, 8]}}
    assert parse_config(small)  # the VGG one does not
    message = refusal({**small, "discriminator": {"kind": "unet"}})
    assert "training.cr_patch_size is [4, 8]; each side must be 8 or more if" in message
    left_out = {"training": {"cr_patch_size": [4, 4], "num_epoch": 0}}
    assert parse_config({**left_out, "discriminator": {"kind": "unet"}})
    assert parse_config({"training": {"cr_patch_size": [8, 8]}, "discriminator": {"kind": "unet"}})


def test_crops_of_a_stage_left_out_do_not_matter():
    assert "training.cr_patch_size" in refusal(
        {"scale_factor": 3, "pretraining": {"cr_patch_size": [96, 96]}}
    )
    assert parse_config(
        {
            "scale_factor": 3,
            "pretraining": {"cr_patch_size": [96, 96]},
            "training": {"num_epoch": 0},
        }
    )


def test_several_faults_are_counted():
    message = refusal({"batch_size": 0, "seed": -1, "generator": {"x": 1}})
    assert message.startswith("run.json: batch_size is 0; ")
    assert message.endswith(" (and 2 more)")


def test_strange_names_and_long_values_stay_on_one_short_line():
    assert r"x\u2028" in refusal({"x\u2028\ny": 1})
    message = refusal({"content_loss": {"loss_f": "a\nb\x1b\ud800" + "ü" * 5000}})
    assert "ü…" in message
    assert len(message) < 200


# --- files


def test_files_that_cannot_be_read(tmp_path):
    assert "No such file" in file_refusal(tmp_path / "none.json")
    assert "directory" in file_refusal(tmp_path)
    path = tmp_path / "a.json"
    assert "is not UTF-8 text" in file_refusal(path, b'{"seed": "\xff\xfe"}')
    assert "is not JSON: line 1, column 1" in file_refusal(path, b"\x00\x01\x02")
    assert "is not JSON: line 1, column 1" in file_refusal(path, b"")
    assert "is not JSON: line 3, column 3" in file_refusal(path, b'{\n  "seed": 1\n  "x": 2\n}')
    assert "is not JSON" in file_refusal(path, b"[" * 200000)
    assert "contains [1]; it must contain an object" in file_refusal(path, b"[1]")
    assert "seed is Infinity" in file_refusal(path, b'{"seed": 1e999}')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"seed": 1, "seed": 2}', "seed is 1 and 2; give this key only once"),
        ('{"generator": {}, "generator": {}}', "generator is {} and {}; give this key"),
        (
            '{"perceptual_loss": {"layer_weights": {"conv1_1": 1, "conv1_1": 2}}}',
            "perceptual_loss.layer_weights.conv1_1 is 1 and 2; give this key only once",
        ),
        ('{"training": {"betas": [0, 0], "betas": [0, 0]}}', "training.betas is [0, 0] and [0"),
        ('{"zzz": 1, "zzz": 1}', "zzz is 1 and 1; give this key only once"),
        ('{"seed": 1, "seed": 1, "seed": 1}', "seed is 1 and 1 and 1; "),
    ],
)
def test_repeated_keys_are_refused(tmp_path, text, expected):
    assert expected in file_refusal(tmp_path / "a.json", text.encode())


def test_schema_key_and_byte_order_mark_are_accepted(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"$schema": "./schema.json", "seed": 3}', encoding="utf-8-sig")
    assert load_config(path).seed == 3
    assert load_config(str(path)).seed == 3
    assert '"$schema"' in file_refusal(path, b'{"generator": {"$schema": ""}}')


# --- overrides


def test_overrides_win_over_the_file_and_the_last_over_the_others(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"generator": {"num_basic_blocks": 23, "rrdb_channels": 8}}')
    overrides = [
        "generator.num_basic_blocks=4",
        "generator.num_basic_blocks=8",
        "pretraining.scheduler=cosine",
        'training.train_datasets=["a", "b:c=d"]',
        "pretraining.cr_patch_size=[64,96]",
        "pretraining.num_steps=null",
        'perceptual_loss.layer_weights={"conv3_4":1}',
        "seed=5",
    ]
    config = load_config(path, overrides)
    assert (config.generator.num_basic_blocks, config.generator.rrdb_channels) == (8, 8)
    assert config.pretraining.scheduler == "cosine"
    assert config.training.train_datasets == ("a", "b:c=d")
    assert config.pretraining.cr_patch_size == (64, 96)
    assert config.pretraining.num_steps is None
    assert config.perceptual_loss.layer_weights == {"conv3_4": 1.0}
    assert config.seed == 5


def test_override_of_one_layer_keeps_the_others_and_changes_no_input():
    data = MappingProxyType({"perceptual_loss": {"vgg_type": "vgg19"}})
    config = parse_config(data, overrides=["perceptual_loss.layer_weights.conv3_4=0.5"])
    assert config.perceptual_loss.layer_weights == {"conv5_4": 1.0, "conv3_4": 0.5}
    assert data == {"perceptual_loss": {"vgg_type": "vgg19"}}
    assert parse_config({}).perceptual_loss.layer_weights == {"conv5_4": 1.0}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("x", 'override "x": it must be written as key.key=value'),
        ("", 'override "": it must be written'),
        ("=3", '"" is 3; there is no such key'),
        (
            "generator.num_basic_block=8",
            "generator.num_basic_block is 8; there is no such key, did ",
        ),
        ("generatr.num_basic_blocks=8", "generatr is {"),
        ("generatr.num_basic_blocks=8", "did you mean generator?"),
        ("generator.num_basic_blocks.x=8", "there is nothing below generator.num_basic_blocks"),
        ("generator.num_basic_blocks=eight", 'generator.num_basic_blocks is "eight"; it must'),
        ("generator.num_basic_blocks=", 'generator.num_basic_blocks is ""; it must'),
        ("pretraining.lr=NaN", "pretraining.lr is NaN; it must be a number above 0"),
        (
            'perceptual_loss.layer_weights={"conv1_1":1,"conv1_1":2}',
            "conv1_1 is 1 and 2; give this",
        ),
    ],
)
def test_bad_overrides(override, expected):
    message = refusal({}, (override,))
    assert expected in message
    assert message.startswith(("override ", "run.json with overrides: "))
