"""What the page does when a visitor acts: upscale, cancel, show a result, close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from torch_sr.errors import ImageError
from torch_sr.inference.files.kinds import is_video
from torch_sr.serving.errors import RequestError
from torch_sr.serving.offers import OfferedModel
from torch_sr.serving.page import words
from torch_sr.serving.page.batch import Batch, Item
from torch_sr.serving.page.choices import distinct, sizes, to_request
from torch_sr.serving.page.downloads import write_zip
from torch_sr.serving.page.examples import EXAMPLES
from torch_sr.serving.page.previews import Preview, make_preview
from torch_sr.serving.page.visitors import Visitors
from torch_sr.serving.service import Service

_INTERVAL = 0.25  # seconds between two looks at the tasks
DETAIL = "Detail 1:1"
WHOLE = "Whole image"

Updates = tuple[Any, ...]


class Handlers:
    """The functions behind the page's controls.

    Args:
        service: computes.
        visitors: remembers what each open page has sent.
    """

    def __init__(self, service: Service, visitors: Visitors) -> None:
        self.models = distinct(service.offers)
        self._service = service
        self._visitors = visitors

    async def upscale(
        self,
        files: list[str] | None,
        model: str,
        strength: float,
        size: str,
        factor: float | None,
        width: float | None,
        height: float | None,
        file_format: str,
        quality: float | None,
        keep_damaged: bool,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Yield the state of all files until they are finished: see ``_view``."""
        try:
            batch = await asyncio.to_thread(
                self._new_batch,
                files or [],
                to_request(
                    self._find(model),
                    strength=strength,
                    size=size,
                    factor=factor,
                    width=width,
                    height=height,
                    file_format=file_format,
                    quality=quality,
                    keep_damaged=keep_damaged,
                ),
            )
        except RequestError as error:
            yield _only_text(f"{error}.")
            return
        self._visitors.set(_page(request), batch)
        try:
            async for updates in _follow(batch):
                yield updates
        finally:  # also when the page was closed
            batch.close()

    def cancel(self, request: gr.Request) -> None:
        """Cancel everything that the page has sent; :meth:`upscale` then ends by itself."""
        if batch := self._visitors.get(_page(request)):
            batch.cancel()

    def close(self, request: gr.Request) -> None:
        """Cancel what a closed page has sent.

        Its results can be downloaded until they are swept: a phone that is locked seems to have
        closed the page.
        """
        if batch := self._visitors.get(_page(request)):
            batch.close()

    def show(self, key: str | None, request: gr.Request) -> Updates:
        """The slider's images, its controls, a caption and the button to download a result."""
        batch = self._visitors.get(_page(request))
        item = batch.find(key) if batch else None
        if batch is None or item is None or item.result is None:
            return (gr.skip(),) * 4
        preview, caption = _preview(item, batch)
        images = (str(preview.before), str(preview.after)) if preview else None
        label = f"Download {item.result.name}"
        return (
            gr.update(value=images, visible=preview is not None),
            gr.update(visible=preview is not None),
            caption,
            gr.update(value=str(item.result), label=label, visible=True),
        )

    def choose_model(self, name: str) -> Updates:
        """The slider of the strength, which some models have, and the sizes to choose from."""
        model = self._find(name)
        default = model.default_strength
        return (
            gr.update(visible=default is not None, value=1.0 if default is None else default),
            gr.update(choices=list(sizes(model).items())),
        )

    def take_example(self, chosen: gr.SelectData) -> list[str]:
        """The file of an example, as if the visitor had uploaded it."""
        return [str(EXAMPLES[int(chosen.index)].path)]

    def _find(self, name: str) -> OfferedModel:
        for model in self.models:
            if model.name == name:
                return model
        raise RequestError("This model is not offered", field="model", value=name)

    def _new_batch(self, files: list[str], request: Any) -> Batch:
        self._visitors.sweep()
        if not files:
            raise RequestError("Choose an image first", field="image")
        items = [Item(Path(file).name, Path(file)) for file in files]
        return Batch(self._service, items, request, self._visitors.new_folder())


async def _follow(batch: Batch) -> AsyncIterator[Updates]:
    """Advance a batch, and yield what is to be seen of it whenever that has changed."""
    seen = 0  # results
    last: tuple[str, str] | None = None
    while True:
        await asyncio.to_thread(batch.step)
        finished = batch.is_finished
        texts = words.summary(batch), words.file_list(batch)
        if texts != last or finished:
            archive = await asyncio.to_thread(_archive, batch) if finished else None
            yield _view(batch, texts, shown=seen, archive=archive)
            seen, last = len(batch.results), texts
        if finished:
            return
        await asyncio.sleep(_INTERVAL)


def _view(batch: Batch, texts: tuple[str, str], *, shown: int, archive: Path | None) -> Updates:
    """Updates of start, summary, files, cancel, the results' panel, the choice and the ZIP."""
    finished = batch.is_finished
    results = batch.results
    chooser = gr.skip()
    if len(results) > shown:
        choices = [(item.name, batch.key(item)) for item in results]
        chooser = gr.update(choices=choices, visible=len(choices) > 1)
        if not shown:
            chooser["value"] = choices[0][1]
    return (
        gr.update(interactive=finished),
        *texts,
        gr.update(visible=not finished),
        gr.update(visible=bool(results)),
        chooser,
        gr.update(value=str(archive) if archive else None, visible=archive is not None),
    )


def _only_text(text: str) -> Updates:
    return (gr.skip(), words.plain(text), *(gr.skip(),) * 5)


def _archive(batch: Batch) -> Path | None:
    files = [item.result for item in batch.results if item.result]
    return write_zip(batch.folder / "torch-sr.zip", files) if len(files) > 1 else None


def _preview(item: Item, batch: Batch) -> tuple[Preview | None, str]:
    assert item.result is not None
    if is_video(item.result):
        return None, "<p>Videos are not shown here: download it to watch it.</p>"
    try:
        item.preview = item.preview or make_preview(
            item.source, item.result, item.result.parent, damaged=batch.request.damaged
        )
    except ImageError as error:
        return None, f"<p>{words.plain(f'This result cannot be shown here: {error}')}</p>"
    return item.preview, words.caption(item, item.preview)


def _page(request: gr.Request) -> str:
    """The identity of an open page, which its browser has drawn at random."""
    return str(request.session_hash)
