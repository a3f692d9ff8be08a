"""What is named on the command line, and where the results go."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from torch_sr.errors import ImageError
from torch_sr.inference.files.jobs import find_jobs, read_names, shard
from torch_sr.inference.files.kinds import VIDEO_SUFFIXES, count_kinds, is_video


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with sub-folders, odd names and files that are not images."""
    monkeypatch.chdir(tmp_path)
    names = "a.png", "b.JPG", "notes.txt", "sub/c.tif", "sub/deep/d.gif", "sub/ü n 1.webp", "e.mp4"
    for name in (*names, ".hidden.png", ".folder/f.png", "Thumbs.db", "x.bmp"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def pairs(*arguments, out=None, **options):
    jobs = find_jobs([str(argument) for argument in arguments], out, **options).jobs
    return [(job.source.as_posix(), job.target.as_posix()) for job in jobs]


def test_a_folder_is_mirrored(tree):
    assert pairs(".", out=Path("out")) == [
        ("a.png", "out/a_sr.png"),
        ("b.JPG", "out/b_sr.JPG"),
        ("e.mp4", "out/e_sr.mp4"),
        ("x.bmp", "out/x_sr.png"),
        ("sub/c.tif", "out/sub/c_sr.tif"),
        ("sub/ü n 1.webp", "out/sub/ü n 1_sr.webp"),
        ("sub/deep/d.gif", "out/sub/deep/d_sr.gif"),
    ]


def test_results_are_next_to_their_sources_and_not_sources_again(tree):
    Path("a_sr.png").touch()
    Path("sub/c_sr.tif").touch()
    Path("old_sr.png").touch()
    found = dict(pairs("."))
    assert found["a.png"] == "a_sr.png"
    assert "a_sr.png" not in found
    assert "sub/c_sr.tif" not in found
    assert found["old_sr.png"] == "old_sr_sr.png"
    assert pairs("a_sr.png") == [("a_sr.png", "a_sr_sr.png")]  # used, because it is named


def test_the_folder_of_results_is_not_searched(tree):
    Path("sub/out").mkdir()
    Path("sub/out/z.png").touch()
    assert all("out" not in source for source, _ in pairs("sub", out=Path("sub/out")))


def test_patterns_keep_the_folders_below_their_plain_part(tree):
    assert pairs("sub/**/*.[tg]if", out=Path("out")) == [
        ("sub/c.tif", "out/c_sr.tif"),
        ("sub/deep/d.gif", "out/deep/d_sr.gif"),
    ]


def test_a_file_whose_name_looks_like_a_pattern(tree):
    Path("a[1].png").touch()
    assert pairs("a[1].png") == [("a[1].png", "a[1]_sr.png")]


def test_each_once_in_order(tree):
    assert [source for source, _ in pairs("b.JPG", "*.png", "b.JPG")] == ["b.JPG", "a.png"]


def test_one_file_may_have_a_name_for_its_result(tree):
    assert pairs("a.png", out=Path("big.webp")) == [("a.png", "big.webp")]
    assert pairs("e.mp4", out=Path("big.mkv")) == [("e.mp4", "big.mkv")]
    Path("folder.png").mkdir()
    assert pairs("a.png", out=Path("folder.png")) == [("a.png", "folder.png/a_sr.png")]
    with pytest.raises(ImageError, match=r"o\.png is one file, and there are 2 sources"):
        find_jobs(["a.png", "x.bmp"], Path("o.png"))


def test_an_unwritable_suffix_is_not_taken_for_a_folder(tree):
    assert pairs("a.png", out=Path("big.bmp")) == [("a.png", "big.bmp")]
    assert pairs("e.mp4", out=Path("big.avi")) == [("e.mp4", "big.avi")]


def test_one_format_for_all(tree):
    found = dict(pairs("a.png", "sub/c.tif", "e.mp4", file_format="webp", suffix=""))
    assert list(found.values()) == ["a.webp", "sub/c.webp", "e.mp4"]


def test_sources_and_results_are_not_overwritten(tree):
    refused = {
        job.source.name: job.refusal for job in find_jobs(["a.png", "x.bmp"], suffix="").jobs
    }
    assert "a.png: would overwrite a.png" in refused["a.png"]
    assert refused["x.bmp"] is None
    Path("a.bmp").touch()
    jobs = find_jobs(["a.png", "a.bmp"], Path("out")).jobs
    assert [job.refusal is None for job in jobs] == [True, False]
    Path("link.png").symlink_to("a.png")
    (job,) = find_jobs(["a.png"], Path("link.png")).jobs
    assert job.refusal is not None


def test_links_in_circles_are_followed_once(tree):
    Path("sub/deep/loop").symlink_to(tree, target_is_directory=True)
    sources = [source for source, _ in pairs(".")]
    assert len(sources) == len(set(sources)) == 7


@pytest.mark.parametrize("argument", ["nothing*.png", ".folder/*.tif", "empty"])
def test_arguments_that_match_nothing_are_errors(tree, argument):
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="no images or videos there"):
        find_jobs([argument])


def test_sheets_are_not_sources_and_do_not_overwrite_them(tree):
    for name in ("a_sr_sheet.png", "sub/c_sr.png", "sub/c.png"):
        Path(name).touch()
    assert "a_sr_sheet.png" not in dict(pairs("."))
    by_source = {job.source.as_posix(): job for job in find_jobs(["."], sheets=True).jobs}
    assert by_source["a.png"].sheet == Path("a_sr_sheet.png")
    assert by_source["e.mp4"].sheet is None
    assert "would overwrite sub/c_sr_sheet.png" in by_source["sub/c.tif"].refusal  # c.png's too
    both = find_jobs(["a.png", "a_sr_sheet.png"], sheets=True).jobs
    assert "would overwrite a_sr_sheet.png" in both[0].refusal


def test_invalid_file_names(tree):
    Path("self.png").symlink_to("self.png")
    Path("self").symlink_to("self")
    too_long = "z" * 300 + ".png"
    found = [job.source.as_posix() for job in find_jobs([".", too_long], Path("self")).jobs]
    assert {"self.png", too_long} < set(found)
    assert find_jobs(["a.png"], Path(too_long)).jobs[0].target == Path(too_long)


def test_lists_of_names():
    assert read_names(["a b.png\n", "\n", "c.png"]) == ["a b.png", "c.png"]
    assert read_names(["a\nb.png\0", "c.png\0"]) == ["a\nb.png", "c.png"]
    assert read_names(["a\u2028b\rc.png\r\n", "d.png"]) == ["a\u2028b\rc.png", "d.png"]


def test_shards_cover_all_once(tree):
    jobs = find_jobs(["."]).jobs
    parts = [shard(jobs, number, 3) for number in (1, 2, 3)]
    assert sorted(job.source for part in parts for job in part) == sorted(j.source for j in jobs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_other_files_are_counted_by_suffix(tree):
    findings = find_jobs(["."])
    assert count_kinds(findings.others) == {".txt": 1, ".db": 1}
    Path("README").touch()
    assert count_kinds(find_jobs(["*"]).others) == {"": 1, ".txt": 1, ".db": 1}
    with pytest.raises(ImageError, match=r"no images or videos there \(only 1 .txt\)"):
        find_jobs(["*.txt"])


@pytest.mark.parametrize(
    "ending",
    [
        "m2ts",
        "mts",
        "flv",
        "3gp",
        "vob",
        "mpeg",
        "ogv",
        "y4m",
        "m2t",
        "3g2",
        "asf",
        "f4v",
        "mxf",
        "MPEG",
    ],
)
def test_videos_of_a_folder(tree, ending):
    name = f"clip.{ending}"
    Path(name).write_bytes(b"\x47\x40\x00\x10\x00" if ending != "mts" else b"\0\0\0\0\x47")
    assert f".{ending.lower()}" in VIDEO_SUFFIXES
    (job,) = find_jobs(["clip.*"]).jobs
    assert (job.is_video, job.target) == (True, Path("clip_sr.mp4"))


def test_typescript_programs_are_not_videos(tree):
    Path("main.ts").write_text("export {}")
    Path("tape.ts").write_bytes(b"\x47\x40\x00\x10" * 99)
    findings = find_jobs(["*.ts"])
    assert [job.source.name for job in findings.jobs] == ["tape.ts"]
    assert findings.others == [Path("main.ts")]
    assert find_jobs(["main.ts"]).jobs[0].is_video  # used, because it is named


@pytest.mark.parametrize("out", ["x.jxl", "x.mp3", "new/photo.J2K", "my.photos"])
def test_a_result_of_an_unknown_kind_is_refused(tree, out):
    for sources in (["a.png"], ["a.png", "x.bmp"], ["."]):
        with pytest.raises(ImageError, match=r"cannot be written; use .*\.png.* write "):
            find_jobs(sources, out)
    assert pairs("a.png", out=f"{out}/") == [("a.png", f"{out}/a_sr.png")]
    Path(out).mkdir(parents=True)
    assert pairs("a.png", out=Path(out)) == [("a.png", f"{out}/a_sr.png")]


@pytest.mark.parametrize("out", ["v1.5", "2024.06.30", ".hidden", "plain", "new/v2.0"])
def test_dots_in_folder_names_are_not_suffixes(tree, out):
    assert pairs("a.png", out=Path(out)) == [("a.png", f"{out}/a_sr.png")]


def test_a_file_in_place_of_the_folder_of_results(tree):
    Path("file").touch()
    for name in ("file", "/dev/null"):
        with pytest.raises(ImageError, match="is a file, not a folder"):
            find_jobs(["a.png"], name)
    assert pairs("a.png", out="z" * 300) == [("a.png", f"{'z' * 300}/a_sr.png")]  # fails later


def test_several_sources_into_one_file_are_refused(tree):
    with pytest.raises(ImageError, match=r"big\.png is one file, and there are 7 sources"):
        find_jobs(["."], "big.png")
    assert not Path("big.png").exists()


def test_formats_are_checked_before_the_work(tree):
    with pytest.raises(ImageError, match="'jxl' cannot be written; use one of png"):
        find_jobs(["a.png"], file_format="jxl")
    with pytest.raises(ImageError, match=r"big\.jpg: omit --format png, or change the suffix"):
        find_jobs(["a.png"], "big.jpg", file_format="png")
    assert pairs("a.png", out="big.jpeg", file_format="JPG") == [("a.png", "big.jpeg")]


def test_one_file_under_several_names_is_processed_once(tree):
    absolute = str(tree / "a.png")
    assert pairs("a.png", "./a.png", absolute, "sub/../a.png") == [("a.png", "a_sr.png")]


def test_results_of_one_name_are_refused_and_name_both_sources(tree):
    for name in ("a.jpg", "x/a.png", "y/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    first, second = find_jobs(["a.png", "a.jpg"], file_format="png").jobs
    assert first.refusal is None
    assert "a.jpg: would overwrite a_sr.png, which is the result of a.png" in second.refusal
    first, second = find_jobs(["x/a.png", "y/a.png"], "big").jobs
    assert first.refusal is None
    assert "which is the result of x/a.png" in second.refusal
    assert {"big/x/a_sr.png", "big/y/a_sr.png"} < set(dict(pairs(".", out="big")).values())


def test_names_that_differ_only_in_case_clash_if_the_system_ignores_case(tree, monkeypatch):
    for name in ("x/a.png", "y/A.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert all(job.refusal is None for job in find_jobs(["x/a.png", "y/A.png"], "big").jobs)
    monkeypatch.setattr("sys.platform", "darwin")
    jobs = find_jobs(["x/a.png", "y/A.png"], "big").jobs
    assert [job.refusal is None for job in jobs] == [True, False]


@pytest.mark.parametrize("name", ["12:30.png", "[x].png", "a*b?.png", "two\nlines.png", "ü 日.png"])
def test_odd_names_are_taken_as_they_are(tree, name):
    Path(name).touch()
    stem = name.removesuffix(".png")
    assert pairs(name, out="big") == [(name, f"big/{stem}_sr.png")]
    assert name in dict(pairs("."))


@pytest.mark.parametrize(
    "container",
    ["mp4", "mov", "matroska", "avi", "flv", "mpegts", "mpeg", "asf", "ogg", "mxf", "3gp"],
)
def test_a_video_without_a_known_suffix_is_recognized_by_its_content(tmp_path, container):
    av = pytest.importorskip("av")
    codecs = {"asf": "wmv2", "flv": "flv1", "ogg": "libvpx", "mxf": "mpeg2video"}
    path = tmp_path / "download"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codecs.get(container, "mpeg4"))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(stream.encode())
    assert is_video(path)
    (job,) = find_jobs([str(path)]).jobs
    assert job.target == tmp_path / "download_sr.mp4"


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp", "gif", "tiff", "avif", "bmp", "ppm"])
def test_an_image_without_a_known_suffix_is_not_a_video(tmp_path, format_):
    PillowImage.new("RGB", (40, 30)).save(tmp_path / "download", format_)
    assert not is_video(tmp_path / "download")
    (job,) = find_jobs([str(tmp_path / "download")]).jobs
    assert job.target == tmp_path / "download_sr.png"


def test_names_that_begin_with_a_tilde(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree / "sub"))
    Path("~x.png").touch()
    assert pairs("~x.png") == [("~x.png", "~x_sr.png")]
    assert pairs("~/c.tif", out="big") == [(f"{tree}/sub/c.tif", "big/c_sr.tif")]
    assert pairs("~no-such-user/a.png") == [("~no-such-user/a.png", "~no-such-user/a_sr.png")]


def test_a_suffix_cannot_lead_into_another_folder(tree):
    with pytest.raises(ImageError, match="leads into another folder"):
        find_jobs(["a.png"], "big", suffix="/../../x")


@pytest.fixture
def closed(monkeypatch):
    """Deny access to the folder ``sub``."""
    scan = os.scandir

    def deny(path):
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny)


def test_only_the_sub_folder_that_cannot_be_listed_fails(tree, closed):
    jobs = find_jobs(["."], "out").jobs
    refusals = {job.source.as_posix(): job.refusal for job in jobs}
    assert refusals == {
        **dict.fromkeys(("a.png", "b.JPG", "e.mp4", "x.bmp")),
        "sub": "sub: check the permissions of the file and its folder (Permission denied)",
    }


def test_a_folder_that_cannot_be_listed_is_refused(tree, closed):
    with pytest.raises(ImageError, match=r"^sub: check the permissions .* \(Permission denied\)$"):
        find_jobs(["sub"], "out")


def test_empty_names_are_refused(tree):
    with pytest.raises(ImageError, match="one of the names is empty"):
        find_jobs(["a.png", ""], "out")


def test_on_macos_both_unicode_forms_of_a_name_are_one_file(tree, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    for folder, name in (("1", composed), ("2", decomposed)):
        Path(folder).mkdir()
        (Path(folder) / name).touch()
    jobs = find_jobs([f"1/{composed}", f"2/{decomposed}"], "out").jobs
    assert jobs[0].refusal is None
    assert "which is the result of" in (jobs[1].refusal or "")
