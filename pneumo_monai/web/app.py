"""Health, readiness, metrics and a status page. No patient data: UIDs, states, reasons, counts."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import sqlalchemy as sa
import uvicorn
from jinja2 import Environment, Template
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pneumo_monai import __version__
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.metrics import CONTENT_TYPE_LATEST, Metrics
from pneumo_monai.overview import overview
from pneumo_monai.processes import ProcessState
from pneumo_monai.records import Records
from pneumo_monai.reserve import Reserve
from pneumo_monai.settings import Settings
from pneumo_monai.tables import connect
from pneumo_monai.web.access import TokenGuard

__all__ = ["make_app", "serve_web"]

_STUDIES_SHOWN = 100


def make_app(
    records: Callable[[], Records],
    processes: Callable[[], Sequence[ProcessState]],
    *,
    alarms: Callable[[], Mapping[str, bool]] = dict,
    destinations: Sequence[str] = (),
    reserve: Reserve | None = None,
    token: str | None = None,
) -> Starlette:
    """Build the web application.

    Parameters
    ----------
    records : callable
        Returns the ledger's tables; may raise `sqlalchemy.exc.SQLAlchemyError` while they cannot be reached.
    processes : callable
        Returns how each process stands.
    alarms : callable
        Returns whether each alarm is raised.
    destinations : sequence of str
        Names of the destinations.
    reserve : Reserve or None
        What is free of the disk, to be measured.
    token : str or None
        What every caller must know; None: nobody is asked.
    """
    measured = Metrics(records, processes, alarms, destinations, reserve)

    def metrics(_: Request) -> Response:
        return Response(measured.text(), media_type=CONTENT_TYPE_LATEST)

    def health(_: Request) -> Response:
        return JSONResponse({"status": "alive", "version": __version__})

    def ready(_: Request) -> Response:
        # Ready is to take films: a worker that still loads reads them when it is warm. A listener that lacks disk or
        # ledger says that it is not.
        states = processes()
        accepting = all(state.ready for state in states if state.name == "listener")
        body = {
            "status": "ready" if accepting else "not ready",
            "processes": [{"name": s.name, "ready": s.ready, "starts": s.starts, "status": s.status} for s in states],
        }
        return JSONResponse(body, status_code=200 if accepting else 503)

    def status(_: Request) -> Response:
        try:
            tables = records()
            counts, studies = tables.counts(), overview(tables, limit=_STUDIES_SHOWN)
        except sa.exc.SQLAlchemyError as error:
            return Response(f"the ledger cannot be read ({type(error).__name__})", status_code=503)
        page = _template().render(
            version=__version__, counts=counts, studies=studies, processes=processes(), when=_when
        )
        return HTMLResponse(page)

    return Starlette(
        routes=[
            Route("/", status),
            Route("/health", health),
            Route("/ready", ready),
            Route("/metrics", metrics),
        ],
        middleware=[] if token is None else [Middleware(TokenGuard, token=token)],
    )


@contextmanager
def serve_web(
    settings: Settings,
    processes: Callable[[], Sequence[ProcessState]],
    alarms: Callable[[], Mapping[str, bool]] = dict,
) -> Iterator[None]:
    """Serve the web port from a thread until the context ends.

    Raises
    ------
    ConfigurationError
        The address or port cannot be listened on, or the token cannot be read.
    """

    @cache
    def records() -> Records:
        return Records(connect(settings.ledger_url))

    config = uvicorn.Config(
        make_app(
            records,
            processes,
            alarms=alarms,
            destinations=[destination.name for destination in settings.destinations],
            reserve=Reserve(settings.data_dir, settings.listener.limits.disk_reserve_bytes),
            token=settings.web.read_token(),
        ),
        host=settings.web.host,
        port=settings.web.port,
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        raise ConfigurationError(
            f"web.host, web.port: {settings.web.host}:{settings.web.port} cannot be listened on; "
            "stop what uses the port, or choose another"
        ) from error
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(5)
        listening.close()


def _when(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@cache
def _template() -> Template:
    source = (files("pneumo_monai.web") / "status.html").read_text(encoding="utf-8")
    return Environment(autoescape=True).from_string(source)
