"""The web port's answers."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from pneumo_monai.entries import FilmAnswer, FilmState
from pneumo_monai.processes import ProcessState
from pneumo_monai.records import Records
from pneumo_monai.spool import Identity
from pneumo_monai.tables import connect
from pneumo_monai.web.app import make_app


def state(name: str, *, ready: bool) -> ProcessState:
    return ProcessState(name=name, ready=ready, pid=1, starts=1, status="fine")


@pytest.mark.parametrize(("listener", "worker", "code"), [(False, False, 503), (True, False, 200), (True, True, 200)])
def test_ready_is_to_take_films_whether_or_not_the_model_is_loaded(listener: bool, worker: bool, code: int) -> None:
    processes = [state("listener", ready=listener), state("worker-0", ready=worker)]
    client = TestClient(make_app(lambda: pytest.fail("not asked"), lambda: processes))
    answer = client.get("/ready")
    assert answer.status_code == code
    assert [process["ready"] for process in answer.json()["processes"]] == [listener, worker]


def test_health_needs_neither_ledger_nor_children() -> None:
    client = TestClient(make_app(lambda: pytest.fail("not asked"), list))
    assert client.get("/health").json()["status"] == "alive"


def test_the_status_page_shows_counts_states_and_reasons_and_escapes_what_it_shows(tmp_path: Path) -> None:
    records = Records(connect(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    identity = Identity(study_instance_uid="1.2", sop_instance_uid="1.2.3", sop_class_uid="1.9", digest="0" * 64)
    records.receive(identity, "p", "AE")
    answer = FilmAnswer(film_id=1, state=FilmState.REFUSED, reason="body-part", detail="Body Part Examined is '<b>'")
    records.answer([answer])
    page = TestClient(make_app(lambda: records, lambda: [state("listener", ready=True)])).get("/").text
    assert "For research use only. Not a medical device." in page
    assert "body-part: Body Part Examined is &#39;&lt;b&gt;&#39;" in page
    assert "<b>1</b>refused" in page
    records.engine.dispose()


def test_a_ledger_that_cannot_be_read_is_said_so() -> None:
    def broken() -> Records:
        raise sa.exc.OperationalError("select", None, Exception("down"))

    answer = TestClient(make_app(broken, list)).get("/")
    assert answer.status_code == 503
    assert "ledger cannot be read" in answer.text
