"""Health, readiness and a status page. No patient data: UIDs, states, reasons, counts."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

import sqlalchemy as sa
import uvicorn
from jinja2 import Environment, Template
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pneumo_monai import __version__
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.overview import overview
from pneumo_monai.processes import ProcessState
from pneumo_monai.records import Records
from pneumo_monai.settings import Settings
from pneumo_monai.tables import connect

__all__ = ["make_app", "serve_web"]

_STUDIES_SHOWN = 100


def make_app(records: Callable[[], Records], processes: Callable[[], Sequence[ProcessState]]) -> Starlette:
    """Build the web application.

    Parameters
    ----------
    records : callable
        Returns the ledger's tables; may raise `sqlalchemy.exc.SQLAlchemyError` while they cannot be reached.
    processes : callable
        Returns how each process stands.
    """

    def health(_: Request) -> Response:
        return JSONResponse({"status": "alive", "version": __version__})

    def ready(_: Request) -> Response:
        # Ready is to take films: a worker that still loads reads them when it is warm.
        states = processes()
        accepting = all(state.ready for state in states if state.name == "listener")
        body = {
            "status": "ready" if accepting else "starting",
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
        routes=[Route("/", status), Route("/health", health), Route("/ready", ready)],
    )


@contextmanager
def serve_web(settings: Settings, processes: Callable[[], Sequence[ProcessState]]) -> Iterator[None]:
    """Serve the web port from a thread until the context ends.

    Raises
    ------
    ConfigurationError
        The address or port cannot be listened on.
    """

    @cache
    def records() -> Records:
        return Records(connect(settings.ledger_url))

    config = uvicorn.Config(
        make_app(records, processes),
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
