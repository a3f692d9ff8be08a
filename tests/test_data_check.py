"""torch-sr data check: every kind of fault is found; valid data sets pass."""

import json
import os

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from torch_sr.data.inspection.check import check_datasets, datasets_of, find_datasets
from torch_sr.data.inspection.perceptual_hashes import perceptual_hash
from torch_sr.data.resize import downscale
from torch_sr.errors import DataError


@pytest.fixture
def scene():
    """Pictures with nothing in common: ``scene(seed)``, 160x200 RGB."""

    def make(seed, height=160, width=200):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(20, 236, (20, 25, 3), np.uint8)
        return np.asarray(PillowImage.fromarray(coarse).resize((width, height)))

    return make


@pytest.fixture
def save():
    def write(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(image).save(path)
        return image

    return write


@pytest.fixture
def folder(tmp_path, scene, save):
    """A sound set of four pairs at x4."""
    for seed in range(4):
        image = save(tmp_path / f"set/HR/{seed}.png", scene(seed))
        save(tmp_path / f"set/LR/{seed}x4.png", downscale(image, 4))
    return tmp_path / "set"


def check(root, scale_factor=4, **options):
    datasets, findings = find_datasets(root, scale_factor)
    return check_datasets(datasets, scale_factor, findings=findings, **options)


def severe(report):
    return [(f.severity, f.check) for f in report.findings if f.severity != "note"]


def test_a_valid_set_passes(folder):
    reported = []
    report = check(folder, crop_size=(128, 128), progress=lambda *so_far: reported.append(so_far))
    assert report.findings == []
    assert report.passed
    assert reported[-1] == (4, 4)
    assert [(s.label, s.purpose, len(s.pairs)) for s in report.datasets] == [("set", "train", 4)]
    assert json.loads(json.dumps(report.to_dict())) == {
        "passed": True,
        "datasets": [{"label": "set", "purpose": "train", "images": 4, "with_lr": 4}],
        "findings": [],
    }


def lr_of(folder, change):
    """Make every LR image of the set from its HR image."""
    for file in (folder / "HR").iterdir():
        image = np.asarray(PillowImage.open(file))
        made = np.asarray(change(image))
        PillowImage.fromarray(made).save(folder / "LR" / f"{file.stem}x4.png")


def only(report):
    (finding,) = report.findings
    assert "\n" not in finding.message
    return finding


def test_nearest_neighbor_is_found_by_its_shift(folder):
    lr_of(folder, lambda image: image[::4, ::4])
    finding = only(check(folder))
    assert (finding.severity, finding.check) == ("error", "shift")
    assert finding.value == pytest.approx(0.375, abs=0.03)
    assert "LR is shifted by +0.3" in finding.message
    assert "HR pixels" in finding.message


def test_a_small_shift_is_a_warning_and_one_shifted_image_too(folder, scene, save):
    lr_of(folder, lambda image: downscale(np.roll(image, 4, axis=0), 4))
    assert severe(check(folder)) == [("error", "shift")]
    lr_of(folder, lambda image: downscale(image, 4))
    save(folder / "LR/2x4.png", downscale(np.roll(scene(2), 4, axis=1), 4))
    finding = only(check(folder))
    assert (finding.severity, finding.check) == ("warning", "shift")
    assert "1 of 4 LR images" in finding.message
    assert finding.images == (str(folder / "LR/2x4.png"),)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda image: downscale(image, 4)[..., ::-1], "swapping red and blue"),
        (
            lambda image: (255 * (downscale(image, 4) / 255) ** 1.3).astype(np.uint8),
            "a gamma of 1.",
        ),
        (lambda image: (downscale(image, 4) * 0.8).astype(np.uint8), "contrast of 0.80"),
        (lambda image: np.full_like(downscale(image, 4), 90), ""),
    ],
)
def test_other_colors_are_found_and_explained(folder, change, cause):
    lr_of(folder, change)
    findings = [f for f in check(folder).findings if f.check == "color"]
    assert findings[0].severity == "error"
    assert cause in findings[0].message
    assert findings[0].value > 2


def test_other_filters_are_not_faults(folder):
    def lanczos(image):
        return PillowImage.fromarray(image).resize((50, 40), PillowImage.LANCZOS)

    lr_of(folder, lanczos)
    assert check(folder).findings == []


def test_wrong_sizes_and_corrupt_images_are_named(folder, scene, save):
    save(folder / "LR/0x4.png", scene(0)[:39, :50])
    data = (folder / "HR/1.png").read_bytes()
    (folder / "HR/1.png").write_bytes(data[: len(data) // 2])
    (folder / "LR/2x4.png").write_bytes(b"")
    report = check(folder)
    assert severe(report) == [("error", "scale"), ("error", "corrupt")]
    scale, corrupt = report.findings
    assert "50x39 pixels; at x4, HR of 200x160 pixels needs LR of 50x40" in scale.message
    assert "and 1 more such image" in corrupt.message
    assert corrupt.value == 2


def test_images_too_small_for_the_crop(folder, scene, save):
    save(folder / "HR/2.png", scene(2)[:100, :200])
    save(folder / "LR/2x4.png", downscale(scene(2)[:100, :200], 4))
    assert check(folder, crop_size=(64, 100)).findings == []
    finding = only(check(folder, crop_size=(64, 104)))
    assert (finding.severity, finding.check) == ("error", "size")
    assert "a crop needs 104x104 pixels, and it has 200x100" in finding.message


def test_a_few_pixels_more_than_a_multiple_are_usual(folder, scene, save):
    save(folder / "HR/2.png", scene(2, 163, 202))
    save(folder / "LR/2x4.png", downscale(scene(2, 163, 202), 4))
    assert check(folder).findings == []


def test_missing_and_left_over_partners(folder, scene, save):
    save(folder / "LR/9x4.png", downscale(scene(9), 4))
    finding = only(check(folder))
    assert (finding.severity, finding.check) == ("warning", "pairing")
    assert "9x4.png" in finding.message
    (folder / "LR/0x4.png").unlink()
    datasets, findings = datasets_of({"train": [str(folder)]}, folder, 4)
    assert datasets == []
    assert "no low-resolution partner" in findings[0].message
    assert not check_datasets(datasets, 4, findings=findings).passed


def test_duplicates_within_a_set(folder, scene, save):
    save(folder / "HR/again.png", scene(1)[:, ::-1])
    save(folder / "LR/againx4.png", downscale(scene(1)[:, ::-1], 4))
    finding = only(check(folder))
    assert (finding.severity, finding.check, finding.value) == ("warning", "duplicate", 1)
    assert len(finding.images) == 2


def test_training_images_in_a_validation_set_are_an_error(tmp_path, scene, save):
    for seed in range(3):
        save(tmp_path / f"mine/{seed}.png", scene(seed))
        save(tmp_path / f"judge/{seed}.png", scene(seed + 2))
    PillowImage.fromarray(scene(2)).resize((100, 80)).save(tmp_path / "mine/2.jpg", quality=60)
    specs = {"train": ["mine"], "val": ["judge"]}
    datasets, findings = datasets_of(specs, tmp_path, 4)
    report = check_datasets(datasets, 4, findings=findings)
    leak = report.findings[0]
    assert (leak.severity, leak.check, leak.dataset) == ("error", "duplicate", "mine")
    assert leak.message.startswith("leave 2 of 4 images (")
    assert leak.message.endswith("out here or in judge, which contains them too and is for val")
    both = {"val": ["judge"], "test": ["judge"]}
    datasets, _ = datasets_of(both, tmp_path, 4)
    assert check_datasets(datasets, 4).passed


def test_kinds_are_counted(folder, scene, save):
    save(folder / "HR/0.png", scene(0)[..., 0])
    finding = only(check(folder))
    assert (finding.severity, finding.check) == ("note", "kind")
    assert "1 gray, of 4 images" in finding.message


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 500), (9, 9)])
def test_tiny_images_do_not_crash(tmp_path, scene, save, height, width):
    save(tmp_path / "set/a.png", scene(0)[:height, :width])
    assert check(tmp_path / "set").passed


def test_flat_images_have_no_shift(tmp_path, save):
    save(tmp_path / "set/HR/a.png", np.full((80, 80, 3), 77, np.uint8))
    save(tmp_path / "set/LR/a.png", np.full((20, 20, 3), 77, np.uint8))
    assert check(tmp_path / "set").findings == []


def test_stray_files_and_links_are_ignored(folder):
    for name in ("HR/Thumbs.db", "HR/.DS_Store", "HR/notes.txt", "LR/._0x4.png"):
        (folder / name).write_bytes(b"\0")
    (folder / "HR/loop").symlink_to(folder, target_is_directory=True)
    assert check(folder).findings == []


def test_a_root_contains_known_sets_and_others(tmp_path, scene, save):
    for seed, place in enumerate(
        (
            "BSR/BSDS500/data/images/train/1.jpg",
            "BSR/BSDS500/data/images/val/2.jpg",
            "benchmark/Set5/HR/baby.png",
            "mine/HR/a.png",
            ".hidden/a.png",
        )
    ):
        save(tmp_path / place, scene(seed))
    datasets, findings = find_datasets(tmp_path, 4)
    assert findings == []
    assert [(s.label, s.purpose) for s in datasets] == [
        ("bsds500:train", "train"),
        ("bsds500:val", "test"),
        ("set5", "test"),
        ("mine", "train"),
    ]


def test_no_data_sets(tmp_path):
    with pytest.raises(DataError, match="contains no images"):
        find_datasets(tmp_path, 4)
    with pytest.raises(DataError, match="no such folder"):
        find_datasets(tmp_path / "nowhere", 4)


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(folder, tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    find_datasets(tmp_path, 4)


@pytest.mark.parametrize(("count", "words"), [(4, "all 4 images"), (5, "4 of the 5 images")])
def test_images_of_a_benchmark_are_named(folder, scene, monkeypatch, count, words):
    published = np.stack([perceptual_hash(scene(seed)) for seed in range(count)])
    monkeypatch.setattr(
        "torch_sr.data.inspection.rules.known_benchmarks", lambda: {"set14": published}
    )
    finding = only(check(folder))
    assert (finding.severity, finding.check) == ("error", "benchmark")
    assert finding.message.startswith(f"contains {words} of Set14")
    assert "do not report Set14" in finding.message


# --- Validation sets, and what files contain besides their pixels -------------------------------


def check_set(tmp_path, purpose):
    datasets, findings = datasets_of({purpose: ["set"]}, tmp_path, 4)
    return check_datasets(datasets, 4, findings=findings)


@pytest.mark.parametrize("purpose", ["val", "test"])
def test_images_too_small_to_be_measured_are_named(tmp_path, scene, save, purpose):
    save(tmp_path / "set/good.png", scene(1, 20, 30))
    save(tmp_path / "set/small.png", scene(2, 19, 30))  # of which x4 uses 16 rows
    finding = only(check_set(tmp_path, purpose))
    assert (finding.severity, finding.check) == ("error", "size")
    assert "small.png out: SSIM at x4 needs 20x20 pixels, and it has 28x16" in finding.message
    assert check_set(tmp_path, "train").findings == []


def test_blank_validation_images_are_named(tmp_path, scene, save):
    save(tmp_path / "set/a.png", scene(1))
    save(tmp_path / "set/black.png", np.zeros((80, 80, 3), np.uint8))
    finding = only(check_set(tmp_path, "val"))
    assert (finding.severity, finding.check) == ("warning", "flat")
    assert "1 nearly blank image (black.png)" in finding.message


def test_lost_frames_and_color_profiles_are_named(tmp_path, scene, save):
    save(tmp_path / "set/a.png", scene(1))
    frames = [PillowImage.fromarray(scene(seed)) for seed in (2, 3)]
    frames[0].save(tmp_path / "set/b.gif", save_all=True, append_images=frames[1:], duration=50)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    adobe = profile.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))
    PillowImage.fromarray(scene(4)).save(tmp_path / "set/c.png", icc_profile=adobe)
    PillowImage.fromarray(scene(5)).save(tmp_path / "set/d.png", icc_profile=profile)
    losses = [f.message for f in check_set(tmp_path, "train").findings if f.check == "loss"]
    assert len(losses) == 2
    assert "1 image (b.gif): only the first of several frames or pages is used" in losses
    assert any("(c.png): convert to sRGB" in text and "wide" in text for text in losses)


@pytest.mark.parametrize("turn", ["ROTATE_180", "FLIP_LEFT_RIGHT", "ROTATE_90"])
def test_a_turned_low_resolution_is_named(folder, scene, turn):
    path = folder / "LR/2x4.png"
    made = PillowImage.fromarray(downscale(scene(2), 4))
    made.transpose(PillowImage.Transpose[turn]).save(path)
    turned = [f for f in check(folder).findings if f.check == "pairing"]
    assert [f.severity for f in turned] == ["error"]
    assert f"turn or flip {path}: its orientation differs" in turned[0].message


def test_the_same_orientation_of_both_is_not_a_fault(folder, scene):
    for path, image in (("HR/2.png", scene(2)), ("LR/2x4.png", downscale(scene(2), 4))):
        exif = PillowImage.Exif()
        exif[0x0112] = 6
        PillowImage.fromarray(image).save(folder / path, exif=exif)
    assert check(folder).findings == []


def test_another_image_is_named(folder, scene, save):
    save(folder / "LR/2x4.png", downscale(scene(12), 4))
    messages = [f.message for f in check(folder).findings if f.check == "pairing"]
    assert len(messages) == 1
    assert "2x4.png: it does not show the same image as" in messages[0]


def test_the_remedy_for_a_damaged_image_comes_first(folder):
    data = (folder / "HR/1.png").read_bytes()
    (folder / "HR/1.png").write_bytes(data[: len(data) // 2])
    corrupt = [f.message for f in check(folder).findings if f.check == "corrupt"]
    assert corrupt[0].startswith(f"replace it or leave it out: {folder / 'HR/1.png'}: ")
