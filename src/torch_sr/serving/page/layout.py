"""The page, of Gradio's components: what to choose on the left, what came of it on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from torch_sr.serving.page.choices import FORMATS, USUAL_QUALITY, sizes
from torch_sr.serving.page.examples import EXAMPLES
from torch_sr.serving.page.handlers import DETAIL, WHOLE, Handlers

TITLE = "torch-sr: enlarge images"
STATIC = Path(__file__).parent / "static"
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUICK: dict[str, Any] = {**_PRIVATE, "show_progress": "hidden", "concurrency_limit": None}
_MOST_BATCHES = 100  # at once; those of further visitors wait
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONOSPACE = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Gradio's default theme with fonts of the system and colors of sufficient contrast."""
    return gr.themes.Default(
        primary_hue="blue", secondary_hue="blue", font=_FONTS, font_mono=_MONOSPACE
    ).set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_cancel_background_fill="*neutral_600",
        button_cancel_background_fill_dark="*neutral_600",
        button_cancel_background_fill_hover="*neutral_700",
        button_cancel_background_fill_hover_dark="*neutral_700",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_visited="*primary_700",
        link_text_color_visited_dark="*primary_300",
    )


def build_page(handlers: Handlers, *, accepts_video: bool) -> gr.Blocks:
    """Lay out the page and connect it; see :class:`Handlers` for what happens."""
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(_introduction(accepts_video))
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                choices = _choices(handlers, accepts_video=accepts_video)
                start = gr.Button("Upscale", variant="primary", size="lg", elem_id="start")
            with gr.Column(scale=3, min_width=280, elem_id="results"):
                state = _results(handlers)
        start.click(
            handlers.upscale,
            choices,
            [start, *state],
            **{**_QUICK, "concurrency_limit": _MOST_BATCHES},
        )
        page.unload(handlers.close)
    page.queue(default_concurrency_limit=None, api_open=False)
    return page


def _introduction(accepts_video: bool) -> str:
    what = "images or videos" if accepts_video else "images"
    return f"# Enlarge {what}\n\nDrop them, press **Upscale**, compare, download."


def _choices(handlers: Handlers, *, accepts_video: bool) -> list[Any]:
    """The inputs of :meth:`Handlers.upscale`, in its order."""
    label = "Your images or videos" if accepts_video else "Your images"
    images = gr.File(label=label, file_count="multiple", elem_id="images", height=170)
    gr.Markdown("Drop one or many, click to choose, or paste with Ctrl+V. Or try an example:")
    examples = gr.Gallery(
        [(str(example.path), example.label) for example in EXAMPLES],
        label="Examples",
        show_label=False,
        columns=len(EXAMPLES),
        height="auto",
        elem_id="examples",
        allow_preview=False,
        interactive=False,
        buttons=[],
    )
    examples.select(handlers.take_example, None, images, **_QUICK)
    model, strength, size = _model(handlers)
    factor = gr.Number(2, label="Factor", step=0.1, visible=False)
    with gr.Row(visible=False) as sides:
        info = "0: in proportion"
        width = gr.Number(0, label="Width", info=info, precision=0, min_width=120)
        height = gr.Number(0, label="Height", info=info, precision=0, min_width=120)
    size.change(_show_size, size, [factor, sides], **_QUICK)
    with gr.Accordion("More options", open=False):
        file_format = gr.Dropdown(list(FORMATS.items()), value="", label="Format of the result")
        quality = gr.Slider(
            1,
            100,
            USUAL_QUALITY,
            step=1,
            label="Quality",
            info=f"Of JPEG, WebP and AVIF. {USUAL_QUALITY} is usual.",
        )
        keep = gr.Checkbox(False, label="Use what can be read of damaged images")
    return [images, model, strength, size, factor, width, height, file_format, quality, keep]


def _model(handlers: Handlers) -> tuple[Any, Any, Any]:
    models = handlers.models
    model = gr.Dropdown(
        [(f"{model.name} ({model.scale_factor}x)", model.name) for model in models],
        value=models[0].name,
        label="Model",
        visible=len(models) > 1,
    )
    default = models[0].default_strength
    strength = gr.Slider(
        0,
        1,
        value=1.0 if default is None else default,
        step=0.05,
        label="Strength, from faithful to restoring",
        info="Faithful only enlarges; restoring also removes noise and traces of compression.",
        elem_id="strength",
        visible=default is not None,
    )
    size = gr.Radio(list(sizes(models[0]).items()), value="model", label="Size of the result")
    model.change(handlers.choose_model, model, [strength, size], **_QUICK)
    return model, strength, size


def _show_size(size: str) -> tuple[Any, Any]:
    return gr.update(visible=size == "factor"), gr.update(visible=size == "pixels")


def _results(handlers: Handlers) -> list[Any]:
    """The outputs of :meth:`Handlers.upscale`, after the button that starts it."""
    summary = gr.Markdown("The results will be here.", elem_id="status", latex_delimiters=[])
    files = gr.Markdown(latex_delimiters=[], elem_id="files")
    cancel = gr.Button("Cancel", variant="stop", size="lg", visible=False)
    cancel.click(handlers.cancel, **_QUICK)
    with gr.Column(visible=False) as panel:
        chosen = gr.Dropdown([], label="Show", visible=False)
        slider = gr.ImageSlider(
            label="Before (left) and after (right)",
            interactive=False,
            elem_id="comparison",
            buttons=["fullscreen"],
        )
        caption = gr.Markdown(latex_delimiters=[])
        with gr.Row() as controls:
            view = gr.Radio([WHOLE, DETAIL], value=WHOLE, label="View", min_width=200)
            divider = gr.Slider(
                0, 100, 50, step=1, label="Move the divider", buttons=[], min_width=200
            )
        with gr.Row():
            one = gr.DownloadButton("Download", variant="primary", visible=False)
            everything = gr.DownloadButton("Download all as ZIP", visible=False)
    shown = [slider, controls, caption, one]
    chosen.change(
        handlers.show, chosen, shown, show_progress="minimal", concurrency_limit=2, **_PRIVATE
    )
    view.change(_view_class, view, slider, **_QUICK)
    divider.input(_move, divider, slider, trigger_mode="always_last", **_QUICK)
    return [summary, files, cancel, panel, chosen, everything]


def _view_class(view: str) -> Any:
    return gr.update(elem_classes=["detail"] if view == DETAIL else [])


def _move(position: float) -> Any:
    return gr.update(slider_position=position)
