"""selection.py: from a folder of photographs to training and validation images."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from torch_sr.data.inspection.findings import CheckedSet
from torch_sr.data.inspection.pair import inspect_pair
from torch_sr.data.inspection.perceptual_hashes import perceptual_hash
from torch_sr.data.photos.grouping import SAME_BURST, SAME_SCENE, group_similar
from torch_sr.data.photos.selection import choose_images
from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.data.sets.list_files import read_list
from torch_sr.errors import DataError


def scene(seed, height=72, width=90):
    """Pictures with nothing in common, as Pillow images."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
    return PillowImage.fromarray(coarse).resize((width, height))


def fill(folder, count, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        scene(seed).save(folder / f"{seed:03}.png")
    return folder


def choose(folder, **options):
    return choose_images(folder, **{"scale_factor": 4, "crop_size": (64, 64)} | options)


def names(paths):
    return [path.name for path in paths]


def reasons(chosen):
    return {path.name: reason for path, reason in chosen.left_out}


def test_a_folder_is_split_and_nothing_is_lost(tmp_path):
    reported = []
    folder = fill(tmp_path / "photos", 20)
    fill(folder / "more" / "deep", 10, first=20)
    chosen = choose(folder, progress=lambda *so_far: reported.append(so_far))
    assert (len(chosen.training), len(chosen.validation), chosen.left_out) == (27, 3, [])
    assert len({*chosen.training, *chosen.validation}) == 30
    assert reported[-1] == (30, 30)
    assert chosen.training == sorted(chosen.training)


def test_the_split_depends_on_images_and_seed_only(tmp_path):
    folder = fill(tmp_path / "photos", 20)
    first = choose(folder)
    assert choose(folder) == first
    other = tmp_path / "renamed"
    other.mkdir()
    for number, file in enumerate(sorted(folder.iterdir(), reverse=True)):
        shutil.copy(file, other / f"{number}.png")
    chosen = choose(other)

    def pixels(files):
        return sorted(file.read_bytes() for file in files)

    assert pixels(chosen.validation) == pixels(first.validation)
    splits = {tuple(names(choose(folder, seed=seed).validation)) for seed in range(4)}
    assert len(splits) > 1


@pytest.mark.parametrize(
    ("count", "fraction", "validated"), [(2, 0.1, 1), (30, 0.1, 3), (30, 0.95, 20), (3, 0.95, 2)]
)
def test_how_many_are_validated_on(tmp_path, count, fraction, validated):
    chosen = choose(fill(tmp_path / "photos", count), val_fraction=fraction)
    assert len(chosen.validation) == validated
    assert len(chosen.training) == count - validated


def test_what_spoils_a_training_is_left_out_with_a_reason(tmp_path):
    folder = fill(tmp_path / "photos", 5)
    whole = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no image")
    scene(30, 40, 90).save(folder / "small.png")
    PillowImage.new("RGB", (90, 72), (250, 250, 250)).save(folder / "blank.png")
    scene(31).save(
        folder / "moving.gif", save_all=True, append_images=[scene(32), scene(33)], duration=50
    )
    scene(1).resize((360, 288)).save(folder / "001_sr.jpg")
    scene(1).resize((1440, 1152)).save(folder / "001_sr_sr.jpg")
    shutil.copy(folder / "002.png", folder / "z copy.png")
    scene(3).save(folder / "re-encoded.jpg", quality=60)
    scene(4).transpose(PillowImage.Transpose.ROTATE_90).save(folder / "turned.png")
    scene(40, 144, 180).save(folder / "large.png")
    scene(40, 144, 180).resize((90, 72), PillowImage.Resampling.BICUBIC).save(folder / "lr.png")
    (folder / ".hidden.png").write_bytes(whole)
    found = reasons(choose(folder))
    parts = {
        "cut.png": "damaged, cut short",
        "empty.jpg": "is empty",
        "text.jpg": "not an image",
        "small.png": "90x40 pixels are smaller than the crop",
        "blank.png": "nearly blank",
        "moving.gif": "3 frames or pages",
        "001_sr.jpg": "upscaled from 001.png",
        "001_sr_sr.jpg": "upscaled from 001_sr.jpg",
        "z copy.png": "the same image as 002.png",
        "re-encoded.jpg": "the same image as 003.png",
        "lr.png": "a smaller copy of large.png (90x72 of 180x144 pixels)",
    }
    turned = {"004.png", "turned.png"} & set(found)
    assert len(turned) == 1
    assert "the same image as" in found.pop(*turned)
    assert set(found) == set(parts)
    for name, part in parts.items():
        assert part in found[name]
        assert str(folder) not in found[name]
        assert "\n" not in found[name]


def test_benchmark_images_are_left_out(tmp_path, monkeypatch):
    folder = fill(tmp_path / "photos", 3)
    published = perceptual_hash(np.asarray(scene(7)))[None]
    monkeypatch.setattr("torch_sr.data.photos.unfit.known_benchmarks", lambda: {"set5": published})
    scene(7).rotate(90, expand=True).save(folder / "turned.jpg", quality=80)
    found = reasons(choose(folder))
    assert found == {"turned.jpg": "an image of Set5, which models are tested on"}


def shots(folder, seed, count):
    """A burst: something large moves through one scene."""
    for shot in range(count):
        image = scene(seed, 80, 96)
        block = scene(900 + seed).resize((30, 30))
        image.paste(block, (16 * shot, 4 * shot))
        image.save(folder / f"burst{seed}_{shot}.png")


def test_shots_of_one_scene_are_never_on_both_sides(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(6):
        shots(folder, seed, 3)
    for seed in range(5):
        chosen = choose(folder, seed=seed, val_fraction=0.34)
        sides = [{name.partition("_")[0] for name in names(chosen.training)}]
        sides.append({name.partition("_")[0] for name in names(chosen.validation)})
        assert sides[1]
        assert not sides[0] & sides[1]


def test_shots_of_a_burst_are_known_by_camera_and_time(tmp_path):
    """Halves of two scenes each, too different for their hashes alone."""

    def shoot(name, seed, other, second, camera):
        image = scene(seed, 80, 96)
        image.paste(scene(other, 80, 96).crop((0, 0, 56, 80)), (0, 0))
        exif = PillowImage.Exif()
        exif[0x0110] = camera
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 12:00:{second:02}"
        image.save(tmp_path / name, exif=exif)
        return inspect_pair(
            CheckedSet("x", "train", []), FilePair(name, tmp_path / name, None), 4, None
        )

    first = shoot("a.jpg", 1, 2, 10, "one")
    same, later, foreign = (
        shoot("b.jpg", 1, 3, 11, "one"),
        shoot("c.jpg", 1, 3, 40, "one"),
        shoot("d.jpg", 1, 3, 11, "two"),
    )
    unlike = shoot("e.jpg", 7, 8, 11, "one")
    assert SAME_SCENE < (first.hashes[0] != same.hashes[0]).sum() < SAME_BURST
    assert len(group_similar([first, same])) == 1
    assert len(group_similar([first, later])) == 2
    assert len(group_similar([first, foreign])) == 2
    assert len(group_similar([first, unlike])) == 2


def test_scenes_larger_than_the_validation_set_give_one_image(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        shots(folder, seed, 3)
    chosen = choose(folder)
    (validated,) = names(chosen.validation)
    spare = [name for name, why in reasons(chosen).items() if "the same scene" in why]
    assert spare
    assert all(name[:6] == validated[:6] for name in spare)
    assert all(name[:6] != validated[:6] for name in names(chosen.training))


def test_large_images_are_not_validated_on_where_others_are(tmp_path, monkeypatch):
    monkeypatch.setattr("torch_sr.data.photos.grouping.LARGE", 10_000)
    monkeypatch.setattr("torch_sr.data.photos.selection.LARGE", 10_000)
    folder = fill(tmp_path / "photos", 2)
    for seed in range(10, 20):
        scene(seed, 120, 160).save(folder / f"large{seed}.png")
    assert all(
        name.startswith("00") for seed in range(4) for name in names(choose(folder).validation)
    )
    chosen = choose(folder, val_fraction=0.5)
    assert len(chosen.validation) == 6
    assert any(note.startswith("4 images are of more than") for note in chosen.notes)


def test_notes_report_what_is_unusual(tmp_path):
    folder = fill(tmp_path / "photos", 4)
    scene(10).convert("L").save(folder / "gray.png")
    cut = scene(11).convert("RGBA")
    cut.putalpha(scene(12).convert("L"))
    cut.save(folder / "cut out.png")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    scene(13).save(folder / "srgb.png", icc_profile=profile)
    lab_named = profile.replace("sRGB".encode("utf-16-be"), "P3xx".encode("utf-16-be"))
    scene(14).save(folder / "p3.png", icc_profile=lab_named)
    for quality in (50, 69, 75, 95):
        scene(20 + quality).save(folder / f"q{quality}.jpg", quality=quality)
    (folder / "notes.txt").write_text("")
    (folder / "film.MOV").write_text("")
    text = "\n".join(choose(folder).notes)
    assert "1 image is gray" in text
    assert "1 image is stored with an alpha channel, which is left out" in text
    assert "1 image is in the colors of P3xx" in text
    assert "1 .mov, 1 .txt" in text
    assert "2 images are compressed as JPEG with a quality below 70" in text
    assert "12 images are few for a training" in text


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "name a folder of photographs; there is no such folder"),
        (lambda folder: folder.mkdir(), "none is an image"),
        (lambda folder: fill(folder, 1), "1 of 1 images can be used and a training needs 2"),
        (
            lambda folder: scene(1, 40, 40).save(fill(folder, 1) / "x.png"),
            r"add photographs of 64 pixels a side or more.*x\.png: 40x40 pixels",
        ),
    ],
)
def test_too_few_images_are_refused_with_a_remedy(tmp_path, prepare, words):
    prepare(tmp_path / "photos")
    with pytest.raises(DataError, match=words) as caught:
        choose(tmp_path / "photos")
    assert str(caught.value).startswith(f"{tmp_path / 'photos'}: ")
    assert "\n" not in str(caught.value)


def test_one_scene_alone_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    shots(tmp_path / "photos", 0, 3)
    with pytest.raises(DataError, match="add images of other scenes"):
        choose(tmp_path / "photos")


def test_images_too_small_to_validate_on_are_refused(tmp_path):
    with pytest.raises(DataError, match="none has the 96x96 pixels that validation at x32 needs"):
        choose(fill(tmp_path / "photos", 3), scale_factor=32, crop_size=None)


def test_small_images_are_never_validated_on(tmp_path):
    folder = fill(tmp_path / "photos", 1)
    for seed in range(10, 14):
        scene(seed, 17, 30).save(folder / f"{seed}.png")
    assert names(choose(folder, crop_size=(16, 16)).validation) == ["000.png"]


def test_pairs_of_high_and_low_resolution_are_not_mixed(tmp_path):
    fill(tmp_path / "photos/2024/HR", 3)
    fill(tmp_path / "photos/2024/LR", 3)
    with pytest.raises(DataError, match=r'"train_datasets": \[".*2024"\].*HR and LR contain pairs'):
        choose(tmp_path / "photos")


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
def test_lists_for_a_configuration(tmp_path):
    folder = fill(tmp_path / "my, photos", 4)
    scene(10).save(folder / "two\nlines #1.png")
    chosen = choose(folder)
    training, validation = chosen.write_lists(tmp_path / "runs" / "first")
    assert [pair.hr.resolve() for pair in read_list(training)] == chosen.training
    assert [pair.hr.resolve() for pair in read_list(validation)] == chosen.validation
