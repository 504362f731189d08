"""Destinations that hang, answer badly or refuse one document, beside one that is well: real associations and DBOS."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

from pneumo_monai import sender
from pneumo_monai.attempts import Attempts
from pneumo_monai.delivering import DELIVERIES_AT_ONCE
from pneumo_monai.delivery import Delivery
from pneumo_monai.entries import (
    DeliveryRecord,
    DeliveryState,
    DocumentRecord,
    Errand,
    FilmAnswer,
    FilmState,
    OutcomeKind,
    ReportRecord,
    Revision,
)
from pneumo_monai.forms import Form
from pneumo_monai.ledger import Inbox, prepare, run_workflows
from pneumo_monai.priority import Priority
from pneumo_monai.records import Records
from pneumo_monai.report.encode import encode
from pneumo_monai.settings import Delivery as Patience
from pneumo_monai.settings import Destination
from pneumo_monai.spool import Identity, Spool
from tests.films import make_film
from tests.peers import COMPREHENSIVE_3D_SR, free_port, storage_scp, wait_until
from tests.reports import report_on

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("left_sockets"),
    # pynetdicom leaves the socket of a connection that the peer refused or reset to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HALF_A_PDU = b"\x04\x00\x00\x00\x10\x00\x00\x00"
SECONDS = 120.0


class Shipping:
    """A worker that reads nothing: each study has its result already, and goes where it is to go."""

    def __init__(self, folder: Path, destinations: Sequence[Destination]) -> None:
        self.records = Records(prepare(f"sqlite:///{folder / 'ledger.sqlite'}"))
        self.spool = Spool(folder)
        self.delivery = Delivery(self.records, self.spool, "PNEUMO")
        self.peers = {peer.name: peer for peer in destinations}
        self.destinations = tuple(self.peers)

    def analyse(self, study: str, *, again: bool = False) -> tuple[int, list[str]] | None:
        """Enter a revision with one document."""
        instance = report_on(make_film())
        instance.SOPClassUID, instance.SOPInstanceUID = COMPREHENSIVE_3D_SR, f"{study}.9"
        instance.StudyInstanceUID = study
        report = ReportRecord(
            study_instance_uid=study,
            revision=1,
            fingerprint="f",
            outcome=OutcomeKind.FINDINGS,
            created_at=time.time(),
        )
        document = DocumentRecord(
            study_instance_uid=study,
            revision=1,
            sop_instance_uid=instance.SOPInstanceUID,
            form=Form.SR_COMPREHENSIVE_3D,
            sop_class_uid=COMPREHENSIVE_3D_SR,
            path=self.spool.keep_document(study, instance.SOPInstanceUID, encode(instance)),
        )
        deliveries = [
            DeliveryRecord(
                study_instance_uid=study,
                revision=1,
                destination=name,
                slot=0,
                alternatives=(Form.SR_COMPREHENSIVE_3D,),
                updated_at=report.created_at,
            )
            for name in self.destinations
        ]
        answers = [FilmAnswer(film_id=film.id, state=FilmState.ANALYSED) for film in self.records.films(study)]
        self.records.answer(answers, Revision(report=report, documents=(document,), deliveries=tuple(deliveries)))
        return 1, list(self.destinations)

    def give_up(self, study: str, why: str) -> None:
        """Let the test see it."""
        pytest.fail(f"{study}: {why}")

    def retract(self, study: str, revision: int, cause: str, why: str) -> tuple[int, list[str]] | None:
        """Nobody asks for it."""

    def waiting(self) -> list[Errand]:
        """Return all that waits."""
        return [slot.errand for slot in self.records.waiting()]

    def priority(self, study: str) -> Priority:
        """Return the priority of a study."""
        return self.records.priority(study)

    def owed(self) -> list[tuple[Errand, int]]:
        """Nobody here is asked to commit to what it got."""
        return []

    def is_asked(self, destination: str) -> bool:
        """See `owed`."""
        return False

    def next_turn(self, study: str, revision: int, destination: str) -> int | None:
        """See `owed`."""

    def commit(self, study: str, revision: int, destination: str, turn: int) -> float | None:
        """See `owed`."""

    def hurry(self, study: str, revision: int, destination: str, turn: int) -> float | None:
        """See `owed`."""

    def clean(self) -> int:
        """Nothing is old enough here."""
        return 0

    def deliver(self, study: str, revision: int, destination: str) -> bool:
        """Send it, as the desk does."""
        return self.delivery.deliver(study, revision, self.peers[destination])

    def undeliverable(self, study: str, revision: int, destination: str, why: str) -> None:
        """Let the test see it."""
        pytest.fail(f"{destination}: {why}")

    def states(self, destination: str) -> dict[str, DeliveryState]:
        """Return how each study stands at a destination."""
        studies = self.records.newest_studies(1000)
        slots = self.records.deliveries(studies)
        return {slot.study_instance_uid: slot.state for slot in slots if slot.destination == destination}

    def has_all(self, destination: str, studies: Sequence[str]) -> bool:
        """Tell whether a destination has the results of some studies."""
        known = self.states(destination)
        return all(known.get(study) is DeliveryState.DELIVERED for study in studies)


@contextmanager
def shipping(folder: Path, destinations: Sequence[Destination], patience: Patience) -> Iterator[tuple[Shipping, Inbox]]:
    work = Shipping(folder, destinations)
    url = str(work.records.engine.url)
    inbox = Inbox(work.records.engine)
    with run_workflows(url, work, slot="worker-0", patience=patience, grace_seconds=1.0):
        yield work, inbox
    inbox.close()
    work.records.engine.dispose()


def enter(inbox: Inbox, number: int) -> list[str]:
    studies = [str(generate_uid(prefix=None)) for _ in range(number)]
    for study in studies:
        identity = Identity(
            study_instance_uid=study, sop_instance_uid=f"{study}.1", sop_class_uid="1.2", digest=study[-16:]
        )
        inbox.receive(identity, "none", "SCANNER")
        inbox.close_study(study)
    return studies


def peer(name: str, port: int) -> Destination:
    return Destination(name=name, ae_title="PEER", host="127.0.0.1", port=port)


@contextmanager
def raw_peer(*, closes: bool) -> Iterator[int]:
    """Listen, accept, and then close at once or never say a word."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    if closes:
                        connection.close()
                    else:
                        held.append(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


@contextmanager
def hanging_scp(*, poison: str | None = None, half: bool = False) -> Iterator[tuple[int, threading.Event]]:
    """Run a storage SCP that never answers a C-STORE, or that of one instance; `half`: it begins to."""
    hangs, end = threading.Event(), threading.Event()

    def store(event: evt.Event) -> int:
        if poison is None or event.request.AffectedSOPInstanceUID == poison:
            hangs.set()
            if half:
                event.assoc.dul.socket.socket.sendall(HALF_A_PDU)
            end.wait(SECONDS)
        return 0x0000

    entity, port = AE(ae_title="PEER"), free_port()
    entity.add_supported_context(COMPREHENSIVE_3D_SR)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield port, hangs
    finally:
        end.set()
        server.shutdown()


def test_destinations_that_hang_or_answer_badly_delay_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_TIMEOUT_SECONDS", 3.0)
    with ExitStack() as stack:
        good = stack.enter_context(storage_scp(COMPREHENSIVE_3D_SR))
        full = stack.enter_context(storage_scp(COMPREHENSIVE_3D_SR))
        full.statuses[COMPREHENSIVE_3D_SR] = 0xA700
        mute, mute_hangs = stack.enter_context(hanging_scp())
        half, half_hangs = stack.enter_context(hanging_scp(half=True))
        ports = {
            "good": good.port,
            "full": full.port,
            "silent": stack.enter_context(raw_peer(closes=False)),
            "closes": stack.enter_context(raw_peer(closes=True)),
            "mute": mute,
            "half": half,
            "gone": free_port(),
        }
        destinations = [peer(name, port) for name, port in ports.items()]
        patience = Patience(first_pause=3.0, longest_pause=5.0)
        work, inbox = stack.enter_context(shipping(tmp_path, destinations, patience))
        # More than are under way at once to one destination.
        first = enter(inbox, DELIVERIES_AT_ONCE + 1)
        wait_until("the good one has all", lambda: work.has_all("good", first), SECONDS)
        wait_until("the others are being tried", lambda: mute_hangs.is_set() and half_hangs.is_set(), SECONDS)
        second = enter(inbox, 2)
        wait_until("the good one has what came after", lambda: work.has_all("good", second), SECONDS)
        bad = [name for name in ports if name != "good"]
        for name in bad:
            assert DeliveryState.DELIVERED not in work.states(name).values()
        wait_until(
            "each of the others was tried twice",
            lambda: {name for _, _, name in tried_twice(work)} == set(bad),
            SECONDS,
        )


def tried_twice(work: Shipping) -> list[Errand]:
    studies = work.records.newest_studies(1000)
    return [attempt.errand for attempt in Attempts(work.records.engine).of_studies(studies) if attempt.number >= 2]


def test_one_document_at_which_a_destination_hangs_delays_no_other_report(tmp_path: Path) -> None:
    poisoned = str(generate_uid(prefix=None))
    with hanging_scp(poison=f"{poisoned}.9") as (port, hangs), ExitStack() as stack:
        work, inbox = stack.enter_context(shipping(tmp_path, [peer("pacs", port)], Patience()))
        identity = Identity(
            study_instance_uid=poisoned, sop_instance_uid=f"{poisoned}.1", sop_class_uid="1.2", digest="0" * 64
        )
        inbox.receive(identity, "none", "SCANNER", Priority.STAT)
        inbox.close_study(poisoned)
        wait_until("it hangs", hangs.is_set, SECONDS)
        others = enter(inbox, DELIVERIES_AT_ONCE + 1)
        wait_until("the others are there", lambda: work.has_all("pacs", others), SECONDS)
        assert work.states("pacs")[poisoned] is DeliveryState.PENDING


def test_an_association_that_is_kept_alive_by_single_bytes_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_LONGEST_SECONDS", 3.0)
    monkeypatch.setattr(sender, "_TIMEOUT_SECONDS", 60.0)
    drips, end = threading.Event(), threading.Event()

    def store(event: evt.Event) -> int:
        connection = event.assoc.dul.socket.socket
        connection.sendall(HALF_A_PDU)
        drips.set()
        with suppress(OSError):
            while not end.wait(0.2):
                connection.sendall(b"\0")
        return 0x0000

    entity, port = AE(ae_title="PEER"), free_port()
    entity.add_supported_context(COMPREHENSIVE_3D_SR)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    instance = report_on(make_film())
    file = Spool(tmp_path).path(Spool(tmp_path).keep_document("1.2", instance.SOPInstanceUID, encode(instance)))
    began = time.monotonic()
    try:
        with pytest.raises(sender.DeliveryError):
            sender.send_files([file], host="127.0.0.1", port=port, called_ae_title="PEER", calling_ae_title="PNEUMO")
        assert drips.is_set()
        # Neither of the other time-outs would have ended it by now.
        assert time.monotonic() - began < 60
    finally:
        end.set()
        server.shutdown()
