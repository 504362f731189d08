"""The listener over real associations: what it answers, and what it asks the ledger for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from pneumo_monai.connections import Peer
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
