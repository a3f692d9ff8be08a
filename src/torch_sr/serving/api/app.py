"""Put the API together: routes, problem documents, middleware, health and figures."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from torch_sr._version import __version__
from torch_sr.serving.api.access import CheckOrigin, CheckToken
from torch_sr.serving.api.documents import Problem
from torch_sr.serving.api.middleware import (
    AddHeaders,
    AnswerBugs,
    AnswerHead,
    CountRequests,
    LimitBodies,
)
from torch_sr.serving.api.problems import add_handlers
from torch_sr.serving.api.routes import router
from torch_sr.serving.service import Service

_DESCRIPTION = """\
Super-resolve images and videos.

Errors are problem documents (RFC 9457) that name the field, its value and the remedy. With a
token, each request needs the header `Authorization: Bearer TOKEN`.
"""


def make_app(
    service: Service,
    *,
    token: str | None = None,
    hosts: Collection[str] = (),
    page: bool = True,
) -> FastAPI:
    """The application of a service: the API and the page.

    Args:
        service: is started and stopped by the caller.
        token: that requests must have; None for none.
        hosts: names that are accepted in the header ``Host``; empty for all.
        page: whether to serve the page as well.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    policy = "default-src 'none'"
    _add_health(app, service)
    app.mount("/v1", make_api(service, token=token))
    if page:
        from torch_sr.serving.page import PAGE_POLICY, mount_page

        policy = PAGE_POLICY
        app = mount_page(app, service, token=token)
    add_handlers(app)
    # The last is the outermost.
    app.add_middleware(AnswerHead)
    app.add_middleware(AnswerBugs)
    app.add_middleware(LimitBodies, limits=service.settings.limits)
    if token is not None:
        app.add_middleware(CheckToken, token=token)
    app.add_middleware(CheckOrigin, hosts=hosts)
    app.add_middleware(AddHeaders, page_policy=policy)
    app.add_middleware(CountRequests, metrics=service.metrics)
    return app


def make_api(service: Service | None = None, *, token: str | None = None) -> FastAPI:
    """What is below ``/v1``.

    Args:
        service: None if only the OpenAPI document is used.
        token: see :func:`make_app`.
    """
    api = FastAPI(
        title="torch-sr",
        version=__version__,
        description=_DESCRIPTION,
        license_info={"name": "LGPL-2.1-only", "identifier": "LGPL-2.1-only"},
        docs_url=None,  # these pages load scripts from another server
        redoc_url=None,
        redirect_slashes=False,  # to an address that contains the header Host
    )
    api.state.service = service
    api.include_router(router)
    add_handlers(api)
    make_openapi = api.openapi

    def openapi() -> dict[str, Any]:
        document = make_openapi()
        schemas = document["components"]["schemas"]
        schemas.setdefault("Problem", Problem.model_json_schema())
        if token is not None:
            document["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{"token": []}]
        return document

    api.openapi = openapi  # type: ignore[method-assign]
    return api


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    def healthz() -> JSONResponse:
        """Whether the process should go on; a supervisor restarts it otherwise."""
        return _health(service.fault)

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Whether it takes requests now; a load balancer uses other servers otherwise."""
        return _health(service.obstacle)

    @app.get("/metrics")
    def metrics() -> Response:
        return PlainTextResponse(service.metrics.to_text(), media_type=CONTENT_TYPE_LATEST)


def _health(obstacle: str | None) -> JSONResponse:
    if obstacle is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": obstacle}, status_code=503)
