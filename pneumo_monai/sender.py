"""Storage SCU: files to an application entity (PS3.4 annex B)."""

import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.status import code_to_category

from pneumo_monai.connections import DestinationTls
from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pneumo_monai.errors import ConfigurationError, DeliveryError, NotAccepted, Refused
from pneumo_monai.instances import read_instance
from pneumo_monai.priority import Priority
from pneumo_monai.spool import identify
from pneumo_monai.tls import SecureChannel
from pneumo_monai.waiting import wait_for_the_peer

__all__ = [
    "SOP_CLASS_NOT_SUPPORTED",
    "StoragePeer",
    "calling_entity",
    "establish",
    "is_taken",
    "open_association",
    "proposed_syntaxes",
    "send_files",
]

# Files are sent as they are stored, byte for byte, without decoding them.
_config.STORE_SEND_CHUNKED_DATASET = True

_TIMEOUT_SECONDS = 30.0
_LONGEST_SECONDS = 900.0
"""How long one association may last. A peer that answers a byte now and then would hold it, and a place, for ever."""

_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
SOP_CLASS_NOT_SUPPORTED = 0x0122
"""PS3.7 C.5.6; some peers accept every presentation context and say so only then."""


def send_files(
    files: Sequence[Path],
    *,
    host: str,
    port: int,
    called_ae_title: str,
    calling_ae_title: str,
    tls: DestinationTls | None = None,
) -> None:
    """Send Part 10 files over one association.

    Raises
    ------
    DeliveryError
        No association, a presentation context that was not accepted, or a status that is neither success nor warning.
        Files before it were taken. The message names the peer and the status, no patient.
    """
    with open_association(
        files, host=host, port=port, called_ae_title=called_ae_title, calling_ae_title=calling_ae_title, tls=tls
    ) as peer:
        for file in files:
            peer.store(file)


@contextmanager
def open_association(
    files: Iterable[Path],
    *,
    host: str,
    port: int,
    called_ae_title: str,
    calling_ae_title: str,
    tls: DestinationTls | None = None,
) -> Iterator["StoragePeer"]:
    """Propose all that some Part 10 files need, and release the association at the end; `tls` encrypts it.

    Raises
    ------
    DeliveryError
        No association, a certificate that cannot be used, or a file that is none. A peer that accepts the association
        and none of its presentation contexts is no error: it takes nothing.
    """
    metas = {file: _file_meta(file) for file in files}
    entity = calling_entity(calling_ae_title)
    kinds = {(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas.values()}
    # One syntax a context: the peer then says of each whether it takes it.
    for sop_class, proposed in sorted({(sop_class, p) for sop_class, kept in kinds for p in proposed_syntaxes(kept)}):
        entity.add_requested_context(sop_class, proposed)
    association, name = establish(entity, host=host, port=port, called_ae_title=called_ae_title, tls=tls)
    end = threading.Timer(_LONGEST_SECONDS, _cut, [association])
    end.daemon = True
    end.start()
    try:
        yield StoragePeer(association, metas, name)
    finally:
        if association.is_established:
            association.release()
        end.cancel()


def establish(
    entity: AE,
    *,
    host: str,
    port: int,
    called_ae_title: str,
    tls: DestinationTls | None,
    handlers: Sequence[EventHandlerType] = (),
) -> tuple[Association, str]:
    """Open an association for what an entity requests, and return it with ``AETITLE@host:port``.

    Raises
    ------
    DeliveryError
        No association, or a certificate that cannot be used. A peer that accepts the association and none of its
        presentation contexts is no error.
    """
    name = f"{called_ae_title}@{host}:{port}"
    try:
        secure = None if tls is None else SecureChannel(tls, host)
    except ConfigurationError as error:  # a certificate that expired, or is being exchanged
        raise DeliveryError(f"{name}: {error}") from error
    tls_args = None if secure is None else (secure.context, secure.server_name)
    try:
        association = entity.associate(
            host,
            port,
            ae_title=called_ae_title,
            tls_args=tls_args,
            evt_handlers=[*_HANDLERS, *handlers],
        )
    except OSError as error:  # a name that does not resolve, among others
        raise DeliveryError(f"{name} could not be reached ({error.strerror})") from error
    # Where no context was accepted, pynetdicom aborts an association that the peer accepted.
    if not association.is_established and not association.rejected_contexts:
        reason = "rejected the association" if association.is_rejected else "could not be reached"
        why = f" ({secure.failure})" if secure is not None and secure.failure else ""
        raise DeliveryError(f"{name} {reason}{why}")
    return association, name


class StoragePeer:
    """The other end of an association.

    Parameters
    ----------
    association : pynetdicom.association.Association
        Established, or without any accepted presentation context.
    metas : Mapping
        Files that were proposed, and their file meta information.
    name : str
        ``AETITLE@host:port``.
    """

    def __init__(self, association: Association, metas: Mapping[Path, FileMetaDataset], name: str) -> None:
        self._association = association
        self._metas = metas
        self.name = name

    def takes(self, file: Path) -> bool:
        """Tell whether a presentation context was accepted that the file can be sent on.

        A file goes in the transfer syntax it is stored in. Where the peer takes only the other of the two plain ones,
        it is converted; nothing else is.
        """
        syntax, accepted = UID(self._metas[file].TransferSyntaxUID), self._accepted(file)
        return syntax in accepted or (syntax in _PLAIN and bool(accepted))

    def _accepted(self, file: Path) -> set[UID]:
        return {
            context.transfer_syntax[0]
            for context in self._association.accepted_contexts
            if context.abstract_syntax == self._metas[file].MediaStorageSOPClassUID and context.transfer_syntax
        }

    def store(self, file: Path, priority: Priority = Priority.ROUTINE, *, may_be_edited: bool = True) -> None:
        """Send one file.

        Parameters
        ----------
        file : pathlib.Path
            One of those that were proposed.
        priority : Priority
            Of the request.
        may_be_edited : bool
            Whether somebody else may have written it: then it is looked whether its file meta information is its own.

        Raises
        ------
        NotAccepted
            No presentation context was accepted for it, or the peer answers that it does not support its SOP Class.
        DeliveryError
            The association ended, or a status that is neither success nor warning.
        """
        meta = self._metas[file]
        sop_class, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
        if not self.takes(file):
            raise NotAccepted(f"{self.name} accepted no presentation context for {sop_class.name} in {syntax.name}")
        as_stored = syntax in self._accepted(file) and (not may_be_edited or _announces_its_content(file, meta))
        try:
            status = self._association.send_c_store(file if as_stored else read_instance(file), priority=priority.code)
        except Refused as error:
            raise DeliveryError(f"{file.name} cannot be sent: {error.detail}") from error
        except RuntimeError as error:
            raise DeliveryError(f"{self.name} ended the association") from error
        if not status:
            raise DeliveryError(f"{self.name} did not answer the C-STORE request")
        if status.Status == SOP_CLASS_NOT_SUPPORTED:
            raise NotAccepted(f"{self.name} answered status 0x{status.Status:04X}: it does not take {sop_class.name}")
        if not is_taken(status.Status):
            raise DeliveryError(f"{self.name} answered status 0x{status.Status:04X}")

    @property
    def is_gone(self) -> bool:
        """Whether the association ended; one without an accepted presentation context is not there to end."""
        return bool(self._association.accepted_contexts) and not self._association.is_established


def _cut(association: Association) -> None:
    """Close the connection below an association: whoever reads from it, or writes to it, returns."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)


def _prepare_connection(event: Event) -> None:
    """Let no read or write of the connection wait for ever, and no small PDU for the acknowledgement of the one before.

    pynetdicom waits for the rest of a PDU, and for a peer that reads nothing, without an end, and its timers with it.
    """
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.settimeout(_TIMEOUT_SECONDS)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait_for_the_peer(event: Event) -> None:
    bell = wait_for_the_peer(event.assoc)
    event.assoc.bind(evt.EVT_CONN_CLOSE, lambda _: bell.close())


def _acknowledge_at_once(event: Event) -> None:
    """Have the first segment of the answer acknowledged when it comes.

    A peer built on DCMTK, as Orthanc is, writes a PDU in two parts and holds the second back until the first is
    acknowledged: 40 ms, unless the kernel is told after each request that an answer is waited for.
    """
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        with suppress(OSError):
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


_HANDLERS: Sequence[EventHandlerType] = (
    (evt.EVT_CONN_OPEN, _prepare_connection),
    (evt.EVT_CONN_OPEN, _wait_for_the_peer),
    (evt.EVT_DATA_SENT, _acknowledge_at_once),
)


def calling_entity(ae_title: str) -> AE:
    """Return the application entity that sends: how it names itself, and its time-outs."""
    entity = AE(ae_title=ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_SECONDS
    return entity


def proposed_syntaxes(stored: UID) -> Sequence[UID]:
    """Return the transfer syntaxes that are proposed for a file, given the one that it is stored in."""
    return _PLAIN if stored in _PLAIN else (stored,)


def is_taken(status: int) -> bool:
    """Tell whether a peer that answers a C-STORE with this status has the file: success, or a warning."""
    return code_to_category(status) in {"Success", "Warning"}


def _file_meta(file: Path) -> FileMetaDataset:
    try:
        meta = read_file_meta_info(file)
        for name in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"):
            getattr(meta, name)
    except Exception as error:
        raise DeliveryError(
            f"{file.name} is no DICOM Part 10 file: its file meta information cannot be read"
        ) from error
    return meta


def _announces_its_content(file: Path, meta: FileMetaDataset) -> bool:
    """Whether the file meta information names the data set's own UIDs, as a C-STORE request must.

    Files that somebody edited often keep the old ones; pynetdicom announces those when it sends a file as it is stored.
    """
    try:
        identity = identify(file.read_bytes())
    except Refused:
        return True
    announced = (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID)
    return announced == (identity.sop_class_uid, identity.sop_instance_uid)
