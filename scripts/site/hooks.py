"""What MkDocs calls while it builds the site: pages made from the code, and links out of docs/.

Pages of the repository outside docs/ (the changelog, the benchmarks, the cards of models) become
pages of the site. Other files that a page links to are copied below files/, so that the site is
complete in itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import configuration
import options
from links import Links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/reproduce_enhanced_srgan.md": "tutorials/reproduce_enhanced_srgan.md",
    "examples/web/README.md": "guides/web_page.md",
    "src/torch_sr/models/weights/compact_x4.md": "models/compact_x4.md",
    "src/torch_sr/models/weights/compact_x4_real.md": "models/compact_x4_real.md",
}
"""Pages outside docs/, and where the site has them."""
GENERATED = {
    "reference/options.md": options.page,
    "reference/configuration.md": configuration.page,
}
"""Pages made from the code."""

_links = Links(ROOT, PAGES)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/ and from the code, and the files that pages link to."""
    for file in _added(files, config):
        files.append(file)
    return files


def _added(files: Files, config: MkDocsConfig) -> Iterator[File]:
    sources = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    for name, uri in PAGES.items():
        if (ROOT / name).is_file():
            yield File.generated(config, uri, abs_src_path=str(ROOT / name))
            sources.append(ROOT / name)
    for uri, make in GENERATED.items():
        yield File.generated(config, uri, content=make())
    for copied, source in _links.copied_files(sources).items():
        yield File.generated(config, copied, abs_src_path=str(source))


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Rewrite the links of a page that lead out of docs/."""
    if page.file.src_uri in GENERATED:
        return markdown
    source = Path(str(page.file.abs_src_path))
    return _links.rewrite(markdown, source, page.file.src_uri)
