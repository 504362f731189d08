"""Verification and Storage SCP: accept, write, enter in the ledger.

Nothing here knows torch, MONAI or Holoscan, whose imports take seconds: a listener is up before them, and stays up when
a decoder or a model does not.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from io import SEEK_END
from pathlib import Path
from typing import cast

import sqlalchemy as sa
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai import statuses
from pneumo_monai.acceptor import AcceptorServer
from pneumo_monai.admission import Admission
from pneumo_monai.audit import Audit
from pneumo_monai.audit_message import Instance
from pneumo_monai.commitment import UNRECOGNIZED_OPERATION, commitment_context, take_report
from pneumo_monai.connections import is_loopback
from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pneumo_monai.errors import ConfigurationError, OutOfResources, PneumoMonaiError, Reason, Refused
from pneumo_monai.ledger import Inbox
from pneumo_monai.priority import Priority
from pneumo_monai.reserve import Reserve
from pneumo_monai.settings import Audit as AuditSettings
from pneumo_monai.settings import Listener as ListenerSettings
from pneumo_monai.shortage import Shortage
from pneumo_monai.spool import Identity, Spool, identify
from pneumo_monai.tls import server_context

__all__ = ["TRANSFER_SYNTAXES", "ListenerProcess", "accepting_entity"]

_log = logging.getLogger(__name__)

TRANSFER_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    HTJ2K,
)
"""PS3.5 annex A, of each storage SOP class: what cannot be read is refused with a reason, not at negotiation."""


def accepting_entity(settings: ListenerSettings) -> AE:
    """Return the application entity that listens: what it accepts, its limits and its time-outs."""
    entity, limits = AE(ae_title=settings.ae_title), settings.limits
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = limits.pdu_bytes
    entity.maximum_associations = limits.associations
    entity.acse_timeout = limits.artim_timeout
    entity.network_timeout = limits.network_timeout
    entity.add_supported_context(Verification)
    # A commitment SCP opens this association, so it is the SCP here and says so (PS3.7 D.3.3.4).
    entity.add_supported_context(commitment_context(), scu_role=False, scp_role=True)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), list(TRANSFER_SYNTAXES))
    return entity


@dataclass
class _OpenStudy:
    """The study an association is bringing."""

    study_instance_uid: str
    last_film_at: float
    received: list[Instance] = field(default_factory=list)
    film: Path = Path()
    """One of its files, for whose they are."""


class ListenerProcess:
    """The listening application entity.

    Parameters
    ----------
    settings : pneumo_monai.settings.Listener
        AE title, address and port, who may connect and how, silence after which a study is reported.
    spool : Spool
        Where films are kept.
    inbox : Inbox
        Where they are entered.
    audit : Audit or None
        Where it is entered who connected and what came; None: nowhere.

    Raises
    ------
    ConfigurationError
        A key or certificate of `listener.tls` cannot be used.
    """

    def __init__(self, settings: ListenerSettings, spool: Spool, inbox: Inbox, audit: Audit | None = None) -> None:
        self._audit = audit or Audit(AuditSettings(), settings.ae_title)
        self._settings = settings
        self._spool = spool
        self._inbox = inbox
        self._reserve = Reserve(spool.data_dir, settings.limits.disk_reserve_bytes)
        self._shortage = Shortage(self._reserve)
        self._open: dict[Association, _OpenStudy] = {}
        self._unclosed: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: AcceptorServer | None = None
        self._watch = threading.Thread(target=self._close_silent_studies, name="silence", daemon=True)
        self._tls = None if settings.tls is None else server_context(settings.tls, "listener.tls")
        self._entity = accepting_entity(settings)
        called = settings.ae_title if settings.require_called_ae_title else None
        self._admission = Admission(settings.peers, called)

    @property
    def port(self) -> int:
        """The port that is listened on; the system's choice when the settings say 0."""
        assert self._server is not None  # noqa: S101 - only read between start and stop
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to accept associations.

        Raises
        ------
        ConfigurationError
            The address or port cannot be listened on.
        """
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_ECHO, lambda _: statuses.SUCCESS),
            (evt.EVT_C_STORE, self._on_c_store),
            (evt.EVT_N_EVENT_REPORT, lambda event: take_report(event, self._inbox.enter_commitment)),
            (evt.EVT_N_ACTION, lambda _: (UNRECOGNIZED_OPERATION, None)),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_RELEASED, self._on_end),
            (evt.EVT_ABORTED, self._on_end),
            (evt.EVT_CONN_CLOSE, self._on_end),
        ]
        # What it says of a broken association quotes what was sent; that an association broke is ours to say.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        # Before the port is open: what arrives now is no leftover.
        if leftovers := self._inbox.sweep():
            _log.info("%d studies that an earlier run left open are reported now", leftovers)
        address = (self._settings.host, self._settings.port)
        try:
            self._server = self._make_server(address, handlers)
        except OSError as error:
            raise ConfigurationError(
                f"listener.host, listener.port: {address[0]}:{address[1]} cannot be listened on ({error.strerror}); "
                "stop what uses the port, or choose another"
            ) from error
        if self._settings.tls is None and not self._settings.peers and not is_loopback(self._settings.host):
            _log.warning("whoever reaches %s:%d may send: set listener.peers or listener.tls", address[0], self.port)
        threading.Thread(target=self._server.serve_forever, name="acceptor", daemon=True).start()
        self._watch.start()

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Accept nothing new, let open associations end within the grace, abort the rest, close every study."""
        if self._server is None:
            return
        self._stopping.set()
        # Closes the listening socket only: what is being sent may finish.
        self._server.shutdown()
        deadline = time.monotonic() + grace_seconds
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        for late in self._server.active_associations:
            late.abort()
        for association in list(self._open):
            self._close(association)
        self._close_again()
        self._inbox.close()

    def _make_server(self, address: tuple[str, int], handlers: list[evt.EventHandlerType]) -> AcceptorServer:
        server = self._entity.make_server(
            address,
            evt_handlers=handlers,
            server_class=AcceptorServer,
            admission=self._admission,
            limits=self._settings.limits,
            tls=self._tls,
            on_rejection=self._audit.association,
        )
        return cast("AcceptorServer", server)

    def _on_accepted(self, event: Event) -> None:
        self._audit.association(_calling_ae_title(event), str(event.assoc.requestor.address))

    def _on_c_store(self, event: Event) -> int:
        data_set = cast("C_STORE", event.request).DataSet
        size = 0 if data_set is None else data_set.seek(0, SEEK_END)
        try:
            # Asked before the data set is copied, parsed and written.
            with self._reserve.room_for(size):
                self._receive(event)
        except (OutOfResources, OSError) as error:
            self._shortage.turned_away(_said_of(error), size)
            return statuses.for_error(error)
        except Exception as error:  # noqa: BLE001 - each error becomes the status that tells the sender what to do
            status = statuses.for_error(error)
            _log.warning("a C-STORE from %s is answered 0x%04X: %s", _calling_ae_title(event), status, _said_of(error))
            return status
        self._shortage.taken()
        return statuses.SUCCESS

    def _receive(self, event: Event) -> None:
        encoded = event.encoded_dataset()
        identity = identify(encoded)
        _check_request(event, identity)
        study = identity.study_instance_uid
        with self._lock:
            current = self._open.get(event.assoc)
        if current is not None and current.study_instance_uid != study:
            self._close(event.assoc)
        with self._lock:
            self._open.setdefault(event.assoc, _OpenStudy(study, 0.0)).last_film_at = time.monotonic()
        path = self._spool.keep_film(identity, encoded)
        try:
            self._inbox.receive(identity, path, _calling_ae_title(event), self._priority(event))
        except sa.exc.SQLAlchemyError as error:
            raise OutOfResources(f"the ledger cannot commit ({type(error).__name__})") from error
        with self._lock:
            # It may have been closed meanwhile, for silence.
            open_study = self._open.setdefault(event.assoc, _OpenStudy(study, 0.0))
            open_study.last_film_at, open_study.film = time.monotonic(), self._spool.path(path)
            open_study.received.append(
                Instance(sop_class_uid=identity.sop_class_uid, sop_instance_uid=identity.sop_instance_uid)
            )

    def _priority(self, event: Event) -> Priority:
        """Return what the site says of this sender, else what the request says."""
        given = self._admission.priority(_calling_ae_title(event), str(event.assoc.requestor.address))
        return given or Priority.of_request(cast("C_STORE", event.request).Priority)

    def _on_end(self, event: Event) -> None:
        self._close(event.assoc)

    def _close(self, association: Association) -> None:
        with self._lock:
            study = self._open.pop(association, None)
        if study is None:
            return
        try:
            self._inbox.close_study(study.study_instance_uid)
        except Exception as error:  # noqa: BLE001 - the films are durable and in progress: the silence watch asks again
            what = type(error).__name__
            _log.warning("the ledger did not take study %s (%s), it is asked again", study.study_instance_uid, what)
            with self._lock:
                self._unclosed.add(study.study_instance_uid)
        if study.received:
            peer = association.requestor
            title, address = str(peer.ae_title).strip(), str(peer.address)
            self._audit.received(title, address, study.study_instance_uid, study.received, study.film)

    def _close_silent_studies(self) -> None:
        while not self._stopping.wait(self._settings.study_silence / 8):
            silent_since = time.monotonic() - self._settings.study_silence
            with self._lock:
                silent = [entity for entity, study in self._open.items() if study.last_film_at < silent_since]
            for association in silent:
                self._close(association)
            self._close_again()
            self._shortage.look()

    def _close_again(self) -> None:
        """Ask once more for the studies that the ledger did not take."""
        for study_instance_uid in list(self._unclosed):
            try:
                self._inbox.close_study(study_instance_uid)
            except Exception:  # noqa: BLE001 - said once, when it was first asked; the next look asks again
                return
            self._unclosed.discard(study_instance_uid)
            _log.info("the ledger took study %s after all", study_instance_uid)


def _check_request(event: Event, identity: Identity) -> None:
    """Compare the request's UIDs with the data set's (PS3.4 B.2.3): what is stored must be what was announced."""
    for announced, found in (
        ("AffectedSOPClassUID", identity.sop_class_uid),
        ("AffectedSOPInstanceUID", identity.sop_instance_uid),
    ):
        if str(getattr(event.request, announced)) != found:
            raise Refused(Reason.MISSING_IDENTITY, f"{announced} of the request is not that of the data set")


def _said_of(error: Exception) -> str:
    """Name an error. Its own text may quote what was sent or name a file, unless it is one of ours."""
    if isinstance(error, PneumoMonaiError):
        return str(error)
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__


def _calling_ae_title(event: Event) -> str:
    return str(event.assoc.requestor.ae_title).strip()
