"""The reading process: the warm graph, fed by the ledger."""

import logging
import signal
import threading

from pneumo_monai.audit import Audit
from pneumo_monai.before_holoscan import import_to_read, keeping_all
from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.errors import Broken
from pneumo_monai.notify import notify_ready
from pneumo_monai.settings import Settings
from pneumo_monai.tls import client_context

__all__ = ["run_worker"]

_log = logging.getLogger(__name__)


def run_worker(settings: Settings, *, slot: str, stop: threading.Event, audit: Audit | None = None) -> None:
    """Load the model, start the graph and take up work until `stop` is set; then finish what is in flight.

    Parameters
    ----------
    settings : Settings
        The whole tree.
    slot : str
        Stable name of this worker among its peers, see `pneumo_monai.ledger.run_workflows`.
    stop : threading.Event
        Set by whoever wants the worker to end.
    audit : Audit or None
        Where it is entered what went where; None: nowhere.

    Raises
    ------
    ConfigurationError
        The model, the device, or a certificate is not what the settings promise.
    Broken
        The graph ended by itself.
    """
    # Torch, MONAI and Holoscan take seconds to import: what is wrong with the settings is said before.
    for number, destination in enumerate(settings.destinations):
        if destination.tls is not None:
            client_context(destination.tls, f"destinations[{number}].tls")
    bundle = Bundle(settings.model.path or PACKAGED)

    with keeping_all():
        import_to_read()
        from pneumo_monai.decoding_process import DecodingProcess
        from pneumo_monai.delivery import Delivery
        from pneumo_monai.desk import Desk
        from pneumo_monai.engine import open_engine
        from pneumo_monai.graph import ResidentGraph
        from pneumo_monai.hands import Hands
        from pneumo_monai.ledger import prepare, run_workflows
        from pneumo_monai.reading import Reading
        from pneumo_monai.reading_process import READING_SECONDS, ReadingProcess
        from pneumo_monai.records import Records
        from pneumo_monai.retention import Retention
        from pneumo_monai.retraction import Reader
        from pneumo_monai.revisions import Reporting
        from pneumo_monai.safekeeping import Safekeeping
        from pneumo_monai.spool import Spool
        from pneumo_monai.suspects import Suspects

    # The desk says once why a report waits; pynetdicom would say it at each attempt.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    if stop.is_set():
        return
    engine = open_engine(bundle, settings.model)
    engine.warm_up()
    _log.info("model %s %s reads on %s", bundle.name, bundle.version, engine.device)
    reporting = Reporting.to(settings.destinations, settings.report)
    records, spool = Records(prepare(settings.ledger_url)), Spool(settings.data_dir)
    hands = Hands(settings.data_dir, slot)
    if hands.left:
        _log.warning("%d films were at hand when the last %s ended: each is read apart", len(hands.left), slot)
        Suspects(records.engine).suspect(hands.left)
    hands.forget()
    decoder = DecodingProcess()
    graph = ResidentGraph(Reading(engine, settings.intended_use, reporting, decoder.decode, hands.holding))
    title = settings.listener.ae_title
    delivery = Delivery(records, spool, title, audit)
    committing = [peer.name for peer in settings.destinations if peer.storage_commitment is not None]
    desk = Desk(
        records=records,
        spool=spool,
        destinations=settings.destinations,
        delivery=delivery,
        safekeeping=Safekeeping(records, delivery, title, settings.report.uid_root),
        retention=Retention(records, spool, settings.retention, committing),
        reporting=reporting,
        reader=Reader(model=bundle.identity, operating_point=bundle.operating_point),
        read=graph.read,
        read_apart=ReadingProcess(settings, READING_SECONDS).read,
    )
    with decoder, graph, run_workflows(settings.ledger_url, desk, slot=slot, patience=settings.delivery) as look:
        notify_ready(model=f"{bundle.name} {bundle.version}", device=str(engine.device))
        try:
            while not stop.wait(0.5):
                look()
                if not graph.is_running:
                    raise Broken("the graph ended by itself; the log above says why")
                # A film that holds a stage up for so long, or this thread, ends the process like one that crashes it:
                # the signal's default needs no Python that could run.
                signal.setitimer(signal.ITIMER_REAL, max(READING_SECONDS - hands.longest(), 0.01))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
