"""DICOM Audit Messages (PS3.15 A.5): what happened, who took part, and of whom it was, as XML on one line."""

import base64
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from ipaddress import ip_address
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

__all__ = ["Instance", "Outcome", "Participant", "Patient", "application", "configuration", "node", "transfer"]

# PS3.16 CID 400 and 401, and the roles of PS3.15 A.5.3.
_APPLICATION_ACTIVITY = ("110100", "Application Activity")
_APPLICATION_START = ("110120", "Application Start")
_APPLICATION_STOP = ("110121", "Application Stop")
_INSTANCES_TRANSFERRED = ("110104", "DICOM Instances Transferred")
_SECURITY_ALERT = ("110113", "Security Alert")
_NODE_AUTHENTICATION = ("110126", "Node Authentication")
_SOFTWARE_CONFIGURATION = ("110131", "Software Configuration")
_APPLICATION = ("110150", "Application")
_DESTINATION = ("110152", "Destination Role ID")
_SOURCE = ("110153", "Source Role ID")
_STUDY = ("110180", "Study Instance UID")
_NODE = ("110182", "Node ID")

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have (2.2); others may send them."""


class Outcome(IntEnum):
    """Event Outcome Indicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


@dataclass(frozen=True, kw_only=True)
class Participant:
    """An application entity, and where it is."""

    ae_title: str
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Whose images they are; empty where the header says nothing."""

    patient_id: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One object that was transferred."""

    sop_class_uid: str
    sop_instance_uid: str


def application(source: str, process: str, *, starts: bool) -> str:
    """Return that a process starts or stops (A.5.3.1)."""
    message = _begin(_APPLICATION_ACTIVITY, _APPLICATION_START if starts else _APPLICATION_STOP)
    _participant(
        message, f"{source} {process}", None, is_requestor=False, role=_APPLICATION, alternative=str(os.getpid())
    )
    return _finish(message, source)


def configuration(source: str, file: str, digest: str) -> str:
    """Return with which configuration a process starts: a security alert that is no failure (A.5.3.11)."""
    message = _begin(_SECURITY_ALERT, _SOFTWARE_CONFIGURATION)
    _participant(message, source, None, is_requestor=True, role=_APPLICATION, alternative=str(os.getpid()))
    _finish_source(message, source)
    item = _object(message, file, "2", "13", ("12", "URI", "RFC-3881"), "configuration")
    _detail(item, "SHA-256", digest)
    return _text(message)


def node(source: str, us: Participant, peer: Participant, *, failure: str | None) -> str:
    """Return that an association was opened or rejected (A.5.3.11, Node Authentication).

    `failure` says why it was rejected; None: it was opened.
    """
    outcome = Outcome.SUCCESS if failure is None else Outcome.MINOR_FAILURE
    message = _begin(_SECURITY_ALERT, _NODE_AUTHENTICATION, outcome=outcome, description=failure)
    _participant(message, us.ae_title, us.address, is_requestor=False)
    _participant(message, peer.ae_title, peer.address, is_requestor=True)
    _finish_source(message, source)
    item = _object(message, peer.ae_title or "unknown", "2", "13", (*_NODE, "DCM"), peer.ae_title or "unknown")
    _detail(item, "Alert Description", failure or "association opened")
    return _text(message)


def transfer(
    source: str,
    *,
    sender: Participant,
    receiver: Participant,
    study_instance_uid: str,
    instances: Sequence[Instance],
    patient: Patient,
    failure: str | None = None,
) -> str:
    """Return that instances of one study went from one application entity to another (A.5.3.7)."""
    outcome = Outcome.SUCCESS if failure is None else Outcome.SERIOUS_FAILURE
    message = _begin(_INSTANCES_TRANSFERRED, action="C", outcome=outcome, description=failure)
    _participant(message, sender.ae_title, sender.address, is_requestor=True, role=_SOURCE)
    _participant(message, receiver.ae_title, receiver.address, is_requestor=False, role=_DESTINATION)
    _finish_source(message, source)
    study = _object(message, study_instance_uid, "2", "3", (*_STUDY, "DCM"), "study")
    _describe(study, study_instance_uid, instances)
    _object(message, patient.patient_id, "1", "1", ("2", "Patient Number", "RFC-3881"), patient.name)
    return _text(message)


def _begin(
    event: tuple[str, str],
    kind: tuple[str, str] | None = None,
    *,
    action: str = "E",
    outcome: Outcome = Outcome.SUCCESS,
    description: str | None = None,
) -> Element:
    message = Element("AuditMessage")
    identification = SubElement(
        message,
        "EventIdentification",
        EventActionCode=action,
        EventDateTime=datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(int(outcome)),
    )
    _code(identification, "EventID", *event)
    if kind is not None:
        _code(identification, "EventTypeCode", *kind)
    if description is not None:
        SubElement(identification, "EventOutcomeDescription").text = _clean(description)
    return message


def _participant(
    message: Element,
    user_id: str,
    address: str | None,
    *,
    is_requestor: bool,
    role: tuple[str, str] | None = None,
    alternative: str | None = None,
) -> None:
    attributes = {"UserID": _clean(user_id), "UserIsRequestor": str(is_requestor).lower()}
    if alternative is not None:
        attributes["AlternativeUserID"] = alternative
    if address is not None:
        attributes |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2" if _is_ip(address) else "1"}
    participant = SubElement(message, "ActiveParticipant", attributes)
    if role is not None:
        _code(participant, "RoleIDCode", *role)


def _finish(message: Element, source: str) -> str:
    _finish_source(message, source)
    return _text(message)


def _finish_source(message: Element, source: str) -> None:
    identification = SubElement(message, "AuditSourceIdentification", AuditSourceID=_clean(source))
    # An application server process (A.5.1.2.1).
    SubElement(identification, "AuditSourceTypeCode", {"csd-code": "4"})


def _object(
    message: Element, identifier: str, kind: str, role: str, id_type: tuple[str, str, str], name: str
) -> Element:
    item = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(identifier),
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _code(item, "ParticipantObjectIDTypeCode", *id_type)
    SubElement(item, "ParticipantObjectName").text = _clean(name)
    return item


def _describe(study: Element, study_instance_uid: str, instances: Iterable[Instance]) -> None:
    by_class: Mapping[str, list[str]] = defaultdict(list)
    for instance in instances:
        by_class[instance.sop_class_uid].append(instance.sop_instance_uid)
    description = SubElement(study, "ParticipantObjectDescription")
    for sop_class, uids in by_class.items():
        element = SubElement(description, "SOPClass", UID=_clean(sop_class), NumberOfInstances=str(len(uids)))
        for uid in uids:
            SubElement(element, "Instance", UID=_clean(uid))
    contained = SubElement(description, "ParticipantObjectContainsStudy")
    SubElement(contained, "StudyIDs", UID=_clean(study_instance_uid))


def _detail(item: Element, kind: str, value: str) -> None:
    SubElement(item, "ParticipantObjectDetail", type=kind, value=base64.b64encode(value.encode()).decode())


def _code(parent: Element, name: str, code: str, meaning: str, system: str = "DCM") -> None:
    SubElement(parent, name, {"csd-code": code, "codeSystemName": system, "originalText": meaning})


def _text(message: Element) -> str:
    return ET.tostring(message, encoding="unicode").replace("\n", "&#10;")


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
