"""What a destination committed to: real associations with peers that keep, lose, fall silent or know no commitment."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.uid import generate_uid

from pneumo_monai.commitments import Commitments
from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import (
    CommitmentRecord,
    CommitmentReport,
    CommitmentState,
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    Errand,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.forms import Form
from pneumo_monai.records import Records
from pneumo_monai.report.encode import encode
from pneumo_monai.safekeeping import Safekeeping
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Spool
from pneumo_monai.tables import COMMITMENTS, connect
from tests.films import make_film
from tests.peers import COMPREHENSIVE_3D_SR, CommitmentScp, commitment_scp
from tests.reports import report_on

STUDY = "1.2.3"
SR = Form.SR_COMPREHENSIVE_3D
DAY = 86_400.0


class Archive:
    """A ledger and a spool with one revision of a study, and one destination of it."""

    def __init__(self, folder: Path) -> None:
        self.records = Records(connect(f"sqlite:///{folder / 'ledger.sqlite'}"))
        self.commitments = Commitments(self.records.engine)
        spool = Spool(folder)
        self.delivery = Delivery(self.records, spool, "PNEUMO")
        self.keeping = Safekeeping(self.records, self.delivery, "PNEUMO")
        self.port = 1
        instance = report_on(make_film())
        self.uid = generate_uid(prefix=None)
        instance.SOPInstanceUID = self.uid
        key: dict[str, Any] = {"study_instance_uid": STUDY, "revision": 1}
        path = spool.keep_document(STUDY, self.uid, encode(instance))
        document = DocumentRecord(
            **key, sop_instance_uid=self.uid, form=SR, sop_class_uid=COMPREHENSIVE_3D_SR, path=path
        )
        slot = DeliveryRecord(**key, destination="pacs", slot=0, alternatives=(SR,), updated_at=1.0)
        owed = CommitmentRecord(**key, destination="pacs", updated_at=1.0)
        report = ReportRecord(**key, fingerprint="f", outcome=OutcomeKind.FINDINGS, created_at=1.0)
        entered = Revision(report=report, documents=(document,), deliveries=(slot,), commitments=(owed,))
        self.records.answer([], entered)

    def peer(self, **chosen: Any) -> Destination:
        """The destination; `association_seconds` is long enough for a machine that is busy."""
        wanted = {"association_seconds": 20.0, **chosen}
        return Destination(name="pacs", ae_title="PEER", host="127.0.0.1", port=self.port, storage_commitment=wanted)

    def deliver(self) -> None:
        """Send what waits."""
        assert self.delivery.deliver(STUDY, 1, self.peer())

    def turn(self, number: int, **chosen: Any) -> float | None:
        """Take one turn."""
        return self.keeping.take_turn(STUDY, 1, self.peer(**chosen), number)

    @property
    def record(self) -> CommitmentRecord:
        """The commitment as it stands."""
        record = self.commitments.get(STUDY, 1, "pacs")
        assert record is not None
        return record

    @property
    def transactions(self) -> list[str]:
        """Transaction UIDs of all requests."""
        return [asked.transaction_uid for asked in self.commitments.transactions(self.record)]

    def age(self, seconds: float) -> None:
        """Let the first request have been so long ago."""
        with self.records.engine.begin() as connection:
            connection.execute(sa.update(COMMITMENTS).values(began_at=time.time() - seconds))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = Archive(tmp_path)
    yield opened
    opened.records.engine.dispose()


@pytest.fixture
def pacs(archive: Archive) -> Iterator[CommitmentScp]:
    with commitment_scp(COMPREHENSIVE_3D_SR) as peer:
        archive.port = peer.port
        archive.deliver()
        yield peer


def test_a_destination_commits_on_the_association_of_the_request(archive: Archive, pacs: CommitmentScp) -> None:
    assert archive.keeping.owed() == [(Errand(STUDY, 1, "pacs"), 0)]
    assert archive.keeping.next_turn(STUDY, 1, archive.peer()) == 0
    assert archive.turn(0) is None
    assert archive.record.state is CommitmentState.COMMITTED
    (asked,) = pacs.asked
    (reference,) = asked.ReferencedSOPSequence
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (COMPREHENSIVE_3D_SR, archive.uid)
    assert archive.keeping.next_turn(STUDY, 1, archive.peer()) is None
    assert archive.keeping.owed() == []
    assert archive.turn(1) is None
    assert len(pacs.asked) == 1


def test_what_was_lost_is_sent_again_and_asked_for_under_a_new_transaction(
    archive: Archive, pacs: CommitmentScp
) -> None:
    pacs.loses = 1
    assert archive.turn(0) is not None
    assert archive.record.detail == "1 of 1 instances failed, reason 0x0112"
    assert archive.keeping.hurry(STUDY, 1, "pacs", 0) == 5.0
    assert archive.turn(1) is None
    assert archive.record.state is CommitmentState.COMMITTED
    assert [dataset.SOPInstanceUID for dataset in pacs.received] == [archive.uid] * 2
    assert len(set(archive.transactions)) == 2
    assert archive.record.detail is None


def test_a_turn_that_a_crash_interrupted_asks_again_under_the_same_transaction(
    archive: Archive, pacs: CommitmentScp
) -> None:
    pacs.is_mute = True
    for _ in range(2):
        archive.turn(0, association_seconds=0)
    assert len(archive.transactions) == 1
    assert [request.TransactionUID for request in pacs.asked] == archive.transactions * 2


def test_a_silent_destination_is_asked_again_with_growing_pauses_and_may_answer_late(
    archive: Archive, pacs: CommitmentScp, caplog: pytest.LogCaptureFixture
) -> None:
    pacs.is_mute = True
    with caplog.at_level(logging.WARNING):
        pauses = [archive.turn(turn, association_seconds=0, answer_minutes=1) for turn in range(3)]
    assert pauses == [60.0, 120.0, 240.0]
    assert archive.record.detail == "not answered within 1 minutes, asked again"
    assert sum("not answered" in line for line in caplog.messages) == 1
    first, *_ = archive.transactions
    report = CommitmentReport(transaction_uid=first, committed=frozenset({archive.uid}))
    assert archive.commitments.enter(report) is not None
    assert archive.record.state is CommitmentState.COMMITTED
    assert len(pacs.received) == 1


def test_who_knows_no_commitment_is_said_once_and_given_up_at_the_end(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    with commitment_scp(COMPREHENSIVE_3D_SR, commits=False) as peer, caplog.at_level(logging.WARNING):
        archive.port = peer.port
        archive.deliver()
        assert [archive.turn(turn) for turn in range(3)] == [5.0, 10.0, 20.0]
        assert sum("does not accept the Storage Commitment Push Model" in line for line in caplog.messages) == 1
        archive.age(6 * DAY)
        assert archive.turn(3) == 40.0
        archive.age(8 * DAY)
        assert archive.turn(4) is None
    assert archive.record.state is CommitmentState.UNCOMMITTED
    assert "does not accept" in (archive.record.detail or "")
    assert archive.record.summary.startswith("pacs: storage commitment: not committed (PEER@127.0.0.1:")


def test_a_request_that_is_refused_is_made_again(archive: Archive, pacs: CommitmentScp) -> None:
    pacs.status = 0x0213
    assert archive.turn(0) == 5.0
    assert (archive.record.detail or "").endswith("status 0x0213")
    pacs.status = 0x0000
    assert archive.turn(1) is None
    assert archive.record.state is CommitmentState.COMMITTED


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destination_that_is_away_is_asked_later(archive: Archive, pacs: CommitmentScp) -> None:
    here, archive.port = archive.port, 1
    assert archive.turn(0) == 5.0
    assert "could not be reached" in (archive.record.detail or "")
    archive.port = here
    assert archive.turn(1) is None
    assert len(pacs.received) == 1


def test_nothing_of_a_result_that_was_withdrawn_is_asked_for_or_sent_again(
    archive: Archive, pacs: CommitmentScp
) -> None:
    pacs.loses = 1
    archive.turn(0)
    archive.records.withdraw(STUDY)
    assert archive.turn(1) is None
    assert archive.record.state is CommitmentState.WITHDRAWN
    assert archive.keeping.next_turn(STUDY, 1, archive.peer()) is None
    archive.commitments.reopen(archive.record, {SR}, time.time())
    assert [slot.state for slot in archive.records.slots(STUDY, 1, "pacs")] == [DeliveryState.DELIVERED]
    assert (len(pacs.received), len(pacs.asked)) == (1, 1)


def test_what_an_answer_does_not_name_is_not_committed_to(archive: Archive, pacs: CommitmentScp) -> None:
    pacs.is_mute = True
    archive.turn(0, association_seconds=0)
    (uid,) = archive.transactions
    unknown = CommitmentReport(transaction_uid=f"{uid}.1", committed=frozenset({archive.uid}))
    assert archive.commitments.enter(unknown) is None
    for report in (
        CommitmentReport(transaction_uid=uid, committed=frozenset({"1.2.3.4"})),
        # The first answer counts: a transaction is over with it (PS3.4 J.3.3).
        CommitmentReport(transaction_uid=uid, committed=frozenset({archive.uid})),
    ):
        asked = archive.commitments.enter(report)
        assert asked is not None
        assert asked.failures == {archive.uid: 0}
    assert archive.record.state is CommitmentState.PENDING


def test_an_answer_to_an_earlier_request_does_not_outweigh_a_later_failure(
    archive: Archive, pacs: CommitmentScp
) -> None:
    pacs.is_mute = True
    for turn in range(2):
        archive.turn(turn, association_seconds=0)
    first, second = archive.transactions
    archive.commitments.enter(CommitmentReport(transaction_uid=second, committed=frozenset()))
    archive.commitments.enter(CommitmentReport(transaction_uid=first, committed=frozenset({archive.uid})))
    assert archive.record.state is CommitmentState.PENDING


def test_without_the_setting_nobody_is_asked(archive: Archive, pacs: CommitmentScp) -> None:
    silent = Destination(name="pacs", ae_title="PEER", host="127.0.0.1", port=archive.port)
    assert archive.keeping.next_turn(STUDY, 1, silent) is None
    assert archive.keeping.take_turn(STUDY, 1, silent, 0) is None
    assert pacs.asked == []
