"""The DICOM Conformance Statement of PS3.2 annex N: prose from a template, tables from the code."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, select_autoescape

from pneumo_monai import commitments, committing, delivering, safekeeping
from pneumo_monai.conformance import annexes, tables
from pneumo_monai.conformance.markdown import contents
from pneumo_monai.conformance.network import stored_syntaxes
from pneumo_monai.conformance.samples import SCENES, Factor
from pneumo_monai.equipment import MANUFACTURER, MODEL_NAME, SOFTWARE_VERSION
from pneumo_monai.instances import MAX_BYTES
from pneumo_monai.listener import accepting_entity
from pneumo_monai.pixel_description import MAX_PIXELS, MIN_SIDE
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.report.inheritance import DEFINED_TERMS
from pneumo_monai.sender import calling_entity
from pneumo_monai.settings import Settings

__all__ = ["render_statement"]

_CONTENTS = "\0"


def render_statement(settings: Settings | None = None) -> str:
    """Write the statement as Markdown.

    Parameters
    ----------
    settings : Settings or None
        Of a site, whose AE titles, ports and forms it shows; None: the defaults, whatever the environment says.
    """
    chosen = settings or Settings.model_construct(data_dir=Path())
    title = chosen.listener.ae_title
    receiving, sending = accepting_entity(chosen.listener), calling_entity(title)
    text = _template().render(
        contents=_CONTENTS,
        manufacturer=MANUFACTURER,
        model_name=MODEL_NAME,
        version=SOFTWARE_VERSION,
        forms=", ".join(f"`{form}`" for form in BUILDERS),
        scenes=len(SCENES),
        factors=", ".join(Factor),
        silence=f"{chosen.listener.study_silence:g}",
        first_pause=f"{chosen.delivery.first_pause:g}",
        longest_pause=f"{chosen.delivery.longest_pause:g}",
        give_up_hours=f"{chosen.delivery.give_up_after_hours:g}",
        deliveries_at_once=delivering.DELIVERIES_AT_ONCE,
        commitment_pause=f"{commitments.RETRY_SECONDS:g}",
        longest_commitment_pause=f"{safekeeping.LONGEST_PAUSE_SECONDS / 3600:g}",
        commitments_at_once=committing.COMMITMENTS_AT_ONCE,
        films_days=_days(chosen.retention.films_days),
        results_days=_days(chosen.retention.results_days),
        max_bytes=MAX_BYTES,
        max_pixels=MAX_PIXELS,
        min_side=MIN_SIDE,
        maximum_associations=receiving.maximum_associations,
        port=chosen.listener.port,
        web_port=chosen.web.port,
        site="the defaults" if settings is None else "those of this site",
        stored_syntaxes=", ".join(syntax.name for syntax in stored_syntaxes()),
        character_sets=", ".join(f"`{term}`" for term in sorted(DEFINED_TERMS) if term),
        content_table=tables.content_table(receiving),
        templates_table=tables.templates_table(),
        services_table=tables.services_table(receiving, sending),
        outcomes_table=tables.outcomes_table(),
        read_table=tables.read_table(),
        parameters_table=tables.parameters_table(chosen),
        addresses_table=tables.addresses_table(chosen),
        receiving_table=tables.association_table(receiving),
        sending_table=tables.association_table(sending),
        verification_syntaxes=tables.verification_syntaxes(receiving),
        rejections_table=tables.rejections_table(),
        syntaxes_table=tables.syntaxes_table(receiving),
        accepted_table=tables.accepted_table(receiving),
        proposals_table=tables.proposals_table(),
        scp_table=tables.scp_table(),
        scu_table=tables.scu_table(),
        event_report_table=tables.event_report_table(),
        file_meta_table=annexes.file_meta_table(),
        common_modules=annexes.common_modules(),
        iod_sections=annexes.iod_sections(),
        tree_sections=annexes.tree_sections(),
        private_attributes=annexes.private_attributes(),
        extended_classes=annexes.extended_classes(),
        mapping_table=annexes.mapping_table(),
        codes_table=annexes.codes_table(),
        private_codes=annexes.private_codes(),
    )
    return text.replace(_CONTENTS, contents(text))


def _days(days: float | None) -> str:
    return "never" if days is None else f"{days:g} days"


@cache
def _template() -> Template:
    source = (files("pneumo_monai.conformance") / "template.md").read_text(encoding="utf-8")
    # Markdown, which is not escaped as HTML is.
    environment = Environment(
        autoescape=select_autoescape(default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(source)
