"""Store the results, sheets and scores of a test.

The result of a model for ``set5/baby`` is ``OUT/set5/baby_sr.png``, and its sheet
``OUT/set5/baby_sheet.png``. With several models each has its own folder:
``OUT/compact-x4/set5/baby_sr.png``. If OUT is already named after the only data set, as in
``results/set5``, the folder of the data set is left out.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TextIO

from torch_sr.aliases import Array
from torch_sr.errors import DataError, ImageError
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.labels import folder_names
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.presentation.table_formats import csv_name
from torch_sr.files import atomic_write
from torch_sr.images import Image, write_image


class ResultStore:
    """The results and sheets of a test in a folder.

    Args:
        out_dir: the folder; created if needed.
        specs: the data sets of the test.
        methods: the methods whose results are stored.
    """

    def __init__(self, out_dir: Path, specs: Sequence[str], methods: Sequence[Method]) -> None:
        self._out_dir = out_dir
        self._flat = len(specs) == 1 and _is_named_after(out_dir, specs[0])
        labels = [method.label for method in methods]
        self._folders = folder_names(labels) if len(labels) > 1 else dict.fromkeys(labels, "")

    def result(self, image: str, method: str) -> Path:
        """The file of a method's result for an image."""
        return self._out_dir / self._folders[method] / f"{self._within(image)}_sr.png"

    def sheet(self, image: str) -> Path:
        """The file of the sheet of an image."""
        return self._out_dir / f"{self._within(image)}_sheet.png"

    def add(self, comparison: Comparison, sheet: Array) -> None:
        """Write the results of the methods for an image, and its sheet.

        Raises:
            ImageError: an image cannot be written.
        """
        for method in self._folders:
            path = self.result(comparison.image, method)
            store_image(path, comparison.results[method])
        store_image(self.sheet(comparison.image), sheet)

    def _within(self, image: str) -> str:
        return image.partition("/")[2] if self._flat else image


def _is_named_after(out_dir: Path, spec: str) -> bool:
    """Whether a folder is named after a data set: ``set5`` after ``Set5`` or ``data/Set5``."""
    path = PurePosixPath(spec.replace("\\", "/"))
    names = {path.name, path.name.partition(":")[0], path.name.replace(":", "-")}
    return out_dir.absolute().name.casefold() in {name.casefold() for name in names}


def store_image(path: Path, pixels: Array) -> None:
    """Write an image, and create its folder if needed.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"{path.parent}: name another folder; this one cannot be created: {error.strerror}"
        ) from error
    write_image(path, Image.from_array(pixels))


def _text(path: Path) -> TextIO:
    """Open a CSV file; file names that are not valid text keep their bytes."""
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")


def write_csv(path: Path, scores: Sequence[ImageScore]) -> None:
    """Write a line for each image and method: data set, image, method, then the metrics.

    With several protocols, the column after the method is the protocol.

    Raises:
        DataError: the file cannot be written.
    """
    metrics = list(dict.fromkeys(metric for score in scores for metric in score.metrics))
    several = len({score.protocol for score in scores}) > 1
    try:
        with atomic_write(path) as temporary, _text(temporary) as file:
            writer = csv.writer(file)
            extra = ["protocol"] if several else []
            writer.writerow(["dataset", "image", "method", *extra, *metrics])
            for score in scores:
                values = [score.metrics.get(metric, "") for metric in metrics]
                names = map(csv_name, (score.dataset, score.image, score.method))
                writer.writerow([*names, *([score.protocol] if several else []), *values])
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: name another file: it cannot be written ({reason})") from error
