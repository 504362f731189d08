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

from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import ListenerProcess
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
