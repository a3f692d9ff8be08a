"""The recipe of section 9, with one training of hardly a step."""

import importlib
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAME = "p192_t128_cr_16_rrdb_div2k+bsds500"


@pytest.mark.slow
def test_all_trainings_are_reproduced_from_the_data_alone(
    run, tmp_path, save_photo, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    script = importlib.import_module("reproduce_enhanced_srgan")

    def torch_sr(*arguments):  # in this process, not in one for every command
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    monkeypatch.setattr(script, "torch_sr", torch_sr)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for number in range(3):
        save_photo(tmp_path / f"data/photos/{number}.png", 64, 64, seed=number)
        save_photo(tmp_path / f"data/Set5/{number}.png", 48, 64, seed=number + 5)
    stages = ("pretraining", "training")
    changes = [f"{stage}.num_steps=1" for stage in stages]
    command = [
        *("reproduce_enhanced_srgan.py", "--minute", "--only", NAME, "--device", "cpu"),
        *("--train-datasets", "photos", "--val-datasets", "set5"),
        *("--data-root", "data", "--out", "out", "--datasets", "set5"),
        *(word for change in changes for word in ("--set", change)),
    ]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    out = tmp_path / "out"
    assert capsys.readouterr().out.strip() == str(Path("out/README.md"))
    page = (out / "README.md").read_text(encoding="utf-8")
    for kind in ("PSNR", "ESRGAN", "ESRGAN-interp"):
        assert (out / "models" / f"{NAME}_{kind}.safetensors").is_file()
        assert page.count(f"| set5 | {NAME}_{kind} |") == 2
    assert all((out / f"9.2.{number}.png").stat().st_size > 10_000 for number in (1, 2, 3, 4))
    assert (out / "results_paper/set5/0_sheet.png").is_file()
    assert (out / "report_enhanced-srgan.html").is_file()
