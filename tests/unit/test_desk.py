"""The life of a result at a worker's desk: read, refused, superseded, withdrawn, read again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from pydicom import dcmread
from pydicom.dataset import Dataset

from pneumo_monai.bundle import Bundle
from pneumo_monai.delivery import Delivery
from pneumo_monai.desk import Desk
from pneumo_monai.engine import Engine
from pneumo_monai.entries import DeliveryRecord, DeliveryState, FilmState, OutcomeKind, ReportRecord
from pneumo_monai.errors import Broken, DeliveryError, Reason, Refused
from pneumo_monai.forms import Form
from pneumo_monai.overview import overview
from pneumo_monai.reading import Reading
from pneumo_monai.records import Records
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.retention import Retention
from pneumo_monai.retraction import Reader
from pneumo_monai.revisions import Reporting
from pneumo_monai.safekeeping import Safekeeping
from pneumo_monai.settings import Destination, IntendedUse, Report
from pneumo_monai.settings import Retention as RetentionSettings
from pneumo_monai.spool import Spool, identify
from pneumo_monai.study import Study
from pneumo_monai.suspects import Suspects
from pneumo_monai.tables import connect
from tests.bundles import write_random_bundle
from tests.films import film_bytes, make_film
from tests.peers import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, KEY_OBJECTS, StorageScp, storage_scp

SR_3D, SR, NOTE = Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE, Form.REJECTION_NOTE
CHILD = {"PatientAge": "006M"}
LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["A", "F"]}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(tmp_path_factory.mktemp("m"))


def engine_of(folder: Path, seed: int = 0) -> Engine:
    return Engine(Bundle(write_random_bundle(folder / "b", seed=seed)), torch.device("cpu"))


def destination(name: str = "pacs", port: int = 1, **more: Any) -> Destination:
    return Destination(name=name, ae_title="PEER", host="127.0.0.1", port=port, **more)


class Office:
    """One study between a listener and a worker."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.records = Records(connect(f"sqlite:///{folder / 'ledger.sqlite'}"))
        self.spool = Spool(folder)
        self.engine = engine
        self.study = str(make_film().StudyInstanceUID)
        self.destinations: Sequence[Destination] = (destination(),)
        self.intended_use = IntendedUse()
        self.report = Report()
        self.retention = RetentionSettings()
        self.read_apart: Callable[[Study], Study] | None = None

    def receive(self, calling_ae_title: str = "SCANNER", **attributes: Any) -> str:
        """Receive a film of the study, and return its SOP Instance UID."""
        encoded = film_bytes(make_film(**{"StudyInstanceUID": self.study, **attributes}))
        identity = identify(encoded)
        assert self.records.receive(identity, self.spool.keep_film(identity, encoded), calling_ae_title)
        return identity.sop_instance_uid

    @property
    def desk(self) -> Desk:
        """A worker that was started just now."""
        reporting = Reporting.to(self.destinations, self.report)
        reading = Reading(self.engine, self.intended_use, reporting)

        def read(study: Study) -> Study:
            for stage in (reading.load, reading.gate, reading.preprocess, reading.infer, reading.report):
                study = stage(study)
            return study

        bundle = self.engine.bundle
        delivery = Delivery(self.records, self.spool, "PNEUMO")
        return Desk(
            records=self.records,
            spool=self.spool,
            destinations=self.destinations,
            delivery=delivery,
            safekeeping=Safekeeping(self.records, delivery, "PNEUMO"),
            retention=Retention(self.records, self.spool, self.retention),
            reporting=reporting,
            reader=Reader(model=bundle.identity, operating_point=bundle.operating_point),
            read=read,
            read_apart=self.read_apart or read,
        )

    def analyse(self, *, again: bool = False) -> ReportRecord | None:
        """Read the study and return its current revision."""
        self.desk.analyse(self.study, again=again)
        return self.current

    def retract(self, cause: str = "safety") -> tuple[int, list[str]] | None:
        """Withdraw what is current."""
        assert self.current is not None
        return self.desk.retract(self.study, self.current.revision, cause, "It is of another patient.")

    def deliver(self, peer: StorageScp) -> None:
        """Send all that waits to one peer."""
        for study, revision, name in self.desk.waiting():
            known = {known.name: known for known in self.destinations}[name]
            known = known.model_copy(update={"port": peer.port})
            assert Delivery(self.records, self.spool, "PNEUMO").deliver(study, revision, known)

    @property
    def current(self) -> ReportRecord | None:
        """The current revision."""
        return self.records.latest_report(self.study)

    @property
    def reasons(self) -> list[str | None]:
        """Why each film was refused."""
        return [film.reason for film in self.records.films(self.study)]

    def slots(self, revision: int) -> list[DeliveryRecord]:
        """What is or was to be sent of a revision."""
        return [slot for slot in self.records.deliveries([self.study]) if slot.revision == revision]

    def document(self, revision: int, form: Form) -> Dataset:
        """The only instance of a revision in a form."""
        (known,) = [d for d in self.records.documents([self.study]) if (d.revision, d.form) == (revision, form)]
        return dcmread(BytesIO(self.spool.path(known.path).read_bytes()))


@pytest.fixture
def office(tmp_path: Path, engine: Engine) -> Iterator[Office]:
    opened = Office(tmp_path, engine)
    yield opened
    opened.records.engine.dispose()


def predecessors(document: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in document.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def rejected(note: Dataset) -> set[str]:
    return {
        reference.ReferencedSOPInstanceUID
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }


def test_all_forms_that_any_destination_may_need_are_stored_before_one_is_sent(office: Office) -> None:
    office.destinations = (destination("a", forms=[[SR_3D, SR]]), destination("b", forms=[[SR]]))
    uid = office.receive()
    report = office.analyse()
    assert report is not None
    assert (report.outcome, report.films) == (OutcomeKind.FINDINGS, (uid,))
    assert (report.model, report.operating_point) == (
        office.engine.bundle.identity,
        office.engine.bundle.operating_point,
    )
    assert {d.form: d.sop_class_uid for d in office.records.documents([office.study])} == {
        SR_3D: COMPREHENSIVE_3D_SR,
        SR: COMPREHENSIVE_SR,
    }
    assert [(s.destination, s.slot, s.alternatives) for s in office.slots(1)] == [
        ("a", 0, (SR_3D, SR)),
        ("b", 0, (SR,)),
    ]
    assert office.desk.analyse(office.study) == (1, ["a", "b"])


def test_what_is_written_bears_the_institutions_root_and_the_start_of_the_analysis(office: Office) -> None:
    office.report = Report(uid_root="1.2.826.0.1.3680043.10.9")
    office.receive()
    office.analyse()
    document = office.document(1, SR_3D)
    for uid in (document.SOPInstanceUID, document.SeriesInstanceUID):
        assert uid.startswith("1.2.826.0.1.3680043.10.9.")
    assert document.StudyInstanceUID == office.study


def test_a_study_of_which_no_film_was_read_gets_a_report_where_that_is_wanted(office: Office) -> None:
    office.destinations = (destination("told"), destination("untold", not_analysed=[Reason.INVERTED]))
    child, lateral = office.receive(**CHILD), office.receive(**CHILD, **LATERAL)
    report = office.analyse()
    assert report is not None
    assert (report.revision, report.outcome) == (1, OutcomeKind.REFUSAL)
    assert (report.reasons, report.films) == (("age", "view"), tuple(sorted([child, lateral])))
    assert [slot.destination for slot in office.slots(1)] == ["told"]
    assert office.reasons == ["age", "view"]


def test_a_form_that_has_nothing_to_say_of_an_outcome_is_done(office: Office) -> None:
    office.destinations = (destination(forms=[[Form.KEY_OBJECTS], [SR_3D]]),)
    office.receive(**CHILD)
    office.analyse()
    assert [slot.state for slot in office.slots(1)] == [DeliveryState.NOTHING, DeliveryState.PENDING]
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    (study,) = overview(office.records, 1)
    assert study.state == "refused"


@pytest.mark.parametrize("attributes", [CHILD, {}])
def test_every_form_is_written_of_every_outcome_and_sent_to_who_takes_it(
    office: Office, attributes: dict[str, Any]
) -> None:
    forms = [form for form in Form if form in BUILDERS and form is not NOTE]
    office.destinations = (destination(forms=[[form] for form in forms]),)
    office.receive(**attributes)
    office.receive(ViewPosition="AP", **attributes)
    for ask in (office.analyse, office.retract):
        ask()
        documents = office.records.documents([office.study])
        with storage_scp(*{document.sop_class_uid for document in documents}) as peer:
            office.deliver(peer)
        assert office.current is not None
        written = {d.sop_instance_uid for d in documents if d.revision == office.current.revision}
        assert {str(dataset.SOPInstanceUID) for dataset in peer.received} == written
    note = peer.received[-1]
    assert note.SOPInstanceUID == office.document(2, NOTE).SOPInstanceUID
    assert rejected(note) == {d.sop_instance_uid for d in documents if d.revision == 1}


@pytest.mark.parametrize("attributes", [LATERAL, {"BodyPartExamined": "HAND"}, {"Modality": "CT"}])
def test_what_was_merely_misrouted_gets_no_report(office: Office, attributes: dict[str, Any]) -> None:
    office.receive(**attributes)
    assert office.analyse() is None


def test_an_earlier_refusal_stands_in_the_report_that_a_later_one_makes(office: Office) -> None:
    lateral = office.receive(**LATERAL)
    assert office.analyse() is None
    child = office.receive(**CHILD)
    report = office.analyse()
    assert report is not None
    assert report.films == tuple(sorted([child, lateral]))


def test_a_film_that_failed_in_us_is_no_refusal_yet(office: Office) -> None:
    office.receive(**CHILD)
    office.receive()
    for film in office.records.films(office.study)[1:]:
        office.spool.path(film.path).unlink()
    assert office.analyse() is None
    assert [film.state for film in office.records.films(office.study)] == [FilmState.REFUSED, FilmState.FAILED]


def test_a_late_frontal_film_supersedes_a_refusal_and_a_late_refusal_changes_nothing(office: Office) -> None:
    office.receive(**CHILD)
    office.analyse()
    office.receive(**CHILD)
    report = office.analyse()
    assert report is not None
    assert report.revision == 1
    frontal = office.receive()
    report = office.analyse()
    assert report is not None
    assert (report.revision, report.outcome, report.films) == (2, OutcomeKind.FINDINGS, (frontal,))
    assert predecessors(office.document(2, SR_3D)) == {office.document(1, SR_3D).SOPInstanceUID}
    office.receive(**CHILD)
    assert office.analyse() == report


def test_a_refused_film_may_be_read_again_when_the_rules_changed(office: Office) -> None:
    child = office.receive(**CHILD)
    office.analyse()
    office.intended_use = IntendedUse(younger="flag")
    report = office.analyse()
    assert report is not None
    assert report.outcome is OutcomeKind.REFUSAL
    report = office.analyse(again=True)
    assert report is not None
    assert (report.revision, report.outcome, report.films) == (2, OutcomeKind.FINDINGS, (child,))


def test_the_same_model_with_the_same_findings_has_nothing_new_to_say(office: Office) -> None:
    office.receive()
    report = office.analyse()
    assert office.analyse(again=True) == report


def test_a_new_model_supersedes_on_request(office: Office, tmp_path: Path) -> None:
    office.receive()
    office.analyse()
    office.engine = engine_of(tmp_path, seed=1)
    report = office.analyse(again=True)
    assert report is not None
    assert (report.revision, report.model) == (2, office.engine.bundle.identity)
    assert predecessors(office.document(2, SR_3D)) == {office.document(1, SR_3D).SOPInstanceUID}


def test_content_under_a_uid_that_is_taken_is_never_opened_again(office: Office) -> None:
    uid = office.receive()
    office.receive(SOPInstanceUID=uid, PatientID="SOMEBODY-ELSE")
    office.analyse()
    report = office.analyse(again=True)
    assert report is not None
    assert report.revision == 1
    assert office.reasons == [None, "conflicting-content"]


def test_a_retraction_supersedes_and_then_rejects_what_each_destination_has(office: Office) -> None:
    office.destinations = (destination("a", forms=[[SR_3D, SR]]), destination("b", forms=[[SR]]), destination("none"))
    office.receive()
    office.analyse()
    office.receive(ViewPosition="AP")
    office.analyse()
    with storage_scp(COMPREHENSIVE_SR) as peer:
        for name in ("a", "b"):
            for revision in (1, 2):
                known = destination(name, peer.port)
                assert Delivery(office.records, office.spool, "PNEUMO").deliver(office.study, revision, known)
    assert office.retract() == (3, ["a", "b"])
    report = office.current
    assert report is not None
    assert (report.revision, report.outcome) == (3, OutcomeKind.RETRACTION)
    assert office.reasons == ["retracted", "retracted"]
    assert [(s.destination, s.alternatives) for s in office.slots(3)] == [
        ("a", (SR_3D, SR)),
        ("a", (NOTE,)),
        ("b", (SR,)),
        ("b", (NOTE,)),
    ]
    # Nothing more of what is withdrawn goes out.
    assert {s.state for s in office.slots(2) if s.destination == "none"} == {DeliveryState.WITHDRAWN}
    with storage_scp(COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, KEY_OBJECTS) as peer:
        office.deliver(peer)
    assert peer.classes == [COMPREHENSIVE_3D_SR, KEY_OBJECTS, COMPREHENSIVE_SR, KEY_OBJECTS]
    first, second = (dataset for dataset in peer.received if dataset.SOPClassUID == KEY_OBJECTS)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    sent = {office.document(revision, SR).SOPInstanceUID for revision in (1, 2)}
    assert rejected(first) == rejected(second) == sent


def test_a_retraction_is_made_once(office: Office) -> None:
    office.receive()
    office.analyse()
    for _ in range(2):
        office.desk.retract(office.study, 1, "quality", "Asked twice.")
    assert [r.outcome for r in office.records.reports([office.study])] == [OutcomeKind.FINDINGS, OutcomeKind.RETRACTION]


def test_a_late_film_does_not_bring_a_retracted_result_back_and_reading_again_does(office: Office) -> None:
    wrong = office.receive()
    office.analyse()
    office.retract()
    late = office.receive()
    report = office.analyse()
    assert report is not None
    assert (report.revision, report.outcome, report.films) == (3, OutcomeKind.FINDINGS, (late,))
    assert office.reasons == ["retracted", None]
    report = office.analyse(again=True)
    assert report is not None
    assert (report.revision, report.films) == (4, tuple(sorted([wrong, late])))
    assert office.reasons == [None, None]


def test_after_a_retraction_the_same_findings_are_new_again(office: Office) -> None:
    office.receive()
    first = office.analyse()
    office.retract()
    again = office.analyse(again=True)
    assert first is not None
    assert again is not None
    assert (again.revision, again.outcome, again.fingerprint) == (3, OutcomeKind.FINDINGS, first.fingerprint)


def test_a_refusal_can_be_retracted_too(office: Office) -> None:
    office.receive(**CHILD)
    office.analyse()
    office.retract()
    assert office.current is not None
    assert office.current.outcome is OutcomeKind.RETRACTION
    assert office.reasons == ["age"]
    assert office.analyse() == office.current


def test_who_has_the_result_and_left_the_configuration_is_not_forgotten(office: Office) -> None:
    office.destinations = (destination("gone"), destination())
    office.receive()
    office.analyse()
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    office.destinations = (destination(),)
    assert office.retract() == (2, ["pacs"])
    (gone,) = [slot for slot in office.slots(2) if slot.destination == "gone"]
    assert gone.state is DeliveryState.UNDELIVERABLE


def test_a_result_whose_films_are_gone_cannot_be_retracted(office: Office) -> None:
    office.receive()
    office.analyse()
    for film in office.records.films(office.study):
        office.spool.path(film.path).unlink()
    with pytest.raises(Broken, match="no film of study"):
        office.retract()


def test_a_suspect_is_read_apart_and_the_guilty_is_refused_and_kept_aside(office: Office) -> None:
    guilty, innocent = office.receive(), office.receive()
    ids = {film.sop_instance_uid: film.id for film in office.records.films(office.study)}
    suspects = Suspects(office.records.engine)
    suspects.suspect(list(ids.values()))
    read = office.desk._read
    apart = []

    def read_apart(study: Study) -> Study:
        apart.append(study.study_instance_uid)
        refused = Refused(Reason.QUARANTINED, "reading it alone ended the process with SIGSEGV")
        films = [replace(f, refused=refused) if f.key == ids[guilty] else f for f in study.films]
        return read(replace(study, films=tuple(films)))

    office.read_apart = read_apart
    report = office.analyse()
    assert apart == [office.study]
    assert report is not None
    assert report.films == (innocent,)
    assert office.reasons == ["quarantined", None]
    (kept,) = (office.spool.data_dir / "quarantine").iterdir()
    assert kept.name.startswith(guilty)
    # Nobody opens it again, but for whoever asks for that: then it is still a suspect.
    assert suspects.among(list(ids.values())) == {ids[guilty]}
    office.analyse()
    assert apart == [office.study]
    office.analyse(again=True)
    assert apart == [office.study] * 2
    assert office.reasons == ["quarantined", None]


def receivers(office: Office, revision: int) -> list[str]:
    return [slot.destination for slot in office.slots(revision)]


def test_a_result_goes_to_those_who_want_results_of_its_senders(office: Office) -> None:
    office.destinations = (
        destination("all"),
        destination("emergency", calling_ae_titles=["ER1", "ER2"]),
        destination("peer", calling_ae_titles=["PEER"]),
        destination("ward", calling_ae_titles=["WARD"]),
    )
    office.receive("ER2")
    # A film that the result is not about brings nobody in.
    office.receive("WARD", **LATERAL)
    assert office.analyse() is not None
    assert receivers(office, 1) == ["all", "emergency"]
    # A late film of another sender: the union, and return to sender.
    office.receive("PEER")
    report = office.analyse()
    assert report is not None
    assert len(report.films) == 2
    assert receivers(office, 2) == ["all", "emergency", "peer"]


def test_what_supersedes_a_result_goes_wherever_that_went(office: Office, tmp_path: Path) -> None:
    office.destinations = (destination("a", calling_ae_titles=["A"]), destination("b", calling_ae_titles=["B"]))
    office.receive("A")
    office.analyse()
    office.destinations = (destination("a", calling_ae_titles=["Z"]), destination("b", calling_ae_titles=["B"]))
    office.engine = engine_of(tmp_path, seed=1)
    office.analyse(again=True)
    assert receivers(office, 2) == ["a"]
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    office.retract()
    assert set(receivers(office, 3)) == {"a"}
    # It has been told to take it away, and its sender is none of its own any more.
    office.analyse(again=True)
    assert receivers(office, 4) == []


def test_a_result_that_goes_nowhere_is_no_fault_and_says_so(office: Office) -> None:
    office.destinations = (destination("ward", calling_ae_titles=["WARD"]),)
    office.receive("ER1")
    office.analyse()
    (study,) = overview(office.records, 1)
    assert (study.state, study.deliveries) == ("reported", ())
    assert study.whereabouts == ("no destination: none gets results of films of ER1",)


def test_what_waits_for_a_destination_that_is_gone_says_so_and_goes_when_it_is_back(office: Office) -> None:
    office.receive()
    office.analyse()
    office.destinations = ()
    with pytest.raises(DeliveryError, match="'pacs' is no longer in the configuration"):
        office.desk.deliver(office.study, 1, "pacs")
    (slot,) = office.slots(1)
    assert slot.state is DeliveryState.PENDING
    assert "no longer in the configuration" in str(slot.detail)
    office.destinations = (destination(),)
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    assert len(peer.received) == 1


def test_a_destination_that_is_gone_and_back_gets_the_note_about_what_was_withdrawn(office: Office) -> None:
    office.receive()
    office.analyse()
    with storage_scp(COMPREHENSIVE_3D_SR) as peer:
        office.deliver(peer)
    office.destinations = ()
    office.retract()
    (slot,) = office.slots(2)
    assert slot.state is DeliveryState.UNDELIVERABLE
    office.destinations = (destination(),)
    office.records.revive(slot.errand)
    with storage_scp(KEY_OBJECTS) as peer:
        office.deliver(peer)
    assert rejected(peer.received[0]) == {office.document(1, SR_3D).SOPInstanceUID}
