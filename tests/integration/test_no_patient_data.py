"""No word of a patient leaves by another way than spool, audit trail and destinations.

Films are sent that bear a mark wherever a patient, or whoever knows one, may be named, in several character sets; they
are read, refused, broken, failed, not delivered, retracted. Then everything that the service wrote is searched.
"""

import base64
import html
import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGExtended12Bit, JPEGLossless, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import ComputedRadiographyImageStorage

from pneumo_monai.entries import FilmState
from tests.codestreams import JPEG_EXTENDED_12BIT, JPEG_LOSSLESS
from tests.films import make_film, make_item
from tests.integration.conftest import Watched
from tests.peers import COMPREHENSIVE_SR, StorageScp, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SECONDS = 180.0
MARK, WHY = "Zqx7Wkpv", "Wvy4Jbhd"
"""What no text holds by chance: of a patient, and of the sentence of a retraction, which the ledger may hold."""
LATIN, CHINESE, JAPANESE = "Grünwäld", "张标记", "山田標"
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "gb18030", "iso2022_jp", "shift_jis")
BIRTH_DATES = ("19230417", "1923-04-17", "17.04.1923", "04/17/1923")

TEXTS = """
    PatientID IssuerOfPatientID AccessionNumber PatientComments StudyID StudyDescription SeriesDescription
    InstitutionName InstitutionAddress InstitutionalDepartmentName StationName ProtocolName ImageComments
    AdditionalPatientHistory PatientAddress PatientTelephoneNumbers Occupation MedicalRecordLocator EthnicGroup
    RequestedProcedureDescription PerformedProcedureStepDescription DeviceSerialNumber Manufacturer
    ManufacturerModelName MilitaryRank CountryOfResidence RegionOfResidence AcquisitionComments DerivationDescription
"""
NAMES = """
    PatientName OtherPatientNames PatientBirthName PatientMotherBirthName ReferringPhysicianName OperatorsName
    PerformingPhysicianName
"""


def marks(name: str) -> dict[str, Any]:
    """Return a value with the mark for every attribute that may name a patient, or lead to one."""
    return {
        **{keyword: f"{MARK}-{keyword[:7]}" for keyword in TEXTS.split()},
        **dict.fromkeys(NAMES.split(), f"{MARK}^{name}={MARK}"),
        "PatientBirthDate": BIRTH_DATES[0],
        "OtherPatientIDsSequence": [make_item(PatientID=f"{MARK}-other", TypeOfPatientID="TEXT")],
        "RequestAttributesSequence": [
            make_item(
                RequestedProcedureID=f"{MARK}-rp", ScheduledProcedureStepID=f"{MARK}-sps", AccessionNumber=f"{MARK}-acc"
            )
        ],
    }


def marked(name: str = LATIN, character_set: str = "ISO_IR 100", **attributes: Any) -> Dataset:
    film = make_film(SpecificCharacterSet=character_set, **{**marks(name), **attributes})
    block = film.private_block(0x0009, f"{MARK} CREATOR", create=True)
    block.add_new(1, "LO", f"{MARK} private")
    block.add_new(2, "UN", f"{MARK} unknown".encode("utf-16-le"))
    return film


def undecodable(stream: bytes, transfer_syntax: str) -> Dataset:
    """Return a film whose codestream has a comment, and words for pixels: decoders tell of that as they please."""
    film = marked(rows=40, columns=32, transfer_syntax=transfer_syntax, BitsAllocated=16, BitsStored=12, HighBit=11)
    comment, scan = f"{MARK} in a comment".encode(), stream.index(b"\xff\xda") + 14
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    film.PixelData = encapsulate([stream[:2] + segment + stream[2:scan] + MARK.encode() * 20])
    film["PixelData"].is_undefined_length = True
    film["PixelData"].VR = "OB"
    return film


def encoded(film: Dataset) -> bytes:
    """Return the data set alone, as C-STORE carries it."""
    data_set = encode(film, is_implicit_vr=False, is_little_endian=True)
    assert data_set is not None
    return data_set


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield SOP Instance UIDs and data sets that no library writes."""
    # Numbers and dates are words; the place holder is as long as the mark.
    keywords = "InstanceNumber SeriesNumber RescaleSlope RescaleIntercept WindowCenter WindowWidth StudyDate StudyTime"
    broken = marked(**dict.fromkeys((*keywords.split(), "ContentDate", "PatientWeight"), "12345678"))
    yield str(broken.SOPInstanceUID), encoded(broken).replace(b"12345678", MARK.encode())
    # What follows the UIDs is cut off, or of no VR that there is: the worker cannot parse it.
    cut, strange = marked(), marked()
    whole = encoded(cut)
    yield str(cut.SOPInstanceUID), whole[: whole.index(b"\x28\x00\x02\x00") - 3]
    head, study, tail = encoded(strange).partition(strange.StudyInstanceUID.encode())
    yield str(strange.SOPInstanceUID), head + study + tail.replace(b"LO", b"Z7").replace(b"US", b"\xff\xff")
    # Before them: the listener cannot.
    yield generate_uid(prefix=None), b"\x08\x00\x05\x00ZQ\xff\xff" + LATIN.encode("latin-1") * 20
    # It names itself after the patient.
    path = f"../{MARK}/name"
    place_holder = "1.2.345678901234"
    yield path, encoded(marked(SOPInstanceUID=place_holder)).replace(place_holder.encode(), path.encode())
    yield generate_uid(prefix=None), encoded(marked())


def store(association: Association, sop_instance_uid: str, data_set: bytes) -> int:
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID = ComputedRadiographyImageStorage
    # Set past the check: a sender may write what it pleases.
    request._affected_sop_instance_uid = sop_instance_uid  # type: ignore[assignment]
    request.DataSet = BytesIO(data_set)
    (context,) = association.accepted_contexts
    assert context.context_id is not None
    # As pynetdicom's own requests do: its reactor would take the answer.
    association._reactor_checkpoint.clear()
    wait_until("the reactor rests", lambda: association._is_paused)
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert isinstance(answer, C_STORE)
    assert answer.Status is not None
    return answer.Status


def associate(port: int, *syntaxes: str, sop_class: str = ComputedRadiographyImageStorage) -> Association:
    entity = AE(ae_title="SCANNER")
    entity.implementation_version_name = f"{MARK}-VERSION"
    entity.add_requested_context(sop_class, list(syntaxes) or [ExplicitVRLittleEndian])
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 2, f"{MARK} user".encode()
    identity.secondary_field = f"{MARK} password".encode()
    association = entity.associate("127.0.0.1", port, ext_neg=[identity])
    assert association.is_established
    return association


def send(port: int, *films: Dataset) -> None:
    for film in films:
        association = associate(port, film.file_meta.TransferSyntaxUID, sop_class=film.SOPClassUID)
        assert association.send_c_store(film).Status == 0x0000
        association.release()


def commands(watched: Watched) -> dict[str, bytes]:
    """Return what the commands print, who run at once: most of their time is their imports."""
    day = subprocess.run(["date", "+%F"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        ["status"],
        ["status", "--json"],
        ["reconcile", "--day", day],
        ["reconcile", "--day", day, "--json"],
        ["doctor"],
    ]

    def run(line: list[str]) -> bytes:
        command = [sys.executable, "-m", "pneumo_monai", *line, "--config", str(watched.service.config)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        return done.stdout

    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(run, lines))
    assert all(said)
    return {" ".join(line): output for line, output in zip(lines, said, strict=True)}


def pages(watched: Watched) -> dict[str, bytes]:
    found = {}
    for path in ("/", "/ready", "/health", "/metrics"):
        with urllib.request.urlopen(f"http://127.0.0.1:{watched.service.settings.web.port}{path}") as answer:
            found[path] = answer.read()
    return found


def ledger(file: Path) -> dict[str, bytes]:
    """Return every row of every table: what is long stands in pieces in the file."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert {"films", "deliveries", "workflow_status", "operation_outputs"} <= set(tables)
    rows = {
        f"{table} {number}": repr(row).encode() + b"".join(cell for cell in row if isinstance(cell, bytes))
        for table in tables
        for number, row in enumerate(connection.execute(f'SELECT * FROM "{table}"'))
    }
    connection.close()
    return rows


def patterns(*words: str) -> set[bytes]:
    """Return how words look in each character set, and in what text is often wrapped in."""
    found = set()
    for word in words:
        for form in (word, word.lower(), word.upper(), json.dumps(word)[1:-1], html.escape(word), ascii(word)[1:-1]):
            for encoding in ENCODINGS:
                raw = form.encode(encoding, "ignore")
                found |= {raw} | {_wrapped(bytes(before) + raw, before) for before in range(3)}
    return {pattern for pattern in found if len(pattern) >= 6}


def _wrapped(raw: bytes, before: int) -> bytes:
    """Return the part of a Base64 text that a word alone decides, wherever it begins."""
    text = base64.b64encode(raw)
    return text[(0, 2, 3)[before] : len(raw) * 8 // 6]


def hits(contents: dict[str, bytes], wanted: set[bytes]) -> list[str]:
    return [
        f"{where}: ...{content[max(0, at - 100) : at + 60]!r}"
        for where, content in contents.items()
        for pattern in wanted
        if (at := content.find(pattern)) >= 0
    ]


def written(watched: Watched) -> dict[str, bytes]:
    """Return all files and names of the service but the contents of spool and audit trail."""
    spool, trail = watched.folder / "data" / "spool", watched.folder / "audit.xml"
    found = {}
    for path in watched.folder.rglob("*"):
        name = str(path.relative_to(watched.folder))
        is_open = path.is_file() and spool not in path.parents and path != trail
        found[name] = name.encode() + (path.read_bytes() if is_open else b"")
    return found


# A sender of the test's own names an object as no sender should.
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_no_word_of_a_patient_is_written_but_to_spool_and_audit_trail(watched: Watched, picky: StorageScp) -> None:
    service, port = watched.service, watched.service.settings.listener.port
    good = [
        marked(),
        marked(CHINESE, "GB18030"),
        marked(JAPANESE, ["", "ISO 2022 IR 87"]),
        marked(LATIN, "ISO_IR 192"),
    ]
    refused = [
        marked(PatientAge="006M"),
        marked(ViewPosition="LL"),
        marked(PixelData=None),
        marked(Rows=65535),
        marked(sop_class=CTImageStorage, Modality="CT"),
        undecodable(JPEG_EXTENDED_12BIT, JPEGExtended12Bit),
        undecodable(JPEG_LOSSLESS, JPEGLossless),
    ]
    again = marked(SOPInstanceUID=good[0].SOPInstanceUID, StudyInstanceUID=good[0].StudyInstanceUID)
    faults = [marked(StationName="FAULT"), marked(PatientID=f"{MARK}-FAULT-STORE")]
    picky.statuses[COMPREHENSIVE_SR], picky.comment = 0xA700, f"{MARK}: patient {LATIN} is unknown"
    try:
        send(port, *good, *refused, again, *faults)
        with_raw = associate(port)
        answers = [store(with_raw, uid, data_set) for uid, data_set in hostile()]
        with_raw.release()
        assert answers == [0x0000, 0x0000, 0x0000, 0xC000, 0xA900, 0xA900]
        wait_until("every film has its answer", lambda: not service.open_films(), SECONDS)
        studies = service.studies()
        for films, state in ((good, FilmState.ANALYSED), (refused, FilmState.REFUSED), (faults, FilmState.FAILED)):
            assert {studies[film.StudyInstanceUID].films[0].state for film in films} == {state}
        withdrawn = str(good[1].StudyInstanceUID)
        wait_until("the result is there", lambda: service.studies()[withdrawn].report, SECONDS)
        line = ["retract", withdrawn, "--cause", "safety", "--why", WHY, "--config", str(service.config)]
        subprocess.run([sys.executable, "-m", "pneumo_monai", *line], capture_output=True, timeout=SECONDS, check=True)
        wait_until("it is withdrawn", lambda: "0xA700" in str(service.studies()[withdrawn].deliveries), SECONDS)
        wait_until("an alarm was raised", lambda: watched.alarms, SECONDS)
    finally:
        picky.statuses.clear()
        picky.comment = ""
    said = {**commands(watched), **pages(watched), "webhook": b"\n".join(watched.alarms)}
    files = written(watched)
    rows = ledger(watched.folder / "data" / "ledger.sqlite")
    names = patterns(MARK, LATIN, CHINESE, JAPANESE, *BIRTH_DATES)
    assert hits(said | files | rows, names) == []
    # docs/install.md: the sentence of a retraction stands in the ledger, and in no log.
    outside = {name: content for name, content in files.items() if not name.startswith("data/ledger.sqlite")}
    assert hits(said | outside, patterns(WHY)) == []
