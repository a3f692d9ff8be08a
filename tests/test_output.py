"""Exit codes, and that what ``--json`` prints is what docs/reference/output.schema.json says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import torch

from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet

OPTIONS = Path(__file__).parent / "option_files"
DOCS = Path(__file__).parents[1] / "docs" / "reference"
SCHEMA = json.loads((DOCS / "output.schema.json").read_text(encoding="utf-8"))


def validate(value, definition):
    """Against one definition of the schema."""
    schema = {**SCHEMA, "$ref": f"#/$defs/{definition}"}
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(1)
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(tmp_path / "tiny.safetensors", network)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def photos(tmp_path, monkeypatch, save_photo):
    """A folder of two photographs below a data root; nothing is downloaded or cached elsewhere."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_SR_DATA", str(tmp_path / "data"))
    for number in range(2):
        save_photo(tmp_path / "data" / "photos" / f"{number}.png", 32, 32, seed=number)
    return tmp_path / "data" / "photos"


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_upscale_prints_what_the_schema_says(run, model, photos):
    (photos / "bad.png").write_bytes(b"")
    (photos / "notes.txt").touch()
    arguments = ["upscale", photos, "-m", model, "--device", "cpu", "--json"]
    code, out, _ = run(*arguments)
    assert code == 1
    *files, last = [json.loads(line) for line in out.splitlines()]
    for line in (*files, last):
        validate(line, "upscale")
    assert [line["status"] for line in files] == ["done", "done", "failed"]
    assert last["summary"]["other_files"] == {".txt": 1}
    code, out, _ = run(*arguments, "--skip-existing")
    validate(json.loads(out.splitlines()[0]), "upscale_file")
    assert json.loads(out.splitlines()[-1])["summary"]["earlier_results"] == 2


@pytest.mark.parametrize(
    ("definition", "arguments"),
    [
        ("config_import", ["config", "import", str(OPTIONS / "basicsr_esrgan.yml")]),
        ("config_import", ["config", "import", str(OPTIONS / "neosr_test.toml")]),
        ("export", ["export", "{model}", "{folder}.torchscript", "--fixed", "--size", "9x8"]),
        ("models_list", ["models", "list"]),
        ("models_info", ["models", "info", "{model}"]),
        ("data_list", ["data", "list"]),
        ("data_check", ["data", "check", "{photos}", "--scale-factor", "2"]),
        ("data_prepare", ["data", "prepare", "{photos}", "--scale-factor", "2", "--estimate"]),
        ("data_degrade", ["data", "degrade", "{photos}", "{folder}", "--jpeg", "50"]),
        ("test", ["test", "{model}", "-d", "{photos}", "--show-results", "1", "--device", "cpu"]),
        (
            "interpolate",
            [
                *("interpolate", "{model}", "{model}", "{out}", "--alpha", "0.5"),
            ],
        ),
    ],
)
def test_each_command_prints_what_the_schema_says(
    run, model, photos, tmp_path, definition, arguments
):
    names = {"model": model, "photos": photos, "out": tmp_path / "out.safetensors"}
    names["folder"] = tmp_path / "degraded"
    code, out, err = run(*(argument.format(**names) for argument in arguments), "--json")
    assert code in (0, 1), err  # 1: a finding of `data check`
    validate(json.loads(out), definition)


@pytest.mark.parametrize(
    ("code", "kind", "arguments"),
    [
        (1, "ModelError", ["models", "info", "nowhere"]),
        (1, "ImageError", ["upscale", "nothing*.png"]),
        (1, "DataError", ["test", "compact-x4", "-d", "nowhere", "--device", "cpu"]),
        (2, "UsageError", ["upscale"]),
        (2, "UsageError", ["upscale", "a.png", "--scale", "2", "--width", "3"]),
        (2, "UsageError", ["models", "info", "compact-x4", "--nonsense"]),
        (2, "UsageError", ["nonsense"]),
    ],
)
def test_fatal_errors_are_json_where_json_is_asked_for(run, photos, code, kind, arguments):
    found, out, err = run(*arguments, "--json")
    error = json.loads(out)
    validate(error, "error")
    assert (found, error["error"]["exit_code"], error["error"]["type"]) == (code, code, kind)
    assert err == f"torch-sr: error: {error['error']['message']}\n"
    plain, out, _ = run(*arguments)
    assert (plain, out) == (code, "")


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt, 130), (MemoryError, 1)])
def test_interrupts_and_want_of_memory_are_json_too(run, monkeypatch, raised, code):
    def find_model(*_):
        raise raised

    monkeypatch.setattr("torch_sr.models.zoo.find_model", find_model)
    found, out, _ = run("models", "info", "any", "--json")
    validate(json.loads(out), "error")
    assert found == json.loads(out)["error"]["exit_code"] == code


def test_an_interrupted_batch_has_its_sums_and_an_error(run, model, photos, monkeypatch):
    from torch_sr.cli.upscale import run as command

    def interrupted(*arguments):
        yield next(iter(upscale_files(*arguments)))
        raise KeyboardInterrupt

    upscale_files = command.upscale_files
    monkeypatch.setattr(command, "upscale_files", interrupted)
    code, out, err = run("upscale", photos, "-m", model, "--device", "cpu", "--json")
    assert code == 130
    done, summary, error = map(json.loads, out.splitlines())
    for line in (done, summary, error):
        validate(line, "upscale")
    assert (summary["summary"]["done"], summary["summary"]["unfinished"]) == (1, 1)
    assert error["error"]["type"] == "Interrupted"
    assert "1 not finished" in err


def test_a_file_named_like_the_option_is_no_wish_for_json(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("upscale", "--device", "nowhere", "--", "--json")
    assert (code, out) == (1, "")
    assert "nowhere" in err


def test_examples_of_json_in_the_docs_are_what_the_schema_says():
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    lines = [json.loads(line) for block in blocks for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        validate(line, "upscale")
