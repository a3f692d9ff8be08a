"""Rewrite links of pages that lead to files which the site has elsewhere, or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

_LINK = re.compile(r"(\]\()([^)#\s]+)(?=[)#\s])")
_SHOWN = {".json", ".jpg", ".png", ".svg", ".webp"}  # what servers send so that browsers show it


class Links:
    """The links between the files of a repository, as its site has them.

    Args:
        root: folder of the repository, which has the site's pages in ``docs``.
        pages: pages outside ``docs`` by their path in the repository, and their path in the site.
    """

    def __init__(self, root: Path, pages: Mapping[str, str]) -> None:
        self._root = root
        self._pages = pages

    def copied_files(self, sources: Iterable[Path]) -> dict[str, Path]:
        """Files outside ``docs`` that pages link to and that are not pages, by path in the site."""
        found = {}
        for source in sources:
            for target in self._targets(source.read_text(encoding="utf-8"), source):
                if (uri := self._locate(target)).startswith("files/"):
                    found[uri] = self._root / target
        return found

    def rewrite(self, markdown: str, source: Path, uri: str) -> str:
        """The text of a page with links to where the site has the files.

        Args:
            markdown: the text.
            source: file of the page in the repository.
            uri: path of the page in the site.
        """

        def replace(match: re.Match[str]) -> str:
            target = self._resolve(match[2], source)
            if target is None:
                return match[0]
            return match[1] + relpath(self._locate(target), PurePosixPath(uri).parent)

        return _LINK.sub(replace, markdown)

    def _targets(self, markdown: str, source: Path) -> Iterator[str]:
        for match in _LINK.finditer(markdown):
            if (target := self._resolve(match[2], source)) is not None:
                yield target

    def _resolve(self, link: str, source: Path) -> str | None:
        """The path in the repository of the file that a link leads to; None if there is none."""
        if ":" in link:
            return None
        folder = source.relative_to(self._root).parent.as_posix()
        target = normpath(f"{folder}/{link}")
        return target if (self._root / target).is_file() else None

    def _locate(self, target: str) -> str:
        """The path in the site of a file of the repository."""
        if target.startswith("docs/"):
            return target.removeprefix("docs/")
        if target in self._pages:
            return self._pages[target]
        if target == "README.md":
            return "index.md"
        return f"files/{target}" + ("" if PurePosixPath(target).suffix in _SHOWN else ".txt")
