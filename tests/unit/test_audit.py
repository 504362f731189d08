"""The audit trail over real associations, files and syslog servers: PS3.15 A.5, and no film lost for it."""

import logging
import re
import socket
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from pneumo_monai import audit_message
from pneumo_monai.audit import Audit, digest_of, patient_of
from pneumo_monai.audit_message import Instance, Participant, Patient
from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import DeliveryRecord, DocumentRecord, OutcomeKind, ReportRecord, Revision
from pneumo_monai.forms import Form
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
from pneumo_monai.monitoring import Audit as AuditSettings
from pneumo_monai.records import Records
from pneumo_monai.settings import Destination, Listener, Settings
from pneumo_monai.spool import Spool
from pneumo_monai.tables import connect
from tests.films import CR, film_bytes, make_film
from tests.peers import storage_scp, wait_until

NAME, IDENTIFIER = "MARKED^Patient", "MARKED-4711"

_CHILDREN = {
    "AuditMessage": r"(EventIdentification )(ActiveParticipant )+(AuditSourceIdentification )"
    r"(ParticipantObjectIdentification )*",
    "EventIdentification": r"(EventID )(EventTypeCode )*(EventOutcomeDescription )?",
    "ActiveParticipant": r"(RoleIDCode )*",
    "AuditSourceIdentification": r"(AuditSourceTypeCode )*",
    "ParticipantObjectIdentification": r"(ParticipantObjectIDTypeCode )(ParticipantObjectName )"
    r"(ParticipantObjectDetail )*(ParticipantObjectDescription )*",
    "ParticipantObjectDescription": r"(SOPClass )*(ParticipantObjectContainsStudy )?",
    "SOPClass": r"(Instance )*",
    "ParticipantObjectContainsStudy": r"(StudyIDs )*",
}
"""Content of each element in PS3.15 A.5.1.1, as a pattern of names; others have no children."""

_CODE = {"csd-code", "codeSystemName", "originalText"}
_NEEDED = {
    "EventIdentification": {"EventActionCode", "EventDateTime", "EventOutcomeIndicator"},
    "EventID": _CODE,
    "EventTypeCode": _CODE,
    "RoleIDCode": _CODE,
    "ParticipantObjectIDTypeCode": _CODE,
    "ActiveParticipant": {"UserID", "UserIsRequestor"},
    "AuditSourceIdentification": {"AuditSourceID"},
    "AuditSourceTypeCode": {"csd-code"},
    "ParticipantObjectIdentification": {"ParticipantObjectID"},
    "ParticipantObjectDetail": {"type", "value"},
    "SOPClass": {"NumberOfInstances"},
    "Instance": {"UID"},
    "StudyIDs": {"UID"},
}


def valid(line: str) -> Element:
    """Parse a record, and hold it to the schema."""
    message = ET.fromstring(line)
    for element in message.iter():
        names = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(_CHILDREN.get(element.tag, ""), names), (element.tag, names)
        assert set(element.attrib) >= _NEEDED.get(element.tag, set()), element.tag
    return message


def kinds(file: Path) -> list[str]:
    """Return of every record its event, its type and its outcome."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        event = valid(line)[0]
        codes = [code.attrib["originalText"] for code in event.iter() if code.tag in {"EventID", "EventTypeCode"}]
        found.append(f"{', '.join(codes)} {event.attrib['EventOutcomeIndicator']}")
    return found


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit.xml"


@pytest.fixture
def listener(tmp_path: Path, trail: Path) -> Iterator[ListenerProcess]:
    engine = prepare(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    settings = Listener(port=0, peers=[{"ae_title": "SCANNER"}])
    audit = Audit(AuditSettings(file=trail), "PNEUMO", "127.0.0.1")
    process = ListenerProcess(settings, Spool(tmp_path), Inbox(engine), audit)
    process.start()
    yield process
    process.stop()
    engine.dispose()


def test_associations_and_studies_are_entered_with_their_patient(
    listener: ListenerProcess, trail: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    films = [make_film(PatientName=NAME, PatientID=IDENTIFIER)]
    films.append(make_film(PatientName=NAME, PatientID=IDENTIFIER, StudyInstanceUID=films[0].StudyInstanceUID))
    scanner, stranger = AE(ae_title="SCANNER"), AE(ae_title="STRANGER")
    for entity in (scanner, stranger):
        entity.add_requested_context(ComputedRadiographyImageStorage)
    assert stranger.associate("127.0.0.1", listener.port).is_rejected
    association = scanner.associate("127.0.0.1", listener.port)
    assert [association.send_c_store(film).Status for film in films] == [0, 0]
    association.release()
    wait_until("the study is entered", lambda: "Transferred" in trail.read_text())
    assert kinds(trail) == [
        "Security Alert, Node Authentication 4",
        "Security Alert, Node Authentication 0",
        "DICOM Instances Transferred 0",
    ]
    rejected, _, transferred = (valid(line) for line in trail.read_text().splitlines())
    assert rejected.findtext("EventIdentification/EventOutcomeDescription") == "calling AE title not recognized"
    sender, receiver = transferred.findall("ActiveParticipant")
    assert (sender.attrib["UserID"], sender.attrib["NetworkAccessPointID"]) == ("SCANNER", "127.0.0.1")
    assert receiver.attrib["UserID"] == "PNEUMO"
    study, patient = transferred.findall("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == films[0].StudyInstanceUID
    assert {instance.attrib["UID"] for instance in study.iter("Instance")} == {f.SOPInstanceUID for f in films}
    assert (patient.attrib["ParticipantObjectID"], patient.findtext("ParticipantObjectName")) == (IDENTIFIER, NAME)
    assert trail.stat().st_mode & 0o077 == 0
    assert "MARKED" not in caplog.text


def test_a_trail_that_cannot_be_written_costs_no_film(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    audit = Audit(AuditSettings(file=tmp_path / "missing" / "audit.xml"), "PNEUMO")
    audit.association("SCANNER", "127.0.0.1")
    assert "an audit record could not be written (FileNotFoundError)" in caplog.text


def test_a_trail_that_logrotate_moved_is_begun_anew(tmp_path: Path, trail: Path):
    audit = Audit(AuditSettings(file=trail, fsync=False), "PNEUMO")
    audit.association("SCANNER", "127.0.0.1")
    trail.rename(tmp_path / "audit.xml.1")
    audit.association("SCANNER", "127.0.0.1")
    assert len(trail.read_text().splitlines()) == len((tmp_path / "audit.xml.1").read_text().splitlines()) == 1


def test_a_process_enters_its_start_its_configuration_and_its_end(tmp_path: Path, trail: Path):
    settings = Settings(data_dir=tmp_path, audit={"file": trail}, ledger={"url": "postgresql://u:MARKED@h/d"})
    with Audit.of(settings).running("listener", settings, tmp_path / "config.yaml"):
        assert len(kinds(trail)) == 2
    assert kinds(trail) == [
        "Application Activity, Application Start 0",
        "Security Alert, Software Configuration 0",
        "Application Activity, Application Stop 0",
    ]
    detail = valid(trail.read_text().splitlines()[1]).find("ParticipantObjectIdentification/ParticipantObjectDetail")
    assert detail is not None
    assert b64decode(detail.attrib["value"]).decode() == digest_of(settings)
    assert digest_of(Settings(data_dir=tmp_path)) != digest_of(settings)
    assert digest_of(Settings(data_dir=tmp_path, web={"port": 1})) != digest_of(Settings(data_dir=tmp_path))
    assert "MARKED" not in trail.read_text()


def test_results_that_were_taken_or_never_will_be_are_entered(tmp_path: Path, trail: Path):
    records, spool = Records(connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}")), Spool(tmp_path)
    document = make_film(PatientName=NAME, PatientID=IDENTIFIER)
    study, uid = str(document.StudyInstanceUID), str(document.SOPInstanceUID)
    form, names = Form.SR_COMPREHENSIVE_3D, {"study_instance_uid": study, "revision": 1}
    path = spool.keep_document(study, uid, film_bytes(document))
    report = ReportRecord(**names, fingerprint="f", outcome=OutcomeKind.FINDINGS, created_at=time.time())
    entered = DocumentRecord(**names, sop_instance_uid=uid, form=form, sop_class_uid=CR, path=path)
    slots = [
        DeliveryRecord(**names, destination=name, slot=0, alternatives=(form,), updated_at=time.time())
        for name in ("pacs", "gone")
    ]
    records.answer([], Revision(report=report, documents=(entered,), deliveries=tuple(slots)))
    delivery = Delivery(records, spool, "PNEUMO", Audit(AuditSettings(file=trail), "PNEUMO"))
    with storage_scp(CR) as scp:
        peer = Destination(name="pacs", ae_title="PEER", host="127.0.0.1", port=scp.port)
        assert delivery.deliver(study, 1, peer)
        # A repeat sends nothing, and enters nothing.
        assert delivery.deliver(study, 1, peer)
    delivery.give_up(study, 1, peer.model_copy(update={"name": "gone"}), "it was not taken for a day")
    assert kinds(trail) == ["DICOM Instances Transferred 0", "DICOM Instances Transferred 8"]
    for line in trail.read_text().splitlines():
        message = valid(line)
        assert [p.attrib["UserID"] for p in message.findall("ActiveParticipant")] == ["PNEUMO", "PEER"]
        assert [instance.attrib["UID"] for instance in message.iter("Instance")] == [uid]
        assert IDENTIFIER in line
    records.engine.dispose()


def test_a_patient_is_found_in_what_is_deflated_and_in_nothing_that_is_no_file(tmp_path: Path):
    file = tmp_path / "film.dcm"
    film = make_film(PatientName=NAME, PatientID=IDENTIFIER, transfer_syntax=DeflatedExplicitVRLittleEndian)
    file.write_bytes(film_bytes(film))
    assert patient_of(file) == Patient(patient_id=IDENTIFIER, name=NAME)
    file.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    assert patient_of(file) == Patient()
    assert patient_of(tmp_path / "none") == Patient()


def test_what_others_sent_makes_no_other_xml(trail: Path):
    hostile = '"/><x>\n\0\x1b\ud800'
    line = audit_message.transfer(
        "PNEUMO",
        sender=Participant(ae_title=hostile, address="::1"),
        receiver=Participant(ae_title="PNEUMO"),
        study_instance_uid="1.2",
        instances=[Instance(sop_class_uid=CR, sop_instance_uid="1.2.3")],
        patient=Patient(patient_id=hostile, name=hostile),
    )
    assert "\n" not in line
    assert [child.tag for child in valid(line)].count("ActiveParticipant") == 2


def test_syslog_gets_every_record_over_udp(caplog: pytest.LogCaptureFixture):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        audit = Audit(AuditSettings(syslog=f"udp://127.0.0.1:{server.getsockname()[1]}"), "PNEUMO")
        audit.association("SCANNER", "127.0.0.1")
        audit.close()
        received = server.recv(65536).decode()
    head, _, body = received.partition("\ufeff")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
    assert re.fullmatch(rf"<85>1 {stamp} \S+ pneumo-monai \d+ DICOM\+RFC3881 - ", head)
    assert valid(body).tag == "AuditMessage"


def test_syslog_gets_every_record_over_tcp_and_again_after_a_break(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.ERROR)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        audit = Audit(AuditSettings(syslog=f"tcp://127.0.0.1:{server.getsockname()[1]}"), "PNEUMO")
        for calling in ("ONE", "TWO"):
            audit.association(calling, "127.0.0.1")
        audit.close()
        connection, _ = server.accept()
        with connection:
            received = b"".join(iter(lambda: connection.recv(65536), b""))
    messages = []
    while received:
        length, _, rest = received.partition(b" ")
        messages.append(rest[: int(length)].decode())
        received = rest[int(length) :]
    assert [valid(message.partition("\ufeff")[2])[2].attrib["UserID"] for message in messages] == ["ONE", "TWO"]
    assert not caplog.text


def test_a_syslog_server_that_is_away_holds_up_nobody(trail: Path, caplog: pytest.LogCaptureFixture):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    audit = Audit(AuditSettings(file=trail, syslog=f"tcp://127.0.0.1:{port}"), "PNEUMO")
    began = time.monotonic()
    audit.association("SCANNER", "127.0.0.1")
    assert time.monotonic() - began < 5
    audit.close()
    assert "audit.syslog cannot be reached" in caplog.text
    assert len(kinds(trail)) == 1


@pytest.mark.parametrize("server", ["syslog.example.org", "tls://h:6514", "udp://h", "udp://u:p@h:514"])
def test_a_syslog_server_is_named_with_its_transport_and_port(server: str):
    with pytest.raises(ValueError, match="udp://host:514"):
        AuditSettings(syslog=server)
