"""The page: Gradio's components over the service.

::

    layout.py     the components, and which function each calls
    handlers.py   those functions
    choices.py    what was chosen -> an UpscaleRequest
    batch.py      the files that a visitor sent at once, and their tasks
    visitors.py   the batches of all open pages, and the folder of their files
    previews.py   before and after, as a browser can show them
    downloads.py  results under their names, and all of them as a ZIP
    words.py      what the page says of files
    guard.py      what of Gradio is reachable, and the token
    examples/     photographs to try the page with
    static/       style, script and login form
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from torch_sr.serving.page.examples import EXAMPLES_FOLDER
from torch_sr.serving.page.guard import PAGE_POLICY, Guard
from torch_sr.serving.page.visitors import Visitors
from torch_sr.serving.service import Service

__all__ = ["PAGE_POLICY", "mount_page"]

_SWEEP_SECONDS = 60.0


def mount_page(app: FastAPI, service: Service, *, token: str | None) -> FastAPI:
    """Serve the page at ``/``, after all other routes of an application.

    Gradio reads the folder for its files from the environment, at any time; so this sets
    ``GRADIO_TEMP_DIR``, and there can be one page in a process.

    Args:
        app: with its other routes.
        service: computes; its folder also gets the page's files.
        token: what a visitor must know; None for no login.
    """
    limits = service.settings.limits
    visitors = Visitors(service.settings.folder.resolve() / "page")
    os.environ["GRADIO_TEMP_DIR"] = str(visitors.folder)
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)  # events between two summaries
    import gradio as gr  # takes seconds

    from torch_sr.serving.page.handlers import Handlers
    from torch_sr.serving.page.layout import STATIC, build_page, theme

    @asynccontextmanager
    async def sweeping(_: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep(visitors))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            visitors.clear()

    gr.set_static_paths([EXAMPLES_FOLDER])
    page = build_page(Handlers(service, visitors), accepts_video=service.accepts_video)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        show_error=False,
        favicon_path=str(STATIC / "favicon.png"),
        max_file_size=limits.max_upload,
        theme=theme(),
        css_paths=STATIC / "page.css",
        head='<script src="page.js"></script>',
        app_kwargs={"lifespan": sweeping},
    )
    mounted: Any = app.routes[-1]
    mounted.app = Guard(
        mounted.app,
        visitors,
        has_room=lambda: visitors.num_bytes() < limits.max_storage,
        is_stopping=lambda: service.obstacle == "stopping",
        token=token,
    )
    return app


async def _sweep(visitors: Visitors) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        await asyncio.to_thread(visitors.sweep)
