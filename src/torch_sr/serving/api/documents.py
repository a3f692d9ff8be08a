"""The JSON documents of the API, and what OpenAPI says of requests."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from torch_sr.serving.api.problems import PROBLEM_TYPE
from torch_sr.serving.jobs import JobStatus
from torch_sr.serving.offers import OfferedModel
from torch_sr.serving.requests import FORMATS, UpscaleRequest


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "this model is not offered",
                    "field": "model",
                    "value": "compakt-x4",
                    "remedy": "did you mean compact-x4?",
                }
            ]
        }
    )

    type: Annotated[str, Field(description="Always `about:blank`: the status says it all.")]
    title: Annotated[str, Field(description="The phrase of the status.")]
    status: Annotated[int, Field(description="The status of HTTP.", ge=400, le=599)]
    detail: Annotated[str, Field(description="What is wrong, in one line.")]
    field: Annotated[str | None, Field(description="The parameter or header.")] = None
    value: Annotated[str | float | None, Field(description="What it was.")] = None
    remedy: Annotated[str | None, Field(description="What to do.")] = None


class ModelDocument(BaseModel):
    """A model that requests may name."""

    name: Annotated[str, Field(examples=["compact-x4"])]
    scale_factor: Annotated[int, Field(ge=1, description="How many times larger results are.")]
    architecture: str
    author: str | None
    license: str | None
    default_strength: Annotated[
        float | None, Field(description="None if the model has no `strength`.")
    ]
    is_default: Annotated[bool, Field(description="Whether it is used if none is named.")]

    @classmethod
    def of(cls, model: OfferedModel, *, is_default: bool) -> ModelDocument:
        """The document of a model."""
        return cls(
            name=model.name,
            scale_factor=model.scale_factor,
            architecture=model.architecture,
            author=model.author,
            license=model.license,
            default_strength=model.default_strength,
            is_default=is_default,
        )


class ModelList(BaseModel):
    """All models, the default first."""

    models: list[ModelDocument]


class JobDocument(BaseModel):
    """A job at one moment."""

    id: str
    name: Annotated[str, Field(description="Of the uploaded file.")]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: Annotated[float, Field(ge=0, le=1, description="The part that is computed.")]
    position: Annotated[int, Field(ge=0, description="Requests that are before it.")]
    seconds_left: Annotated[float | None, Field(description="Estimate, while it is computed.")] = (
        None
    )
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    notes: Annotated[list[str], Field(description="What the result could not keep of the source.")]
    error: Annotated[Problem | None, Field(description="Why it failed.")] = None
    result_url: Annotated[str | None, Field(description="Of the result, when done.")] = None
    events_url: Annotated[str, Field(description="Of server-sent events about its progress.")]

    @classmethod
    def of(cls, job: JobStatus) -> JobDocument:
        """The document of a job."""
        place = f"/v1/jobs/{job.id}"
        return cls(
            id=job.id,
            name=job.name,
            state=job.state,
            progress=round(job.progress, 4),
            position=job.position,
            seconds_left=None if job.seconds_left is None else round(job.seconds_left, 1),
            created=_time(job.created),
            started=None if job.started is None else _time(job.started),
            finished=None if job.finished is None else _time(job.finished),
            notes=list(job.notes),
            error=None if job.error is None else Problem(**job.error.to_dict()),
            result_url=f"{place}/result" if job.state == "done" else None,
            events_url=f"{place}/events",
        )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problem documents."""
    content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    texts = {
        400: "The request cannot be parsed.",
        401: "The token is missing or wrong.",
        403: "The request comes from another web site.",
        404: "There is no such job.",
        406: "None of the accepted types is written.",
        408: "The upload is too slow.",
        409: "It contradicts the state of the job, or of an earlier request.",
        413: "The upload, the image or the result is too large.",
        415: "It is not an image.",
        416: "The result does not have this range.",
        421: "The server is not reached by this name.",
        422: "An option is wrong, or the image cannot be read.",
        429: "Too many requests wait; `Retry-After` says when to try again.",
        500: "An error inside the server.",
        503: "The server is stopping or out of memory.",
        504: "It took longer than the server permits.",
        507: "There is no room for another job.",
    }
    return {status: {"description": texts[status], "content": content} for status in statuses}


def upload_schema(*, accepts: str = "image") -> dict[str, Any]:
    """The OpenAPI description of a request with an upload and options.

    Args:
        accepts: what the upload is, in words.
    """
    options = UpscaleRequest.model_json_schema()["properties"]
    file = {"type": "string", "format": "binary", "description": f"The file of the {accepts}."}
    form = {"type": "object", "required": ["image"], "properties": {"image": file, **options}}
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {key: value for key, value in schema.items() if key != "description"},
            "description": schema.get("description", ""),
        }
        for name, schema in options.items()
    ]
    return {
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **{
                    kind: {"schema": file}
                    for kind in (*FORMATS.values(), "application/octet-stream")
                },
            },
        },
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
