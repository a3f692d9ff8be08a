"""Short, distinct labels of models, data sets and images.

A model may be given as ``LABEL=MODEL``; otherwise its label is the shortest one that no other model
has. Labels are shown and compared, but never parsed; a
:class:`~torch_sr.evaluation.method.Method` stores the parts.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import ModelError
from torch_sr.files import expand_home
from torch_sr.models.files.ncnn.reading import find_graph

_MOST_BYTES = 200  # in the name of a folder; file systems allow 255
_SUFFIXES = (".pth", ".pt", ".safetensors", ".param", ".bin")


@dataclass(frozen=True)
class NamedModel:
    """A model as the user names it: a file or a name, and a label if one was given."""

    model: str
    label: str | None = None


def parse_named(text: str) -> NamedModel:
    """Read ``MODEL`` or ``LABEL=MODEL``; if the whole text is an existing file, it is that file.

    Raises:
        ModelError: one side of the ``=`` is empty, or a file does not exist.

    >>> parse_named("mine=compact-x4")
    NamedModel(model='compact-x4', label='mine')
    >>> parse_named("runs/lr=1e-4/best.pth")
    NamedModel(model='runs/lr=1e-4/best.pth', label=None)
    """
    label, equals, model = text.partition("=")
    is_path = "/" in label or "\\" in label
    if not equals or is_path or os.path.exists(text):  # noqa: PTH110 - Path raises of long names
        return NamedModel(text)
    label, model = label.strip(), model.strip()
    if not label or not model:
        raise ModelError(f"{text!r}: write LABEL=MODEL, or the model alone")
    is_file = "/" in model or "\\" in model or Path(model).suffix in _SUFFIXES
    if is_file and not _exists(model):
        raise ModelError(f"neither {text} nor {model} (labeled {label!r}) exists")
    return NamedModel(model, label)


def _exists(model: str) -> bool:
    path = expand_home(model)
    return os.path.exists(path) or find_graph(path) is not None  # noqa: PTH110 - as above


def label_models(
    models: Sequence[NamedModel],
    files: Sequence[Path],
    names: Sequence[str],
    taken: Iterable[str] = (),
) -> list[str]:
    """Choose distinct labels: the given ones, or the shortest that are unambiguous.

    Args:
        models: the models as the user named them.
        files: the file of each model.
        names: the name of each model: the one recorded in its file, otherwise the file's stem.
        taken: labels that are not available.

    Raises:
        ModelError: a label given twice or already taken, or a file named twice without labels.
    """
    taken = set(taken)
    check_labels(models, files, taken)
    choices = [
        [model.label] if model.label is not None else _candidates(model.model, file, name)
        for model, file, name in zip(models, files, names, strict=True)
    ]
    while True:
        labels = [choice[0] for choice in choices]
        counts = Counter([*labels, *taken])
        clashing = [choice for choice in choices if counts[choice[0]] > 1 and len(choice) > 1]
        if not clashing:
            break
        for choice in clashing:
            del choice[0]
    for label in labels:
        if counts[label] > 1:
            raise ModelError(f"choose another label for {label!r}, as LABEL=MODEL: it is taken")
    return labels


def check_labels(
    models: Sequence[NamedModel], files: Sequence[Path], taken: Iterable[str] = ()
) -> None:
    """Check labels as :func:`label_models` does, before anything is loaded.

    Raises:
        ModelError: a label is given twice or already taken, or a file is named twice.
    """
    taken = set(taken)
    given = Counter(model.label for model in models if model.label is not None)
    for label, count in given.items():
        if count > 1 or label in taken:
            why = "is given to two models" if count > 1 else "is already the name of a method"
            raise ModelError(f"choose another label: {label!r} {why}")
    unlabeled = [
        file.resolve() for model, file in zip(models, files, strict=True) if model.label is None
    ]
    for model, file in zip(models, files, strict=True):
        if model.label is None and unlabeled.count(file.resolve()) > 1:
            raise ModelError(
                f"remove one {model.model}, or write LABEL={model.model}: this model is named twice"
            )


def _candidates(model: str, file: Path, name: str) -> list[str]:
    """Labels from short to long; the last one is the whole path, which is unique."""
    if not os.path.exists(model):  # noqa: PTH110 - a name of the zoo
        return [name] if name == model else [name, model]
    parts = file.resolve().parts
    trails = [Path(*parts[-length:]) for length in range(1, len(parts) + 1)]
    longer = [text for path in trails for text in (path.with_suffix("").as_posix(), str(path))]
    return list(dict.fromkeys([name, *longer]))


def distinct(names: Iterable[str], taken: set[str] | None = None) -> list[str]:
    """Make names distinct, even for file systems that ignore case: ``a``, then ``A-2``.

    Args:
        names: the names in order; the first of several equal ones is kept.
        taken: names in use, to which the new names are added.

    >>> distinct(["a", "A", "a-2", "b"])
    ['a', 'A-3', 'a-2', 'b']
    """
    names = list(names)
    taken = set() if taken is None else taken
    reserved = Counter(_folded(name) for name in names)
    found = []
    for name in names:
        number, chosen = 1, name
        while _folded(chosen) in taken or (number > 1 and _folded(chosen) in reserved):
            number += 1
            chosen = f"{name}-{number}"
        taken.add(_folded(chosen))
        found.append(chosen)
    return found


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder for each label: a single name, valid on all systems, and distinct.

    >>> folder_names(["a/x", "a:x", ".."])
    {'a/x': 'a_x', 'a:x': 'a_x-2', '..': 'model'}
    """
    safe = [_safe(label) for label in labels]
    return dict(zip(labels, distinct(safe), strict=True))


def wrap(label: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a label into lines that fit, after punctuation if possible.

    Args:
        label: the text.
        fits: whether a line is short enough; a single letter is never broken.

    >>> wrap("rrdb_div2k_best", lambda line: len(line) <= 11)
    ['rrdb_div2k_', 'best']
    """
    lines: list[str] = []
    line = ""
    for piece in re.findall(r"[^-_/. ]*[-_/. ]|[^-_/. ]+", " ".join(label.split())):
        if line and not fits(line + piece.rstrip()):
            lines.append(line.rstrip())
            line = ""
        for letter in piece:
            if line and not fits(line + letter) and letter != " ":
                lines.append(line)
                line = ""
            line += letter
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _safe(label: str) -> str:
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", label).strip(" .")
    kept = name.encode(errors="surrogateescape")[-_MOST_BYTES:].decode(errors="ignore")
    return kept.strip(" .") or "model"


def _folded(name: str) -> str:
    """A name without what some file systems ignore: case and Unicode composition."""
    return unicodedata.normalize("NFC", name).casefold()
