"""The audit trail: who connected, what came from whom, what went where, to a file and to syslog.

Beside films and results this is the only place where a patient is named. A record that cannot be written is said in the
log, and costs no film.
"""

import hashlib
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from pydicom import dcmread
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumo_monai import audit_message
from pneumo_monai.attributes import text
from pneumo_monai.audit_message import Instance, Participant, Patient
from pneumo_monai.settings import Audit as AuditSettings
from pneumo_monai.settings import Settings
from pneumo_monai.syslog import Syslog

__all__ = ["Audit", "digest_of", "patient_of"]

_log = logging.getLogger(__name__)

_MESSAGE_ID = "DICOM+RFC3881"
"""MSGID of an audit message (PS3.15 A.6)."""

_HEADER_BYTES = 1 << 20
"""How much of a deflated file is inflated to find the patient."""

_PATIENT = ["SpecificCharacterSet", "PatientName", "PatientID"]
_AFTER_PATIENT = 0x00100021


class Audit:
    """Writes records; without a file and without syslog it does nothing.

    Parameters
    ----------
    settings : Audit
        Where to.
    ae_title : str
        Who we are: names the source of each record.
    address : str or None
        Where we listen.
    """

    def __init__(self, settings: AuditSettings, ae_title: str, address: str | None = None) -> None:
        self._file = settings.file
        self._fsync = settings.fsync
        self._lock = threading.Lock()
        self._syslog = Syslog(settings.syslog) if settings.syslog is not None else None
        self._us = Participant(ae_title=ae_title, address=address)
        self._source = ae_title

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the audit trail of a configuration."""
        host = settings.listener.host
        return cls(settings.audit, settings.listener.ae_title, None if host in {"0.0.0.0", "::"} else host)  # noqa: S104

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._file is not None or self._syslog is not None

    @contextmanager
    def running(self, process: str, settings: Settings, config: Path) -> Iterator[None]:
        """Enter that a process starts, with which configuration, and that it stops."""
        self._write(lambda: audit_message.application(self._source, process, starts=True))
        self._write(lambda: audit_message.configuration(self._source, str(config), digest_of(settings)))
        try:
            yield
        finally:
            self._write(lambda: audit_message.application(self._source, process, starts=False))
            self.close()

    def association(self, calling_ae_title: str, address: str, failure: str | None = None) -> None:
        """Enter that an association was opened, or why it was not."""
        peer = Participant(ae_title=calling_ae_title.strip(), address=address)
        self._write(lambda: audit_message.node(self._source, self._us, peer, failure=failure))

    def received(
        self, calling_ae_title: str, address: str | None, study: str, instances: Sequence[Instance], film: Path
    ) -> None:
        """Enter what an association brought of a study; `film` is one of its files."""
        peer = Participant(ae_title=calling_ae_title, address=address)
        self._write(lambda: self._transfer(peer, self._us, study, instances, film, None))

    def delivered(
        self, ae_title: str, address: str, study: str, files: Sequence[Path], failure: str | None = None
    ) -> None:
        """Enter that a destination has documents of a result, or why it will not get them."""
        if not files:
            return
        peer = Participant(ae_title=ae_title, address=address)
        self._write(lambda: self._transfer(self._us, peer, study, _instances(files), files[0], failure))

    def close(self) -> None:
        """Send what waits for syslog."""
        if self._syslog is not None:
            self._syslog.close()

    def _transfer(
        self,
        sender: Participant,
        receiver: Participant,
        study: str,
        instances: Sequence[Instance],
        file: Path,
        failure: str | None,
    ) -> str:
        return audit_message.transfer(
            self._source,
            sender=sender,
            receiver=receiver,
            study_instance_uid=study,
            instances=instances,
            patient=patient_of(file),
            failure=failure,
        )

    def _write(self, make: Callable[[], str]) -> None:
        if not self.is_on:
            return
        try:
            record = make()
            if self._syslog is not None:
                self._syslog.send(_MESSAGE_ID, record)
            if self._file is not None:
                self._append(self._file, record)
        except Exception as error:  # noqa: BLE001 - an audit record must cost neither a film nor a result
            _log.error("an audit record could not be written (%s)", type(error).__name__)

    def _append(self, file: Path, record: str) -> None:
        """Append one line. The file is opened each time: logrotate may have moved it away."""
        line = f"{record}\n".encode()
        with self._lock:
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # One write: listener and worker append to the same file.
                if os.write(descriptor, line) != len(line):
                    raise OSError("short write")
                if self._fsync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def digest_of(settings: Settings) -> str:
    """Return a SHA-256 that changes with every setting, but for secrets, which it does not hold."""
    values = settings.model_dump_json(exclude={"ledger": {"url"}})
    return hashlib.sha256(values.encode()).hexdigest()


def patient_of(file: Path) -> Patient:
    """Return whose film or document a file is; nobody, where it does not say, or cannot be read."""
    try:
        header = _header(file)
        return Patient(patient_id=text(header, "PatientID"), name=text(header, "PatientName"))
    except Exception as error:  # noqa: BLE001 - a parser of foreign bytes raises as it pleases
        _log.warning("an audit record names no patient: the header cannot be read (%s)", type(error).__name__)
        return Patient()


def _header(file: Path) -> Any:
    if read_file_meta_info(file).TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return dcmread(file, stop_before_pixels=True, specific_tags=_PATIENT)
    with file.open("rb") as stream:
        stream.seek(128 + 4)
        read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(_HEADER_BYTES), _HEADER_BYTES)
    return read_dataset(
        BytesIO(inflated),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=lambda tag, *_: int(tag) >= _AFTER_PATIENT,
    )


def _instances(files: Sequence[Path]) -> list[Instance]:
    metas = [read_file_meta_info(file) for file in files]
    return [
        Instance(sop_class_uid=str(meta.MediaStorageSOPClassUID), sop_instance_uid=str(meta.MediaStorageSOPInstanceUID))
        for meta in metas
    ]
