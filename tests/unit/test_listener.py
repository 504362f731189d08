"""The listener over real associations: what it answers, and what it asks the ledger for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import (
    ComputedRadiographyImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from pneumo_monai.commitments import Commitments
from pneumo_monai.connections import Peer
from pneumo_monai.entries import CommitmentRecord, CommitmentState, OutcomeKind, ReportRecord, Revision, Transaction
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
from pneumo_monai.priority import Priority
from pneumo_monai.settings import Listener
from pneumo_monai.spool import Spool
from tests.films import make_film
from tests.peers import wait_until


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    engine = prepare(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield Inbox(engine)
    engine.dispose()


@pytest.fixture
def association(tmp_path: Path, inbox: Inbox) -> Iterator[Association]:
    listener = ListenerProcess(Listener(port=0), Spool(tmp_path), inbox)
    listener.start()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    opened = entity.associate("127.0.0.1", listener.port)
    assert opened.is_established
    yield opened
    if opened.is_established:
        opened.release()
    listener.stop()


def test_a_data_set_that_is_not_what_the_request_announces_is_not_stored(
    association: Association, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = generate_uid(prefix=None)
    original = C_STORE.AffectedSOPInstanceUID.fset
    assert original is not None
    monkeypatch.setattr(
        C_STORE,
        "AffectedSOPInstanceUID",
        C_STORE.AffectedSOPInstanceUID.setter(lambda request, _: original(request, announced)),
    )
    assert association.send_c_store(make_film()).Status == 0xA900
    assert not inbox.records.newest_studies(1)
    assert not list(tmp_path.rglob("*.dcm"))


def test_a_study_that_the_ledger_did_not_take_is_asked_for_again_though_the_next_has_begun(
    association: Association, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    close_study = inbox.close_study

    def fails_once(study_instance_uid: str) -> None:
        asked.append(study_instance_uid)
        if len(asked) == 1:
            raise sa.exc.OperationalError("insert", None, Exception("down"))
        close_study(study_instance_uid)

    monkeypatch.setattr(inbox, "close_study", fails_once)
    first, second = make_film(), make_film()
    for film in (first, second):
        assert association.send_c_store(film).Status == 0x0000
    wait_until(
        "both are asked for", lambda: asked.count(first.StudyInstanceUID) == 2 and asked.count(second.StudyInstanceUID)
    )


def promise(inbox: Inbox) -> Commitments:
    """Enter a result that a PACS was asked to commit to."""
    key = {"study_instance_uid": "1.2.3", "revision": 1}
    report = ReportRecord(**key, fingerprint="f", outcome=OutcomeKind.FINDINGS, created_at=1.0)
    owed = CommitmentRecord(**key, destination="pacs", updated_at=1.0)
    inbox.records.answer([], Revision(report=report, commitments=(owed,)))
    commitments = Commitments(inbox.records.engine)
    asked = Transaction(
        **key, destination="pacs", transaction_uid="2.25.7", turn=0, instances=("1.2.3.9",), asked_at=2.0
    )
    commitments.begin(asked)
    return commitments


def information(transaction: str | None, *instances: str) -> Dataset:
    """Return the Event Information of a success."""
    dataset = Dataset()
    if transaction is not None:
        dataset.TransactionUID = transaction
    dataset.ReferencedSOPSequence = []
    for uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", uid
        dataset.ReferencedSOPSequence.append(item)
    return dataset


@pytest.fixture
def reporting(tmp_path: Path, inbox: Inbox) -> Iterator[Association]:
    """Open an association as a commitment SCP does: it is the SCP, and says so."""
    listener = ListenerProcess(Listener(port=0), Spool(tmp_path), inbox)
    listener.start()
    entity = AE(ae_title="PACS")
    entity.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    opened = entity.associate("127.0.0.1", listener.port, ext_neg=[role])
    assert [(c.as_scu, c.as_scp) for c in opened.accepted_contexts] == [(False, True)]
    yield opened
    if opened.is_established:
        opened.release()
    listener.stop()


def report(association: Association, dataset: Dataset, kind: int = 1, instance: str | None = None) -> int:
    instance = instance or StorageCommitmentPushModelInstance
    status, _ = association.send_n_event_report(dataset, kind, StorageCommitmentPushModel, instance)
    return int(status.Status)


def test_an_answer_on_a_new_association_is_entered_as_often_as_it_comes(reporting: Association, inbox: Inbox) -> None:
    commitments = promise(inbox)
    for _ in range(2):
        assert report(reporting, information("2.25.7", "1.2.3.9")) == 0x0000
    record = commitments.get("1.2.3", 1, "pacs")
    assert record is not None
    assert record.state is CommitmentState.COMMITTED


def test_an_answer_that_belongs_to_no_request_says_so(reporting: Association, inbox: Inbox) -> None:
    commitments = promise(inbox)
    assert report(reporting, information("2.25.8", "1.2.3.9")) == 0x0115
    assert report(reporting, information(None, "1.2.3.9")) == 0x0115
    assert report(reporting, information("2.25.7", "1.2.3.9"), kind=3) == 0x0113
    assert report(reporting, information("2.25.7", "1.2.3.9"), instance="1.2.3") == 0x0112
    record = commitments.get("1.2.3", 1, "pacs")
    assert record is not None
    assert record.state is CommitmentState.PENDING


def test_a_ledger_that_cannot_commit_lets_the_pacs_report_again(
    reporting: Association, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(inbox)

    def fail(_: object) -> bool:
        raise sa.exc.OperationalError("update", None, Exception("down"))

    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "enter_commitment", lambda _, report: fail(report))
        assert report(reporting, information("2.25.7", "1.2.3.9")) == 0x0213
    assert report(reporting, information("2.25.7", "1.2.3.9")) == 0x0000


def test_who_asks_us_for_commitment_gets_none(tmp_path: Path, inbox: Inbox) -> None:
    listener = ListenerProcess(Listener(port=0), Spool(tmp_path), inbox)
    listener.start()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(StorageCommitmentPushModel)
    opened = entity.associate("127.0.0.1", listener.port)
    status, _ = opened.send_n_action(
        information("2.25.7"), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    assert status.Status == 0x0211
    opened.release()
    listener.stop()


@pytest.mark.parametrize(
    ("peers", "requested", "priority"),
    [
        ((), 0x0001, Priority.STAT),
        ((), 0x0000, Priority.ROUTINE),
        ((), 0x0002, Priority.ROUTINE),
        ((Peer(ae_title="SCANNER", priority=Priority.STAT),), 0x0002, Priority.STAT),
        ((Peer(ae_title="SCANNER", priority=Priority.LOW),), 0x0001, Priority.LOW),
        ((Peer(ae_title="OTHER", priority=Priority.STAT), Peer(addresses=("127.0.0.0/8",))), 0x0000, Priority.ROUTINE),
    ],
)
def test_a_study_has_the_priority_of_its_sender_or_of_the_request_and_keeps_it(
    tmp_path: Path, inbox: Inbox, peers: tuple[Peer, ...], requested: int, priority: Priority
) -> None:
    listener = ListenerProcess(Listener(port=0, peers=peers), Spool(tmp_path), inbox)
    listener.start()
    entity = AE(ae_title="SCANNER")
    entity.add_requested_context(ComputedRadiographyImageStorage)
    opened = entity.associate("127.0.0.1", listener.port)
    first = make_film()
    study = str(first.StudyInstanceUID)
    assert opened.send_c_store(first, priority=requested).Status == 0x0000
    assert opened.send_c_store(make_film(StudyInstanceUID=study), priority=1 - requested % 2).Status == 0x0000
    opened.release()
    listener.stop()
    assert inbox.records.films(study)[0].priority is priority
    assert inbox.records.priority(study) is priority
