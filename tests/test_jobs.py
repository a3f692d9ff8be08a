"""What is named on the command line, and where the results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from torch_sr.errors import ImageError
from torch_sr.inference.jobs import find_jobs, read_names, shard


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with sub-folders, odd names and things that are no pictures."""
    monkeypatch.chdir(tmp_path)
    names = "a.png", "b.JPG", "notes.txt", "sub/c.tif", "sub/deep/d.gif", "sub/ü n 1.webp", "e.mp4"
    for name in (*names, ".hidden.png", ".folder/f.png", "Thumbs.db", "x.bmp"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def pairs(*arguments, out=None, **options):
    jobs = find_jobs([str(argument) for argument in arguments], out, **options)
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


def test_results_lie_beside_their_sources_and_are_no_sources(tree):
    Path("a_sr.png").touch()
    Path("sub/c_sr.tif").touch()
    Path("old_sr.png").touch()
    found = dict(pairs("."))
    assert found["a.png"] == "a_sr.png"
    assert "a_sr.png" not in found
    assert "sub/c_sr.tif" not in found
    assert found["old_sr.png"] == "old_sr_sr.png"
    assert pairs("a_sr.png") == [("a_sr.png", "a_sr_sr.png")]  # named, it is meant


def test_the_folder_of_results_is_not_searched(tree):
    Path("sub/out").mkdir()
    Path("sub/out/z.png").touch()
    assert all("out" not in source for source, _ in pairs("sub", out=Path("sub/out")))


def test_patterns_keep_what_lies_below_their_plain_part(tree):
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
    assert pairs("a.png", "x.bmp", out=Path("o.png"))[0] == ("a.png", "o.png/a_sr.png")


def test_a_kind_that_is_not_written_is_no_folder(tree):
    assert pairs("a.png", out=Path("big.bmp")) == [("a.png", "big.bmp")]
    assert pairs("e.mp4", out=Path("big.avi")) == [("e.mp4", "big.avi")]


def test_one_format_for_all(tree):
    found = dict(pairs("a.png", "sub/c.tif", "e.mp4", format="webp", suffix=""))
    assert list(found.values()) == ["a.webp", "sub/c.webp", "e.mp4"]


def test_no_source_and_no_result_is_overwritten(tree):
    refused = {job.source.name: job.refusal for job in find_jobs(["a.png", "x.bmp"], suffix="")}
    assert "a.png: would overwrite a.png" in refused["a.png"]
    assert refused["x.bmp"] is None
    Path("a.bmp").touch()
    jobs = find_jobs(["a.png", "a.bmp"], Path("out"))
    assert [job.refusal is None for job in jobs] == [True, False]
    Path("link.png").symlink_to("a.png")
    (job,) = find_jobs(["a.png"], Path("link.png"))
    assert job.refusal is not None


def test_links_in_circles_are_followed_once(tree):
    Path("sub/deep/loop").symlink_to(tree, target_is_directory=True)
    sources = [source for source, _ in pairs(".")]
    assert len(sources) == len(set(sources)) == 7


@pytest.mark.parametrize("argument", ["nothing*.png", ".folder/*.tif", "empty"])
def test_what_gives_nothing_is_told(tree, argument):
    Path("empty").mkdir()
    with pytest.raises(ImageError, match="no images there"):
        find_jobs([argument])


def test_sheets_are_no_sources_and_overwrite_none(tree):
    for name in ("a_sr_sheet.png", "sub/c_sr.png", "sub/c.png"):
        Path(name).touch()
    assert "a_sr_sheet.png" not in dict(pairs("."))
    by_source = {job.source.as_posix(): job for job in find_jobs(["."], sheets=True)}
    assert by_source["a.png"].sheet == Path("a_sr_sheet.png")
    assert by_source["e.mp4"].sheet is None
    assert "would overwrite sub/c_sr_sheet.png" in by_source["sub/c.tif"].refusal  # c.png's too
    both = find_jobs(["a.png", "a_sr_sheet.png"], sheets=True)
    assert "would overwrite a_sr_sheet.png" in both[0].refusal


def test_names_at_which_the_system_stumbles(tree):
    Path("self.png").symlink_to("self.png")
    too_long = "z" * 300 + ".png"
    found = [job.source.as_posix() for job in find_jobs([".", too_long], Path("self.png"))]
    assert {"self.png", too_long} < set(found)
    assert find_jobs(["a.png"], Path(too_long))[0].target == Path(too_long)


def test_lists_of_names():
    assert read_names(["a b.png\n", "\n", "c.png"]) == ["a b.png", "c.png"]
    assert read_names(["a\nb.png\0", "c.png\0"]) == ["a\nb.png", "c.png"]
    assert read_names(["a\u2028b\rc.png\r\n", "d.png"]) == ["a\u2028b\rc.png", "d.png"]


def test_shards_cover_all_once(tree):
    jobs = find_jobs(["."])
    parts = [shard(jobs, number, 3) for number in (1, 2, 3)]
    assert sorted(job.source for part in parts for job in part) == sorted(j.source for j in jobs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
