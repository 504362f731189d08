"""Storage SCU: files to an application entity (PS3.4 annex B)."""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.status import code_to_category

from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pneumo_monai.errors import DeliveryError, Refused
from pneumo_monai.instances import read_instance
from pneumo_monai.spool import identify

__all__ = ["calling_entity", "is_taken", "proposed_syntaxes", "send_files"]

# Files are sent as they are stored, byte for byte, without decoding them.
_config.STORE_SEND_CHUNKED_DATASET = True

_TIMEOUT_SECONDS = 30.0
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def send_files(files: Sequence[Path], *, host: str, port: int, called_ae_title: str, calling_ae_title: str) -> None:
    """Send Part 10 files over one association.

    A file goes in the transfer syntax it is stored in. Where the peer takes only the other of the two plain ones, it is
    converted; nothing else is.

    Raises
    ------
    DeliveryError
        No association, a presentation context that was not accepted, or a status that is neither success nor warning.
        Files before it were taken. The message names the peer and the status, no patient.
    """
    metas = [_file_meta(file) for file in files]
    peer = f"{called_ae_title}@{host}:{port}"
    entity = calling_entity(calling_ae_title)
    for sop_class, syntax in sorted({(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas}):
        # One syntax a context: the peer then says of each whether it takes it.
        for proposed in proposed_syntaxes(syntax):
            entity.add_requested_context(sop_class, proposed)
    try:
        association = entity.associate(host, port, ae_title=called_ae_title)
    except OSError as error:  # a name that does not resolve, among others
        raise DeliveryError(f"{peer} could not be reached ({error.strerror})") from error
    if not association.is_established:
        reason = "rejected the association" if association.is_rejected else "could not be reached"
        raise DeliveryError(f"{peer} {reason}")
    try:
        for file, meta in zip(files, metas, strict=True):
            _store(association, file, meta, peer)
    finally:
        association.release()


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


def _store(association: Association, file: Path, meta: FileMetaDataset, peer: str) -> None:
    sop_class, syntax = UID(meta.MediaStorageSOPClassUID), UID(meta.TransferSyntaxUID)
    accepted = {
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class and context.transfer_syntax
    }
    as_stored = syntax in accepted and _announces_its_content(file, meta)
    if syntax not in accepted and not (syntax in _PLAIN and accepted):
        raise DeliveryError(f"{peer} accepted no presentation context for {sop_class.name} in {syntax.name}")
    try:
        status = association.send_c_store(file if as_stored else read_instance(file))
    except Refused as error:
        raise DeliveryError(f"{file.name} cannot be sent: {error.detail}") from error
    except RuntimeError as error:
        raise DeliveryError(f"{peer} ended the association") from error
    if not status:
        raise DeliveryError(f"{peer} did not answer the C-STORE request")
    if not is_taken(status.Status):
        raise DeliveryError(f"{peer} answered status 0x{status.Status:04X}")
