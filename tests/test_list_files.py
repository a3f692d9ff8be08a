"""Lists of files: their syntax, and every name that a file can have."""

import os
from pathlib import Path

import pytest

from torch_sr.data.sets.custom import resolve_custom
from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.data.sets.list_files import read_list, write_list
from torch_sr.errors import DataError


def make(root, *files):
    """Empty files: lists go by names alone."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "text",
    [
        "hr/a b.png\tlr/a.png\n",
        "hr/a b.png,lr/a.png",
        "\ufeffhr/a b.png , lr/a.png\r\n\r\n# end",
        '"hr/a b.png", "lr/a.png"\n',
        ' "hr/a\\u0020b.png"\tlr/a.png\n',
    ],
)
def test_lists_of_pairs(tmp_path, text):
    make(tmp_path, "hr/a b.png", "lr/a.png")
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    assert read_list(tmp_path / "list.txt") == [
        FilePair("hr/a b", tmp_path / "hr/a b.png", tmp_path / "lr/a.png")
    ]


def test_lists_of_basicsr(tmp_path):
    make(tmp_path, "0001_s001.png")
    (tmp_path / "list.txt").write_text("0001_s001.png (480,480,3)\n")
    assert read_list(tmp_path / "list.txt")[0].hr == tmp_path / "0001_s001.png"


def test_an_existing_file_with_a_comma_needs_no_quotes(tmp_path):
    make(tmp_path, "one, two.png")
    (tmp_path / "list.txt").write_text("one, two.png\n")
    assert read_list(tmp_path / "list.txt") == [
        FilePair("one, two", tmp_path / "one, two.png", None)
    ]


def test_names_of_a_list_never_lead_elsewhere(tmp_path):
    make(tmp_path, "a.png", "lists/b.png")
    (tmp_path / "lists/list.txt").write_text(f"../a.png\n{tmp_path / 'a.png'}\nb.png\n")
    assert [pair.name for pair in read_list(tmp_path / "lists/list.txt")] == ["a", "a-2", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the list is empty"),
        (b"# nothing\n", "write one path per line"),
        (b"a.png\nb.png\n", "line 2: correct the path; there is no image .*b.png"),
        (b"a.png\tb.png\tc.png", "line 1: write HR, or HR and LR separated by a tab"),
        (b"a.png,", "line 1: write HR, or HR and LR"),
        (b"a, b.png", "line 1: correct the path, or put a path with a comma in double quotes"),
        (b'"C:\\images\\a.png"', r"line 1: write / or \\\\ for a backslash"),
        (b"\xff\xfe\x00a", "save it as UTF-8"),
    ],
)
def test_bad_lists_are_refused(tmp_path, text, words):
    make(tmp_path, "a.png")
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(DataError, match=words) as caught:
        read_list(tmp_path / "list.txt")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids most of these names")
def test_every_name_survives_a_list(tmp_path):
    names = [
        "plain.png",
        "one, two.png",
        "tab\there.png",
        "# no comment.png",
        " led by a space.png",
        "two\nlines.png",
        "line\u2028separator.png",
        '"quoted".png',
        'half "quoted.png',
        "~home.png",
        "back\\slash.png",
        "sizes (480,480,3)",
        "größe 写真.png",
        os.fsdecode(b"latin-\xe9.png"),
    ]
    images = [tmp_path / "photos" / name for name in names]
    make(tmp_path, *images)
    for place in ("photos", "lists", "far/away"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        written = tmp_path / place / "list.txt"
        write_list(written, images)
        assert [pair.hr.resolve() for pair in read_list(written)] == images
        assert (str(tmp_path) in written.read_text("utf-8")) == (place == "far/away")


def test_a_list_moves_with_its_images(tmp_path):
    make(tmp_path, "old/photos/a.png", "old/run/log.txt")
    write_list(tmp_path / "old/run/list.txt", [tmp_path / "old/photos/a.png"])
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_list(tmp_path / "new/run/list.txt")[0].hr.samefile(tmp_path / "new/photos/a.png")


def test_a_list_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"list\.txt: name another folder"):
        write_list(tmp_path / "none" / "list.txt", [Path("a.png")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("HR/a.png LR/ax4.png", "separate HR and LR by a tab or a comma"),
        ("HR/a.png;LR/ax4.png", "separate HR and LR by a tab or a comma"),
        ("hr,lr", "remove the heading"),
        ("HR/one, two.png", "put a path with a comma in double quotes"),
    ],
)
def test_what_may_be_wrong_with_a_line_is_said(tmp_path, save_photo, line, words):
    save_photo(tmp_path / "HR/a.png", 32, 40)
    save_photo(tmp_path / "LR/ax4.png", 8, 10)
    (tmp_path / "list.csv").write_text(f"{line}\n")
    with pytest.raises(DataError, match=rf"line 1: correct the path, or {words}"):
        read_list(tmp_path / "list.csv")


def test_low_resolution_on_a_line_of_its_own_is_refused(tmp_path, save_photo):
    save_photo(tmp_path / "HR/a.png", 32, 40)
    save_photo(tmp_path / "LR/a.png", 8, 10)
    (tmp_path / "list.txt").write_text("HR/a.png\nLR/a.png\n")
    with pytest.raises(DataError, match=r"HR/a\.png and .*LR/a\.png on one line"):
        resolve_custom(tmp_path / "list.txt", "", 4)
    (tmp_path / "list.txt").write_text("HR/a.png\tLR/a.png\nHR/a.png\n")
    found = resolve_custom(tmp_path / "list.txt", "", 4)
    assert any("add low resolution to 1 of 2 lines" in warning for warning in found.warnings)
