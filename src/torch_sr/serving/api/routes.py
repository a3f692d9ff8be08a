"""The routes of ``/v1``: upscale an image, jobs, models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.requests import ClientDisconnect

from torch_sr.serving.api.documents import (
    JobDocument,
    ModelDocument,
    ModelList,
    problems,
    upload_schema,
)
from torch_sr.serving.api.files import ResultResponse
from torch_sr.serving.api.receiving import format_from_accept, receive
from torch_sr.serving.errors import RequestError
from torch_sr.serving.jobs import JobStatus
from torch_sr.serving.requests import FORMATS
from torch_sr.serving.service import Service
from torch_sr.serving.tasks import FINISHED, Task

_SECONDS_BETWEEN_EVENTS = 0.25
_UPLOAD = (400, 403, 408, 413, 415, 422, 429, 500, 503)
_IMAGE = {"schema": {"type": "string", "format": "binary"}}

_LINKS = {
    name: {"operationId": operation, "parameters": {"job_id": "$response.body#/id"}}
    for name, operation in {
        "state": "read_job",
        "events": "follow_job",
        "result": "read_result",
        "delete": "delete_job",
    }.items()
}

router = APIRouter(generate_unique_id_function=lambda route: route.name)


def _get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_get_service)]
JobId = Annotated[str, InPath(max_length=64, description="That the job was given.")]


def _find_job(service: Served, job_id: JobId) -> JobStatus:
    return service.find_job(job_id)


Job = Annotated[JobStatus, Depends(_find_job)]


@router.post(
    "/upscale",
    summary="Upscale an image",
    response_class=Response,
    responses={
        200: {"description": "The result.", "content": dict.fromkeys(FORMATS.values(), _IMAGE)},
        **problems(*_UPLOAD, 406, 504),
    },
    openapi_extra=upload_schema(),
    tags=["images"],
)
async def upscale(request: Request, service: Served) -> Response:
    """Send an image, as a form or as the body itself; the response is the result.

    Its format is that of the source, or the one that `format` or the header `Accept` names. Depth,
    alpha, color profile, EXIF and animation are kept; what the format cannot hold is listed in the
    header `Torch-SR-Notes`. If the connection ends, the work is cancelled.
    """
    received = await receive(request, service, format_from_accept(request))
    task = await run_in_threadpool(
        service.submit, received.upload, received.name, received.options, images_only=True
    )
    try:
        if not await _wait(request, task):
            raise ClientDisconnect
        if task.error is not None:
            raise task.error
        return ResultResponse(task.result, task.notes, lambda: service.discard(task))
    except BaseException:
        service.discard(task)
        raise


@router.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    summary="Accept an image or a video as a job",
    responses={202: {"links": _LINKS}, **problems(*_UPLOAD, 409, 507)},
    openapi_extra=upload_schema(accepts="image or video"),
    tags=["jobs"],
)
async def create_job(
    request: Request,
    response: Response,
    service: Served,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Chosen by the client: a repeated request of the same key is the same job.",
        ),
    ] = None,
) -> JobDocument:
    """Send an image or a video for which a connection should not be kept open.

    An accepted job is stored: it survives a restart or a crash of the server.
    """
    received = await receive(request, service)
    job = await run_in_threadpool(
        service.submit_job, received.upload, received.name, received.options, idempotency_key
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobDocument.of(job)


@router.get(
    "/jobs/{job_id}", summary="The state of a job", responses=problems(404, 422), tags=["jobs"]
)
def read_job(job: Job) -> JobDocument:
    """The state and the progress of a job, or why it failed."""
    return JobDocument.of(job)


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=problems(404, 422),
    tags=["jobs"],
)
async def follow_job(service: Served, job: Job) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events, each with the job as `GET /v1/jobs/{job_id}` returns it.

    They are named after the state; the last one is `done`, `failed` or `cancelled`. The stream
    also ends when the server stops.
    """
    last = None
    while True:
        document = JobDocument.of(job)
        if document != last:
            yield ServerSentEvent(data=document.model_dump(mode="json"), event=document.state)
        if document.state in FINISHED or service.is_stopping:
            return
        last = document
        await asyncio.sleep(_SECONDS_BETWEEN_EVENTS)
        try:
            job = await run_in_threadpool(service.find_job, job.id)
        except RequestError:  # it was deleted
            yield ServerSentEvent(data={"id": job.id, "state": "cancelled"}, event="cancelled")
            return


@router.get(
    "/jobs/{job_id}/result",
    summary="The result of a job",
    response_class=Response,
    responses={
        200: {"description": "The result.", "content": {"*/*": _IMAGE}},
        206: {"description": "A part of the result.", "content": {"*/*": _IMAGE}},
        **problems(400, 404, 409, 416, 422),
    },
    tags=["jobs"],
)
def read_result(job: Job) -> Response:
    """The file of the result."""
    if job.result is None:
        raise RequestError(
            f"the job has no result: it is {job.state}" + (f" ({job.error})" if job.error else ""),
            status=HTTPStatus.CONFLICT,
            field="job_id",
            value=job.id,
            remedy=None if job.state in FINISHED else "wait until it is done",
        )
    return ResultResponse(job.result, job.notes)


@router.delete(
    "/jobs/{job_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Cancel and delete a job",
    responses=problems(403, 404, 422),
    tags=["jobs"],
)
def delete_job(service: Served, job_id: JobId) -> None:
    """Cancel a job if it is not finished, and delete its files."""
    service.remove_job(job_id)


@router.get("/models", summary="The models", tags=["models"])
def list_models(service: Served) -> ModelList:
    """The models that requests may name, the default first."""
    first = service.offers[0]
    return ModelList(
        models=[ModelDocument.of(model, is_default=model is first) for model in service.offers]
    )


async def _wait(request: Request, task: Task) -> bool:
    """Wait for a task; returns False if the client has gone away."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(finished.set)

    task.call_when_finished(notify)
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(finished.wait()),
        asyncio.create_task(_wait_for_disconnect(request)),
    ]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
    return finished.is_set() and task.state != "cancelled"


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
