"""What a destination gets of a revision: real associations with a peer that takes only some of it."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid
from pynetdicom.transport import AssociationSocket

from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.errors import DeliveryError
from pneumo_monai.forms import Form
from pneumo_monai.records import Records
from pneumo_monai.report.encode import encode
from pneumo_monai.sender import open_association
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.tables import connect
from tests.films import make_film
from tests.peers import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, KEY_OBJECTS, StorageScp, storage_scp, wait_until
from tests.reports import report_on

STUDY = "1.2.3"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
SR_3D, SR, TEXT, NOTE = Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE, Form.SR_TEXT, Form.REJECTION_NOTE
CLASSES = {SR_3D: COMPREHENSIVE_3D_SR, SR: COMPREHENSIVE_SR, TEXT: BASIC_TEXT_SR, NOTE: KEY_OBJECTS}


class Desk:
    """A ledger and a spool with one revision of a study."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(connect(f"sqlite:///{folder / 'ledger.sqlite'}"))
        self.spool = Spool(folder)
        self.delivery = Delivery(self.records, self.spool, "PNEUMO")

    def enter(self, slots: Sequence[tuple[Form, ...]], documents: Sequence[Form]) -> None:
        """Enter what is to be sent; what goes over the wire matters by its SOP Class alone."""
        report = ReportRecord(
            study_instance_uid=STUDY, revision=1, fingerprint="f", outcome=OutcomeKind.FINDINGS, created_at=1.0
        )
        key: dict[str, Any] = {"study_instance_uid": STUDY, "revision": 1}
        entries = []
        for form in documents:
            instance = report_on(make_film())
            instance.SOPClassUID, instance.SOPInstanceUID = CLASSES[form], generate_uid(prefix=None)
            path = self.spool.keep_document(STUDY, instance.SOPInstanceUID, encode(instance))
            entries.append(
                DocumentRecord(
                    **key,
                    sop_instance_uid=instance.SOPInstanceUID,
                    form=form,
                    destination="peer" if form is NOTE else None,
                    sop_class_uid=CLASSES[form],
                    path=path,
                )
            )
        deliveries = [
            DeliveryRecord(**key, destination="peer", slot=number, alternatives=alternatives, updated_at=1.0)
            for number, alternatives in enumerate(slots)
        ]
        self.records.answer([], Revision(report=report, documents=tuple(entries), deliveries=tuple(deliveries)))

    def send(self, peer: StorageScp, ae_title: str = "PEER") -> bool:
        """Make one attempt."""
        destination = Destination(name="peer", ae_title=ae_title, host="127.0.0.1", port=peer.port)
        return self.delivery.deliver(STUDY, 1, destination)

    @property
    def slots(self) -> list[DeliveryRecord]:
        """How each slot stands."""
        return self.records.slots(STUDY, 1, "peer")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path)
    yield opened
    opened.records.engine.dispose()


def test_the_first_alternative_goes_where_it_is_accepted(desk: Desk) -> None:
    desk.enter([(SR_3D, SR), (TEXT,)], [SR_3D, SR, TEXT])
    with storage_scp(*CLASSES.values()) as peer:
        assert desk.send(peer)
        assert desk.send(peer)
    assert peer.classes == [COMPREHENSIVE_3D_SR, BASIC_TEXT_SR]
    assert peer.associations == 1
    assert [(slot.state, slot.form, slot.detail) for slot in desk.slots] == [
        (DeliveryState.DELIVERED, SR_3D, None),
        (DeliveryState.DELIVERED, TEXT, None),
    ]


@pytest.mark.parametrize("how", ["at negotiation", "by status"])
def test_the_next_alternative_goes_where_the_first_is_not_accepted(desk: Desk, how: str) -> None:
    desk.enter([(SR_3D, SR)], [SR_3D, SR])
    classes = [COMPREHENSIVE_SR] if how == "at negotiation" else [COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR]
    with storage_scp(*classes) as peer:
        peer.statuses[COMPREHENSIVE_3D_SR] = 0x0122
        assert desk.send(peer)
    assert peer.classes == [COMPREHENSIVE_SR]
    (slot,) = desk.slots
    assert (slot.state, slot.form) == (DeliveryState.DELIVERED, SR)
    assert slot.detail == "sr-comprehensive sent: sr-comprehensive-3d not accepted"


def test_a_form_that_has_nothing_to_say_is_passed_over(desk: Desk) -> None:
    desk.enter([(SR_3D, SR)], [SR])
    with storage_scp(*CLASSES.values()) as peer:
        assert desk.send(peer)
    assert desk.slots[0].detail == "sr-comprehensive sent: sr-comprehensive-3d has nothing to say"


def test_no_part_of_a_request_waits_for_the_acknowledgement_of_another(tmp_path: Path) -> None:
    report = tmp_path / "report.dcm"
    report.write_bytes(encode(report_on(make_film())))
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        to = {"host": "127.0.0.1", "port": peer.port, "called_ae_title": "PEER", "calling_ae_title": "PNEUMO"}
        with open_association([report], **to) as association:
            connection = association._association.dul.socket.socket
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_an_association_on_which_nothing_happens_is_hardly_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.dcm"
    report.write_bytes(encode(report_on(make_film())))
    looks: list[int] = []
    ready = AssociationSocket.ready.fget
    assert ready is not None

    def look(connection: AssociationSocket) -> bool:
        looks.append(threading.get_ident())
        return bool(ready(connection))

    monkeypatch.setattr(AssociationSocket, "ready", property(look))
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        to = {"host": "127.0.0.1", "port": peer.port, "called_ae_title": "PEER", "calling_ae_title": "PNEUMO"}
        with open_association([report], **to) as association:
            thread = association._association.dul.ident
            looks.clear()
            time.sleep(0.5)
            # Every fiftieth of a second, for its timers; pynetdicom's own looks every thousandth.
            assert 1 <= looks.count(thread) <= 30
            association.store(report)
            descriptors = open_files()
        wait_until("the bell is gone", lambda: open_files() <= descriptors - 2, 5)
    assert peer.classes == [COMPREHENSIVE_3D_SR]


def test_a_slot_of_which_nothing_is_accepted_waits_and_the_others_go_once(desk: Desk) -> None:
    desk.enter([(SR_3D, SR), (TEXT,)], [SR_3D, SR, TEXT])
    with storage_scp(BASIC_TEXT_SR) as peer:
        assert not desk.send(peer)
        assert not desk.send(peer)
        assert peer.classes == [BASIC_TEXT_SR]
    waiting, sent = desk.slots
    assert (waiting.state, waiting.form) == (DeliveryState.PENDING, None)
    assert (
        waiting.detail == f"PEER@127.0.0.1:{peer.port}: sr-comprehensive-3d not accepted, sr-comprehensive not accepted"
    )
    assert sent.state is DeliveryState.DELIVERED
    with storage_scp(COMPREHENSIVE_SR, BASIC_TEXT_SR) as changed:
        assert desk.send(changed)
    assert changed.classes == [COMPREHENSIVE_SR]


def test_a_peer_that_takes_nothing_of_it_is_not_taken_for_one_that_is_down(desk: Desk) -> None:
    desk.enter([(SR_3D,)], [SR_3D])
    with storage_scp(BASIC_TEXT_SR) as peer:
        assert not desk.send(peer)
    assert "sr-comprehensive-3d not accepted" in str(desk.slots[0].detail)


def test_a_peer_that_gives_no_association_is_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.enter([(SR_3D,), (TEXT,)], [SR_3D, TEXT])
    with storage_scp(*CLASSES.values()) as peer:
        for _ in range(3):
            with pytest.raises(DeliveryError, match="rejected the association"):
                desk.send(peer, ae_title="STRANGER")
    assert [slot.form for slot in desk.slots] == [None, None]
    said = [record for record in caplog.records if record.name == "pneumo_monai.delivery"]
    assert [record.levelno for record in said] == [logging.WARNING]


def test_a_status_that_is_a_failure_holds_up_only_its_own_slot(desk: Desk) -> None:
    desk.enter([(SR_3D, SR), (TEXT,)], [SR_3D, SR, TEXT])
    with storage_scp(*CLASSES.values()) as peer:
        peer.statuses[COMPREHENSIVE_3D_SR] = 0xA700
        assert not desk.send(peer)
        assert peer.classes == [BASIC_TEXT_SR]
        failed, sent = desk.slots
        assert (failed.state, sent.state) == (DeliveryState.PENDING, DeliveryState.DELIVERED)
        # It may be there all the same: a retraction has to count it.
        assert failed.form is SR_3D
        assert "0xA700" in str(failed.detail)
        peer.statuses.clear()
        assert desk.send(peer)
    assert peer.classes == [BASIC_TEXT_SR, COMPREHENSIVE_3D_SR]


def test_a_rejection_note_waits_for_what_supersedes_the_result(desk: Desk) -> None:
    desk.enter([(SR_3D,), (TEXT,), (NOTE,)], [SR_3D, TEXT, NOTE])
    with storage_scp(*CLASSES.values()) as peer:
        peer.statuses[COMPREHENSIVE_3D_SR] = 0xA700
        assert not desk.send(peer)
        assert peer.classes == [BASIC_TEXT_SR]
        assert "waits for what supersedes the result" in str(desk.slots[2].detail)
        peer.statuses.clear()
        assert desk.send(peer)
    assert peer.classes == [BASIC_TEXT_SR, COMPREHENSIVE_3D_SR, KEY_OBJECTS]


def test_a_rejection_note_does_not_wait_for_what_is_never_taken(desk: Desk) -> None:
    desk.enter([(SR_3D,), (NOTE,)], [SR_3D, NOTE])
    with storage_scp(KEY_OBJECTS) as peer:
        assert not desk.send(peer)
    assert peer.classes == [KEY_OBJECTS]


def test_what_is_withdrawn_is_not_sent(desk: Desk) -> None:
    desk.enter([(SR_3D,)], [SR_3D])
    desk.records.withdraw(STUDY)
    with storage_scp(*CLASSES.values()) as peer:
        assert desk.send(peer)
    assert peer.received == []
    assert peer.associations == 0
