"""The conformance statement: its page is what the code says, and the code does what its page says."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from typer.testing import CliRunner

from pneumo_monai.cli import app
from pneumo_monai.conformance import annexes
from pneumo_monai.conformance.attributes_written import Attribute, attributes_of
from pneumo_monai.conformance.content_tree import content_of
from pneumo_monai.conformance.iods import extensions
from pneumo_monai.conformance.network import accepted_storage, proposals
from pneumo_monai.conformance.observed import as_code
from pneumo_monai.conformance.received import answer_to
from pneumo_monai.conformance.statement import render_statement
from pneumo_monai.conformance.terminology import uses_of_codes
from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pneumo_monai.errors import Reason
from pneumo_monai.forms import Form
from pneumo_monai.ledger import Inbox, prepare
from pneumo_monai.listener import TRANSFER_SYNTAXES, ListenerProcess, accepting_entity
from pneumo_monai.report import codes, form_codes
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.sections import NEVER_REPORTED
from pneumo_monai.settings import Listener, load_settings
from pneumo_monai.spool import Spool
from tests.films import make_film
from tests.reports import read_back
from tests.results import OUTCOMES, result_of, sent_before

SHOWN_OTHERWISE = {"a fixed text", "one of several, by outcome or form"}
PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def page() -> str:
    return render_statement()


def test_the_page_is_what_the_code_says(page: str):
    assert PAGE.read_text(encoding="utf-8") == page, "make it anew: pneumo-monai conformance > docs/conformance.md"


def test_the_page_has_the_sections_of_the_template_of_the_standard(page: str):
    titles = [line.lstrip("# ").split(" ")[0] for line in page.splitlines() if line.startswith("## ")]
    assert titles == [*map(str, range(1, 9)), *["Annex"] * 5]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Any]:
    engine = prepare(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    listener = ListenerProcess(Listener(port=0), Spool(tmp_path), Inbox(engine))
    listener.start()
    opened: list[Association] = []

    def propose(contexts: Sequence[tuple[str, Sequence[str]]]) -> Association:
        entity = AE(ae_title="SCANNER")
        entity.requested_contexts = [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in contexts]
        opened.append(entity.associate("127.0.0.1", listener.port))
        return opened[-1]

    yield propose
    for association in opened:
        association.release()
    listener.stop()
    engine.dispose()


def test_what_the_page_lists_is_what_an_association_gets(peer: Any, page: str):
    listed = [UID(line.split(" | ")[1]) for line in between(page, "| SOP Class | UID | then |").splitlines()]
    assert listed == list(accepted_storage(accepting_entity(Listener())))
    accepted = set()
    for start in range(0, len(listed), 128):
        association = peer([(sop_class, ["1.2.840.10008.1.2"]) for sop_class in listed[start : start + 128]])
        accepted |= {context.abstract_syntax for context in association.accepted_contexts}
    assert accepted == set(listed)


def test_the_first_transfer_syntax_of_the_table_is_preferred(peer: Any, page: str):
    listed = [line.strip("| ").split(" | ")[1] for line in between(page, "| transfer syntax | UID |").splitlines()]
    assert listed == list(TRANSFER_SYNTAXES)
    film = "1.2.840.10008.5.1.4.1.1.1"
    association = peer([(film, list(reversed(listed[place:]))) for place in range(len(listed))])
    chosen = [context.transfer_syntax[0] for context in association.accepted_contexts]
    assert chosen == listed


def test_an_association_names_and_limits_itself_as_the_page_says(peer: Any, page: str):
    acceptor = peer([("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]).acceptor
    assert acceptor.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert acceptor.implementation_version_name == IMPLEMENTATION_VERSION_NAME
    assert f"| Maximum PDU Length received | {acceptor.maximum_length} bytes |" in page


def between(page: str, heading: str) -> str:
    """Return the rows of the table that has this heading."""
    return page.split(f"{heading}\n", 1)[1].split("\n", 1)[1].split("\n\n", 1)[0]


def test_what_is_read_and_what_is_refused_is_what_the_gate_says():
    read = {
        sop_class.name for sop_class in accepted_storage(accepting_entity(Listener())) if answer_to(sop_class) is None
    }
    assert {"Computed Radiography Image Storage", "Secondary Capture Image Storage"} <= read
    assert answer_to(UID("1.2.840.10008.5.1.4.1.1.2")) is Reason.MODALITY
    assert answer_to(UID("1.2.840.10008.5.1.4.1.1.88.34")) is Reason.NOT_AN_IMAGE


def strange_films() -> list[list[Dataset]]:
    """Films that are not those that the statement is made from."""
    study = {"StudyInstanceUID": "1.2.3"}
    return [
        [make_film()],
        [make_film(PatientAge="51", PatientName="Wang^XiaoDong=\u738b^\u5c0f\u6771", SpecificCharacterSet="GB18030")],
        [make_film(StudyID=None, AccessionNumber="A" * 40, ReferringPhysicianName=None, StudyDate="2024")],
        [make_film(**study, TimezoneOffsetFromUTC="+0530"), make_film(**study), make_film(**study)],
        [make_film(PhotometricInterpretation="MONOCHROME1", bits_stored=12, StudyDescription="Thorax")],
    ]


@pytest.fixture(scope="module", params=BUILDERS, ids=str)
def form(request: pytest.FixtureRequest) -> Form:
    return request.param


@cache
def everything_written() -> dict[Form, list[Dataset]]:
    """Build every form of every outcome of these films, and, of the first of them, of a second revision as well."""
    found: dict[Form, list[Dataset]] = {form: [] for form in BUILDERS}
    for place, (films, kind) in enumerate(product(strange_films(), OUTCOMES)):
        first = sent_before(result_of(kind, *films))
        later = result_of(kind, *films, revision=2, superseded=first)
        for form, instances in first.items():
            found[form] += instances
            if place < len(OUTCOMES):
                found[form] += map(read_back, BUILDERS[form](later))
    return found


def written(form: Form) -> list[Dataset]:
    return everything_written()[form]


def rows_of(form: Form) -> dict[tuple[str, ...], Attribute]:
    return {attribute.path: attribute for attribute in attributes_of(form)}


def walk(dataset: Dataset, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for element in dataset:
        inner = (*path, element.keyword or str(element.tag))
        yield inner, element
        if element.VR == "SQ" and element.keyword != "ContentSequence":
            for item in element.value:
                if as_code(item) is None:
                    yield from walk(item, inner)


def test_every_attribute_that_is_written_has_its_row(form: Form):
    rows = rows_of(form)
    found = {path: element.VR for instance in written(form) for path, element in walk(instance)}
    assert not found.keys() - rows.keys()
    assert {path: vr for path, vr in found.items() if rows[path].vr != vr} == {}


def test_what_is_always_there_is_there(form: Form):
    always = {path for path, row in rows_of(form).items() if row.presence == "ALWAYS" and len(path) == 1}
    always -= {("PixelData",)}  # what was sent before was read without it
    for instance in written(form):
        assert not always - {path for path, element in walk(instance) if not element.is_empty}


def test_what_is_fixed_is_what_the_table_says(form: Form):
    fixed = {
        path: row.value
        for path, row in rows_of(form).items()
        if row.source == "FIXED" and row.vr not in {"SQ", "OB", "OW"} and row.value not in SHOWN_OTHERWISE
    }
    for instance in written(form):
        found = [(path, shown(element)) for path, element in walk(instance) if path in fixed]
        assert not [(path, value) for path, value in found if value not in (fixed[path], *fixed[path].split("; "))]


def shown(element: Any) -> str:
    """Return a value as the tables show it."""
    return "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)


def test_every_item_of_a_content_tree_has_its_row(form: Form):
    rows = {(item.level, item.value_type, item.concept) for item in content_of(form)}
    ours = f"one of the codes of {codes.PRIVATE_DESIGNATOR}"

    def items(item: Dataset, level: int = 1) -> Iterator[tuple[int, str, str]]:
        for child in item.get("ContentSequence", ()):
            name = as_code(child.ConceptNameCodeSequence[0]) if child.get("ConceptNameCodeSequence") else None
            concept = f'({name.value}, {name.scheme_designator}, "{name.meaning}")' if name else ""
            is_ours = name is not None and name.scheme_designator == codes.PRIVATE_DESIGNATOR
            yield level, child.ValueType, ours if is_ours else concept
            yield from items(child, level + 1)

    assert not {found for instance in written(form) for found in items(instance)} - rows


def test_every_code_of_ours_is_in_the_table():
    listed = {(use.code.value, use.code.scheme_designator, use.code.meaning) for use in uses_of_codes()}
    never = {codes.NOT_ANALYSED[reason] for reason in NEVER_REPORTED if reason in codes.NOT_ANALYSED}
    ours = {*codes.ALL, *(value for value in vars(form_codes).values() if isinstance(value, Code))} - never
    assert not {(code.value, code.scheme_designator, code.meaning) for code in ours} - listed


def test_no_form_goes_beyond_its_iod_or_the_standard(form: Form):
    assert not extensions(form)
    assert annexes.private_attributes() == "none."


def test_every_form_is_proposed():
    assert {form for proposal in proposals() for form in proposal.forms} == set(BUILDERS)


def test_the_tool_calls_as_the_page_says(page: str):
    command = typer.main.get_command(app)
    (title,) = (option.default for option in command.commands["send"].params if option.name == "ae_title")
    assert f"the calling AE title is `{title}`" in page


def test_a_site_reads_its_own_titles_ports_and_forms(tmp_path: Path):
    file = tmp_path / "config.yaml"
    file.write_text(
        f"data_dir: {tmp_path}\nlistener: {{ae_title: READER, port: 11999}}\ndestinations:\n"
        "  - {name: archive, ae_title: ARCHIVE, host: pacs.example.org, port: 4242, forms: [[sr-comprehensive]]}\n",
        encoding="utf-8",
    )
    text = render_statement(load_settings(file))
    assert "| Receiving AE | READER | 127.0.0.1 | 11999 |" in text
    assert "| destination `archive` | ARCHIVE | pacs.example.org | 4242 | sr-comprehensive |" in text
    assert CliRunner().invoke(app, ["conformance", "--config", str(file)]).output == text
