"""The command `pneumo-monai`. Each command logs, configures, builds, runs, closes; the work is elsewhere."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pneumo_monai.administration import Config, backup, doctor, ledger_of, reconcile, retry
from pneumo_monai.errors import Broken, ConfigurationError, DeliveryError, PneumoMonaiError, Reason
from pneumo_monai.forms import Form
from pneumo_monai.processes import EX_CONFIG, end_with_parent, wait_to_be_let_go

if TYPE_CHECKING:
    from pneumo_monai.settings import Settings

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Reads chest radiographs for pneumonia between the scanner and the PACS: C-STORE in, DICOM Structured Report "
    "out. For research use only. Not a medical device.",
)

Device = Literal["auto", "cpu", "cuda"]


def main() -> None:
    """Run the command line: errors that the operator can mend become one clear message and an exit status."""
    try:
        app()
    except ConfigurationError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(EX_CONFIG)
    except PneumoMonaiError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        sys.exit(1)


def _settings_with_folder(config: Path) -> "Settings":
    """Load the settings and make their data folder."""
    from pneumo_monai.settings import load_settings

    settings = load_settings(config)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"data_dir: {settings.data_dir} cannot be created ({error.strerror})") from error
    return settings


def _as_service() -> threading.Event:
    # Films, reports and the ledger are for nobody else on the machine.
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@app.command()
def serve(config: Config) -> None:
    """Run the service: listener, worker and web port; restart what dies; end cleanly on SIGTERM."""
    from pneumo_monai import logs
    from pneumo_monai.service import supervise

    logs.configure("serve")
    supervise(config, _as_service())


@app.command()
def listener(config: Config) -> None:
    """Run the listener alone: accept, write, enter in the ledger. `serve` starts this for you."""
    from pneumo_monai.before_holoscan import import_to_listen, keeping_all

    end_with_parent()
    with keeping_all():
        import_to_listen()
        from pneumo_monai import logs
        from pneumo_monai.audit import Audit
        from pneumo_monai.ledger import Inbox, prepare
        from pneumo_monai.listener import ListenerProcess
        from pneumo_monai.notify import notify_ready
        from pneumo_monai.spool import Spool

    logs.configure("listener")
    stop = _as_service()
    wait_to_be_let_go()
    settings = _settings_with_folder(config)
    audit, inbox = Audit.of(settings), Inbox(prepare(settings.ledger_url))
    process = ListenerProcess(settings.listener, Spool(settings.data_dir), inbox, audit)
    with audit.running("listener", settings, config):
        process.start()
        notify_ready(listens=f"on {settings.listener.ae_title}@{settings.listener.host}:{process.port}")
        stop.wait()
        process.stop()


@app.command()
def worker(
    config: Config,
    slot: Annotated[str, typer.Option(help="Stable name of this worker among its peers.")] = "worker-0",
) -> None:
    """Run a worker alone: the warm graph, fed by the ledger. `serve` starts this for you."""
    from pneumo_monai import logs
    from pneumo_monai.audit import Audit
    from pneumo_monai.worker import run_worker

    logs.configure(slot)
    stop = _as_service()
    end_with_parent()
    settings = _settings_with_folder(config)
    audit, code = Audit.of(settings), 1
    try:
        with audit.running(slot, settings, config):
            run_worker(settings, slot=slot, stop=stop, audit=audit)
        code = 0
    except ConfigurationError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        code = EX_CONFIG
    except PneumoMonaiError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
    except Exception as error:
        logging.getLogger(__name__).error("the worker ends", exc_info=logs.without_text(error))  # noqa: TRY400 - no text
    finally:
        # A thread that waits for a PACS or for a graph that ended must not hold the process: what it does is durable.
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)


@app.command()
def run(
    source: Annotated[Path, typer.Option("--input", "-i", help="Folder of DICOM files, searched at every depth.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the reports; created when missing.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a MONAI Bundle; default: the one in the package.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the network runs.")] = "auto",
    form: Annotated[
        list[Form] | None,
        typer.Option(help="What to write, more than once for several forms; default: sr-comprehensive-3d."),
    ] = None,
    not_analysed: Annotated[
        list[Reason] | None,
        typer.Option(help="Reason for which a study of which no film was read gets a report too; more than once."),
    ] = None,
) -> None:
    """Read a folder once and write the report of each study into another."""
    from pneumo_monai import logs
    from pneumo_monai.oneshot import run_folder

    logs.configure("run")
    if Form.REJECTION_NOTE in (form or ()):
        raise ConfigurationError("--form: rejection-note follows a retraction by itself; choose another form")
    forms, reasons = form or [Form.SR_COMPREHENSIVE_3D], not_analysed or []
    if not run_folder(source, output, model=model, device=device, forms=forms, not_analysed=reasons):
        raise typer.Exit(1)


@app.command()
def status(
    config: Config,
    limit: Annotated[int, typer.Option(min=1, help="How many studies to list, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List studies and their state, and why what was not analysed was not."""
    from pneumo_monai.settings import load_settings
    from pneumo_monai.status import print_status

    settings = load_settings(config)
    with ledger_of(settings):
        print_status(settings, limit=limit, as_json=as_json)


app.command()(backup)
app.command()(doctor)
app.command()(reconcile)
app.command()(retry)


@app.command()
def retract(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    cause: Annotated[
        Literal["safety", "quality"],
        typer.Option(help="safety: the result is wrong, and may harm; quality: it should not have been made."),
    ],
    why: Annotated[str, typer.Option(help="One sentence for the reader of the report; it goes into no log.")],
    config: Config,
) -> None:
    """Withdraw the result of a study: a report that supersedes it, then a rejection note."""
    from pneumo_monai import logs
    from pneumo_monai.revising import ask_for_retraction
    from pneumo_monai.settings import load_settings

    logs.configure("retract")
    settings = load_settings(config)
    with ledger_of(settings):
        typer.echo(ask_for_retraction(settings, study, cause, why))


@app.command()
def reread(studies: Annotated[list[str], typer.Argument(help="Study Instance UIDs.")], config: Config) -> None:
    """Read the films of studies again, retracted and refused ones too; a new model supersedes the old report."""
    from pneumo_monai import logs
    from pneumo_monai.revising import ask_for_rereading
    from pneumo_monai.settings import load_settings

    logs.configure("reread")
    settings = load_settings(config)
    with ledger_of(settings):
        for line in ask_for_rereading(settings, studies):
            typer.echo(line)


@app.command()
def send(
    files: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files, or folders of them.")],
    to: Annotated[str, typer.Option(help="Receiving application entity: AETITLE@host:port.")],
    ae_title: Annotated[str, typer.Option(help="Calling AE title.")] = "PNEUMO-SEND",
) -> None:
    """Send files to an application entity by C-STORE; each study goes over an association of its own."""
    from pneumo_monai import logs
    from pneumo_monai.sending import send_all

    logs.configure("send")
    failed = send_all(files, to=to, calling_ae_title=ae_title)
    if failed:
        raise DeliveryError(f"{failed} of the files were not taken; the lines above say which and why")


@app.command()
def show(files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Structured Reports.")]) -> None:
    """Print Structured Reports as readable text."""
    from pneumo_monai import logs
    from pneumo_monai.instances import read_instance
    from pneumo_monai.report.text import as_text

    logs.configure("show")
    for file in files:
        try:
            typer.echo(as_text(read_instance(file)))
        except PneumoMonaiError as error:
            raise Broken(f"{file}: {error}") from error


@app.command()
def validate(
    data: Annotated[Path, typer.Option(help="Folder of DICOM files, searched at every depth.")],
    labels: Annotated[Path, typer.Option(help="CSV of labels; docs/validation.md has its columns.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, report.html and cases.csv.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file of the service, for its model and rules.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of a MONAI Bundle; default: that of the configuration.")
    ] = None,
    prevalence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of positive films among those that this site sends.")
    ] = 0.1,
    films: Annotated[bool, typer.Option(help="Show the most confident errors, pictures of patients.")] = True,
) -> None:
    """Measure the installed model on films of this site whose truth is known, before relying on it."""
    from pneumo_monai import logs
    from pneumo_monai.bundle import PACKAGED, Bundle
    from pneumo_monai.settings import Model, load_intended_use, load_settings

    logs.configure("validate")
    settings = load_settings(config) if config else None
    chosen = settings.model if settings else Model()
    intended_use = settings.intended_use if settings else load_intended_use()
    bundle = Bundle(model or chosen.path or PACKAGED)

    from pneumo_monai.evaluation.validation import validate as measure

    metrics = measure(
        data,
        labels,
        out,
        bundle=bundle,
        model=chosen,
        intended_use=intended_use,
        prevalence=prevalence,
        films=films,
    )
    for name, line in metrics["data"]["counts"].items():
        typer.echo(f"{name}: {line}")
    typer.echo(f"the page stands in {out / 'report.html'}")


@app.command()
def conformance(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file of the site; default: the defaults.")
    ] = None,
) -> None:
    """Print the DICOM Conformance Statement as Markdown, with the titles, ports and forms of a site."""
    from pneumo_monai.conformance.statement import render_statement
    from pneumo_monai.settings import load_settings

    typer.echo(render_statement(load_settings(config) if config else None), nl=False)


@app.command()
def demo(
    source: Annotated[
        Path | None, typer.Option("--input", help="Folder of real films; default: drawn phantoms.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder for what the demo makes.")] = Path("demo-output"),
) -> None:
    """Start the service with a small PACS of its own, send it films, and show the reports that come back."""
    from pneumo_monai import logs
    from pneumo_monai.demo import run_demo

    logs.configure("demo")
    if not run_demo(source, output):
        raise typer.Exit(1)
