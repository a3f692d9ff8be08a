"""``torch-sr data degrade``: pairs that are found again, reproducible bytes, safe folders."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.config import DegradationConfig, parse_config
from torch_sr.data.degradation import sharpen
from torch_sr.data.degradation.writing import NoiseAndJPEG, degrade_set
from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.resize import downscale
from torch_sr.errors import DataError, ImageError
from torch_sr.training.stage_data import open_crops, open_validation

NOTHING = NoiseAndJPEG()


@pytest.fixture
def root(tmp_path, monkeypatch, save_photo):
    """A data root with a folder of three photographs, of sizes that 4 does not divide."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_SR_DATA", str(tmp_path / "data"))
    for seed, name in enumerate("abc"):
        save_photo(tmp_path / "data" / "photos" / f"{name}.png", 50, 67, seed=seed)
    return tmp_path / "data"


def degrade(root, out, how=DegradationConfig(), spec="photos", **options):  # noqa: B008
    return degrade_set(spec, root / out, how, data_root=root, **options)


def load(path):
    return np.asarray(PillowImage.open(path))


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# --- what is written


def test_pairs_are_found_again_and_high_resolution_is_the_source(root):
    assert degrade(root, "out") == 3
    pairs = open_pairs(["out"], data_root=root, scale_factor=4, purpose="test", decode=False)
    assert [name.rpartition("/")[2] for name in pairs.names] == ["a", "b", "c"]
    for index, name in enumerate("abc"):
        lr, hr = pairs[index]
        source = load(root / "photos" / f"{name}.png")
        assert np.array_equal(hr, source[:48, :64])
        assert lr.shape == (12, 16, 3)
        assert not pairs.lr_is_made(index)
        error = lr.astype(float) - downscale(source, 4)
        assert 2 < np.abs(error).mean() < 80  # degraded, but the same image
    assert {file.suffix for file in (root / "out/HR").iterdir()} == {".png"}


def test_the_folder_trains_and_validates(root):
    degrade(root, "out", crop=32, per_image=4)
    config = parse_config({"pretraining": {"cr_patch_size": [32, 32], "train_datasets": ["out"]}})
    from torch_sr.training.settings import RunSettings

    settings = RunSettings(data_root=root)
    crops = open_crops("pretraining", config, settings, decode=False)
    validation = open_validation("pretraining", config, settings, decode=False)
    assert len(crops) + len(validation) == 12
    lr, hr = crops[0, 0]
    assert (lr.shape, hr.shape) == ((3, 8, 8), (3, 32, 32))


def test_the_same_call_writes_the_same_bytes_whatever_else_is_in_the_folder(root):
    degrade(root, "one", seed=3, per_image=2)
    degrade(root, "two", seed=3, per_image=2)
    one, two = contents(root / "one"), contents(root / "two")
    assert one == two
    assert len(one) == 2 * 6 + 1
    assert len(set(one.values())) == 6 + 3 + 1  # copies of an image share HR alone
    degrade(root, "other", seed=4, per_image=2)
    assert contents(root / "other")["LR/a_1.png"] != one["LR/a_1.png"]
    (root / "photos/a.png").unlink()
    degrade(root, "fewer", seed=3, per_image=2)
    fewer = contents(root / "fewer")
    assert fewer["LR/b_2.png"] == one["LR/b_2.png"]


def test_every_image_is_degraded_as_the_configuration_says(root):
    gentle = {
        "blur": {"probability": 0.0},
        "resize_probabilities": [0.0, 0.0, 1.0],
        "noise_probability": 0.0,
        "jpeg_probability": 0.0,
    }
    part = {"first": gentle, "second": gentle | {"probability": 0.0}, "final_sinc_probability": 0.0}
    config = parse_config({"degradation": part}).degradation
    assert config.probability == 0
    degrade(root, "gentle", config)
    degrade(root, "strong", parse_config({"degradation": {"probability": 0.01}}).degradation)
    source = downscale(load(root / "photos/a.png"), 4).astype(float)
    errors = [np.abs(load(root / out / "LR/a.png") - source).mean() for out in ("gentle", "strong")]
    assert errors[0] < 12 < errors[1]


def test_sharpened_targets_are_written(root):
    degrade(root, "out", DegradationConfig(sharpen_targets=True))
    source = load(root / "photos/b.png")[:48, :64]
    assert np.array_equal(load(root / "out/HR/b.png"), sharpen(source))
    assert not np.array_equal(load(root / "out/HR/b.png"), source)


@pytest.mark.parametrize("how", [DegradationConfig(), NOTHING])
def test_crops_are_cut_from_both_alike(root, how):
    assert degrade(root, "out", how, crop=16, per_image=10) == 30
    names = sorted(file.name for file in (root / "out/HR").iterdir())
    assert names[0] == "a_01.png"
    assert names[9] == "a_10.png"
    whole = load(root / "photos/a.png")
    windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16, 3))[..., 0, :, :, :]
    places = set()
    for number in range(1, 11):
        hr, lr = (load(root / "out" / x / f"a_{number:02d}.png") for x in ("HR", "LR"))
        found = np.argwhere((windows == hr).all(axis=(2, 3, 4)))
        assert len(found) == 1
        top, left = map(int, found[0])
        assert (top % 4, left % 4) == (0, 0)
        places.add((top, left))
        if how == NOTHING:
            small = downscale(whole, 4)[top // 4 : top // 4 + 4, left // 4 : left // 4 + 4]
            assert np.array_equal(lr, small)
        assert lr.shape == (4, 4, 3)
    assert len(places) > 3


# --- noise and JPEG alone


def test_noise_has_the_requested_standard_deviation(root):
    PillowImage.new("RGB", (400, 400), (128, 128, 128)).save(root / "photos/plain.png")
    degrade(root, "out", NoiseAndJPEG(noise=12.0))
    noise = load(root / "out/LR/plain.png").astype(float) - 128
    assert abs(noise.std() - 12) < 0.3
    assert abs(noise.mean()) < 0.3
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05


def test_compression_is_that_of_pillow(root, tmp_path):
    degrade(root, "out", NoiseAndJPEG(jpeg=30))
    lr = downscale(load(root / "photos/a.png"), 4)
    PillowImage.fromarray(lr).save(tmp_path / "a.jpg", quality=30, subsampling="4:2:0")
    error = load(root / "out/LR/a.png").astype(int) - load(tmp_path / "a.jpg")
    assert np.abs(error).max() <= 3  # another build of libjpeg may round otherwise
    assert np.abs(load(root / "out/LR/a.png").astype(int) - lr).mean() > 4


def test_low_resolution_of_the_set_is_used_and_gray_stays_gray(root, photo):
    for folder, size in (("HR", (32, 48)), ("LR", (8, 12))):
        (root / "mine" / folder).mkdir(parents=True)
        gray = photo(*size, channels=1, seed=len(folder) + size[0])[..., 0]
        PillowImage.fromarray(gray).save(root / "mine" / folder / "x.png")
    degrade(root, "same", NOTHING, "mine")
    assert np.array_equal(load(root / "same/LR/x.png"), load(root / "mine/LR/x.png"))
    degrade(root, "jpeg", NoiseAndJPEG(noise=4, jpeg=50), "mine")
    degrade(root, "photo", DegradationConfig(), "mine")
    assert load(root / "jpeg/LR/x.png").shape == load(root / "photo/LR/x.png").shape == (8, 12)
    degrade(root, "rgb", DegradationConfig(), "mine", channels=3)
    assert load(root / "rgb/LR/x.png").shape == (8, 12, 3)


def test_high_resolution_keeps_16_bits(root, photo):
    from torch_sr.images import Image, read_samples, write_image

    deep = photo(32, 32, dtype=np.uint16)
    (root / "deep").mkdir()
    write_image(root / "deep/x.png", Image.from_array(deep))
    degrade(root, "out", NoiseAndJPEG(jpeg=90), "deep")
    assert np.array_equal(read_samples(root / "out/HR/x.png", channels=3, depth=16), deep)
    assert load(root / "out/LR/x.png").dtype == np.uint8


def test_images_of_the_same_name_get_distinct_files(root):
    for folder in ("one", "two"):
        (root / "set" / folder).mkdir(parents=True)
        shutil.copy(root / "photos/a.png", root / "set" / folder / "A.png")
    shutil.copy(root / "photos/b.png", root / "set/one/a.jpg")
    count = degrade(root, "out", NOTHING, "set:one+two")
    assert count == len(list((root / "out/HR").iterdir())) == 3
    assert len(open_pairs(["out"], data_root=root, scale_factor=4, purpose="test")) == 3


# --- folders


def test_files_of_other_programs_are_never_touched(root):
    (root / "mine").mkdir()
    (root / "mine/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="choose another folder; it contains other files"):
        degrade(root, "mine", overwrite=True)
    before = contents(root)
    for out in ("photos", ".", "photos/../photos"):
        with pytest.raises(DataError, match=r"choose another folder; the original .*photos/a\.png"):
            degrade(root, out, overwrite=True)
    degrade(root, "out")
    with pytest.raises(DataError, match="--overwrite replaces it, or choose another folder"):
        degrade(root, "out")
    with pytest.raises(DataError, match="the original"):
        degrade(root, "out", spec="out", overwrite=True)
    (root / "file").touch()
    with pytest.raises(DataError, match="file"):
        degrade(root, "file")
    assert {name: data for name, data in contents(root).items() if name in before} == before


def test_a_broken_run_leaves_whole_files_and_is_repeated(root, monkeypatch):
    from torch_sr.data.degradation import writing as degrading

    degrade(root, "out", per_image=5)
    degrade(root, "whole", overwrite=True)
    written = []

    def write(path, image):
        if len(written) == 3:
            raise ImageError(f"{path}: make room on the disk")
        write_image(path, image)
        written.append(path)

    write_image = degrading.write_image
    monkeypatch.setattr(degrading, "_MOST_THREADS", 1)
    monkeypatch.setattr(degrading, "write_image", write)
    with pytest.raises(ImageError, match="make room"):
        degrade(root, "out", overwrite=True)
    left = contents(root / "out")
    assert not json.loads(left.pop("degradation.json"))["complete"]
    whole = contents(root / "whole")
    assert left == {name: whole[name] for name in ("HR/a.png", "LR/a.png", "HR/b.png")}
    with pytest.raises(DataError, match="--overwrite replaces it"):
        degrade(root, "out")
    monkeypatch.setattr(degrading, "write_image", write_image)
    degrade(root, "out", overwrite=True)
    assert contents(root / "out") == whole  # nothing is left of the five copies


def test_what_fails_on_an_image_names_it(root, monkeypatch):
    def compress(image, quality):
        raise DataError("cut the image into crops")

    monkeypatch.setattr("torch_sr.data.degradation.writing.compress_levels", compress)
    with pytest.raises(DataError, match=r"^[abc]: cut the image into crops$"):
        degrade(root, "out", NoiseAndJPEG(jpeg=50))


def test_an_interrupt_leaves_whole_files(root):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        degrade(root, "out", progress=interrupt, per_image=20)
    files = sorted((root / "out").rglob("*.png"))
    assert 2 <= len(files) < 120
    for file in files:
        load(file)
    assert not json.loads((root / "out/degradation.json").read_text())["complete"]


# --- the command


@pytest.mark.parametrize(("channels", "shape"), [(1, (12, 16)), (3, (12, 16, 3))])
def test_channels_can_be_set_without_a_file(run, root, channels, shape):
    arguments = ["--set", f"img_channels={channels}"]
    assert run("data", "degrade", "photos", root / "out", *arguments)[0] == 0
    assert load(root / "out/LR/a.png").shape == shape


def test_the_command_reports_its_files_and_records_its_options(run, root, tmp_path):
    config = tmp_path / "real.json"
    config.write_text('{"scale_factor": 2, "seed": 7, "degradation": {"probability": 0.5}}')
    out = root / "out"
    arguments = ["--config", config, "--set", "degradation.first.jpeg_range=[40,60]"]
    code, printed, _ = run("data", "degrade", "photos", out, *arguments, "--crop", 16)
    assert (code, printed) == (0, f"{out}: 3 pairs in HR and LR\n")
    assert load(out / "LR/a.png").shape == (8, 8, 3)
    record = json.loads((out / "degradation.json").read_text())
    assert record.pop("degradation")["first"]["jpeg_range"] == [40, 60]
    assert record == {
        "source": "photos",
        "scale_factor": 2,
        "crop": 16,
        "per_image": 1,
        "seed": 7,
        "pairs": 3,
        "complete": True,
    }


def test_json_and_a_folder_of_the_current_directory(run, root, monkeypatch):
    monkeypatch.chdir(root / "photos")
    (root / "photos/more").mkdir()
    shutil.move(root / "photos/c.png", root / "photos/more/c.png")
    out = root / "new/out"
    arguments = ["--jpeg", 40, "--noise", 5, "--scale-factor", 2, "--json"]
    code, printed, _ = run("data", "degrade", "more", out, *arguments)
    assert code == 0
    assert json.loads(printed) == {"hr": str(out / "HR"), "lr": str(out / "LR"), "pairs": 1}
    record = json.loads((out / "degradation.json").read_text())
    assert (record["noise"], record["jpeg"], record["scale_factor"]) == (5, 40, 2)
    assert load(out / "LR/c.png").shape == (25, 33, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--jpeg", "40", "--set", "seed=1"], 2, "leave out --config and --set, or --jpeg and"),
        (["--jpeg", "0"], 2, "to 1"),
        (["--noise", "-1"], 2, "to 0"),
        (["--for", "fun"], 2, "is not one of 'train', 'val', 'test'"),
        (["--per-image", "0"], 2, "to 1"),
        (["--crop", "30"], 1, "crop 30: choose a multiple of the scale factor 4, such as 32"),
        (["--crop", "52"], 1, "a: choose a smaller crop, or leave the image out; 64x48 pixels"),
        (["--config", "nowhere.json"], 1, "nowhere.json"),
        (["--set", "degradation.first.jpeg_range=[95,30]"], 1, "come first: [30, 95]"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(
    run, root, arguments, code, words
):
    found, _, err = run("data", "degrade", "photos", root / "out", *arguments)
    assert found == code
    assert words in " ".join(err.replace("│", " ").split())
    assert not (root / "out").exists()


def test_an_unknown_source_is_one_line(run, root):
    code, out, err = run("data", "degrade", "photoz", root / "out")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert "did you mean photos?" in err
