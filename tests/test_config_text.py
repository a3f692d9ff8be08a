"""What people write by hand: JSON with comments, values of --set, keys of other trainers."""

from __future__ import annotations

import json

import pytest

from torch_sr.config import Hyperparameters, load_config, parse_config
from torch_sr.config.suggestions import _ALIASES, section_at
from torch_sr.config.text import parse_value, split_list
from torch_sr.errors import ConfigError


def refusal(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def values(override):
    config = parse_config({}, overrides=[override]).to_dict()
    return {
        f"{name}.{key}": value
        for name in ("pretraining", "training", "discriminator", "perceptual_loss")
        for key, value in config[name].items()
    }


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // the seed\n  "seed": 7, /* and */ "batch_size": 2\n}',
        '{"seed": 7, "batch_size": 2,}',
        "{'seed': 7, 'batch_size': 2}",
        "{seed: 7, batch_size: 2}",
        '{"seed": 7, "batch_size": 2, "training": {"g_sched_steps": [1, 2,],},}',
    ],
)
def test_json_as_people_write_it_is_read(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    config = load_config(path)
    assert (config.seed, config.batch_size) == (7, 2)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_unicode_in_any_encoding_is_read(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes('{"training": {"train_datasets": ["Größe"]}, // ü\n}'.encode(encoding))
    assert load_config(path).training.train_datasets == ("Größe",)


def test_keys_repeated_in_json5_are_refused(tmp_path):
    assert "seed is 1 and 2; give this key only once" in refusal(
        tmp_path / "a.json", "{seed: 1, seed: 2,}"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"seed": 1\n "x": 2}', "is not JSON: line 2, column 2: Expecting ',' delimiter"),
        ("{'seed': 1\n 'x': 2}", 'is not JSON: line 2, column 2: Unexpected "\'"'),
        ('// first\n{"download": True}', "line 2, column 14: write true, not True"),
        ('{"seed": None}', "line 1, column 10: write null, not None"),
        ('{"seed": 1, # mine\n}', "line 1, column 13: comments start with //"),
        ('{"seed": 1,,}', 'line 1, column 12: Unexpected ","'),
        ("seed: 1\nbatch_size: 2", "write it as JSON; it is YAML"),
        ("name: a\nnetwork_g:\n  type: RRDBNet", "write it as JSON; it is YAML"),
        ("---\nseed: 1", "write it as JSON; it is YAML"),
        ("# mine\nseed = 1", "write it as JSON; it is TOML"),
        ("[training]\nnum_epoch = 1", "write it as JSON; it is TOML"),
        ('{"a":' * 5000, "too deeply nested"),
        ("{'a':" * 5000, "too deeply nested"),
        ('{"seed": ' + "9" * 5000 + "}", "is not JSON: Exceeds the limit"),
        ("", "is not JSON: line 1, column 1"),
        ("[1, 2]", "must contain an object in braces"),
    ],
)
def test_what_is_no_json_is_diagnosed_by_line_and_column(tmp_path, text, words):
    assert words in refusal(tmp_path / "a.json", text)


def test_other_encodings_are_named_with_the_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"seed": 1,\n "x": "ü"}'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"save it as UTF-8: line 2 .* \(byte 19\)"):
        load_config(path)


# --- values of --set ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a','b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("[a,b]", ["a", "b"]),  # what a shell leaves of the line above
        ("('a', 'b')", ["a", "b"]),
        ("a,b", ["a", "b"]),
        ("'a','b'", ["a", "b"]),
        ("a, b c", ["a", "b c"]),
        ("a", ["a"]),
        ("'a,b',c", ["a,b", "c"]),
        ("o'neill,b", ["o'neill", "b"]),
        ("bsds500:train+test,SunHays80", ["bsds500:train+test", "SunHays80"]),
        ("2024", ["2024"]),
        ("(2024) trip, b", ["(2024) trip", "b"]),
        ("[2024, True]", ["2024", "True"]),
    ],
)
def test_data_sets_need_neither_brackets_nor_quotes(text, expected):
    assert values(f"pretraining.train_datasets={text}")["pretraining.train_datasets"] == expected


@pytest.mark.parametrize("text", ["[]", "()", "", " "])
def test_no_validation_can_be_set(text):
    assert values(f"training.val_datasets={text}")["training.val_datasets"] == []


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("pretraining.cr_patch_size=(64, 96)", [64, 96]),
        ("pretraining.cr_patch_size=64,96", [64, 96]),
        ("training.betas=.5,0.9", [0.5, 0.9]),
        ("training.g_sched_steps=[10, 20,]", [10, 20]),
        ("training.g_sched_steps=10", [10]),
        ("discriminator.fc_features=50", [50]),
        ("discriminator.fc_features=50,", [50]),
        ("perceptual_loss.layer_weights={conv5_4: 1, conv1_1: .5}", {"conv5_4": 1, "conv1_1": 0.5}),
        ("perceptual_loss.layer_weights={'conv5_4': 2}", {"conv5_4": 2}),
        ("perceptual_loss.normalize_loss=True", True),
        ("pretraining.gradient_clip=None", None),
        ("pretraining.gradient_clip=null", None),
        ("pretraining.scheduler='cosine'", "cosine"),
        ("pretraining.lr = 1e-3", 1e-3),
    ],
)
def test_values_are_understood_as_json_python_or_plain_text(override, expected):
    assert values(override)[override.partition("=")[0].strip()] == expected


def test_a_key_of_both_stages_sets_both():
    found = values("train_datasets=imgs")
    assert found["pretraining.train_datasets"] == found["training.train_datasets"] == ["imgs"]
    found = values("augmentation.spatial=none")
    assert found["pretraining.augmentation"]["spatial"] == "none"
    assert found["training.augmentation"]["spatial"] == "none"
    with pytest.raises(ConfigError, match=r"did you mean training\.g_lr"):
        parse_config({}, overrides=["g_lr=1"])


def test_an_override_sets_no_other_key_of_its_section():
    config = parse_config({}, overrides=["training.num_steps=5", "augmentation.compression=1"])
    assert config.training.model_fields_set == {"num_steps", "augmentation"}
    assert config.pretraining.augmentation.model_fields_set == {"compression"}
    config = parse_config({}, overrides=["perceptual_loss.layer_weights.conv1_1=2"])
    assert config.perceptual_loss.layer_weights == {"conv5_4": 1, "conv1_1": 2}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("pretraining.cr_patch_size=64", "whole images, such as [128, 128]"),
        ("pretraining.cr_patch_size=[64, 96", "close the bracket, as in [64, 128]"),
        ("training.val_datasets=null", 'such as ["div2k"], or [] for none'),
        ("pretraining.num_steps=1e5", "is 100000.0; it must be a whole number, 1 or more, or null"),
        ("pretraining.num_steps=1e5", "such as 100000"),
        ("seed", "key.key=value, such as generator.num_basic_blocks=8"),
    ],
)
def test_wrong_values_are_refused_with_an_example(override, words):
    with pytest.raises(ConfigError) as caught:
        parse_config({}, overrides=[override])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["{1, 2}", "b'x'", "1j", "...", "1or 2", "\0", "9" * 5000, "[" * 5000, "{a", "lambda: 0"],
)
def test_strange_values_are_no_traceback(text):
    with pytest.raises(ConfigError):
        parse_config({}, overrides=[f"seed={text}"])


def test_a_text_in_place_of_a_list_is_refused_with_the_list_that_was_meant(tmp_path):
    message = refusal(tmp_path / "a.json", '{"training": {"val_datasets": "imgs"}}')
    assert 'is "imgs"; it must be a list in brackets, such as ["imgs"], or [] for none' in message


def test_lists_are_split_outside_quotes_and_brackets():
    assert split_list("a, 'b, c', [d, e], (f, g),") == ["a", "'b, c'", "[d, e]", "(f, g)"]
    assert parse_value("[[1, x], 'y, z']") == [[1, "x"], "y, z"]


# --- unknown keys -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("generator.num_block", "did you mean num_basic_blocks?"),
        ("generator.num_blocks", "did you mean num_basic_blocks?"),
        ("generator.num_blok", "did you mean num_basic_blocks?"),
        ("generator.num_bloks", "did you mean num_basic_blocks?"),
        ("generator.num_dens_blocks", "did you mean num_dense_blocks?"),
        ("generator.num_residul", "did you mean num_residual_blocks?"),
        ("generator.num_feat", "did you mean rrdb_channels?"),
        ("generator.num_grow_ch", "did you mean growth_channels?"),
        ("num_block", "did you mean generator.num_basic_blocks?"),
        ("num_blok", "did you mean generator.num_basic_blocks?"),
        ("gt_size", "did you mean pretraining.cr_patch_size or training.cr_patch_size?"),
        ("training.gt_size", "did you mean cr_patch_size?"),
        ("lr_g", "did you mean training.g_lr"),
        ("training.lr_d", "did you mean d_lr?"),
        ("batch_size_per_gpu", "did you mean batch_size?"),
        ("upscale", "did you mean scale_factor?"),
        ("pretraining.epochs", "did you mean num_epoch?"),
        ("residual_scaling", "did you mean generator.residual_scaling?"),
        ("generator.batch_size", "did you mean batch_size?"),
        ("generator.zzz", "choose one of rrdb_channels, growth_channels"),
        ("num_workers", "give it as an option of the command, --num-workers"),
        ("training.val_freq", "give it as an option of the command, --validation-interval"),
    ],
)
def test_keys_of_other_trainers_and_places_lead_to_ours(key, meant):
    data = 1
    for part in reversed(key.split(".")):
        data = {part: data}
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    assert f"{key} is 1; there is no such key, {meant}" in str(caught.value)


def test_every_key_that_an_alias_leads_to_exists():
    for alias, targets in _ALIASES.items():
        assert alias == alias.lower()
        for target in targets:
            *parents, key = target.split(".")
            section = section_at(Hyperparameters, parents)
            assert section is not None, target
            assert key in section.model_fields, target
            assert alias != key or parents, alias


def test_print_config_of_json5_is_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{seed: 3,}")
    assert json.loads(load_config(path).to_json())["seed"] == 3
