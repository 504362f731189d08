"""The demo's steps: start, send, wait, show."""

import shutil
from pathlib import Path

from rich.console import Console

from pneumo_monai.demo.pacs import DemoPacs, demo_pacs
from pneumo_monai.demo.phantoms import write_phantoms
from pneumo_monai.demo.service import demo_service, wait_for_answers
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.overview import StudyOverview
from pneumo_monai.sending import send_all

__all__ = ["run_demo"]

_MARKER = "made-by-the-demo.txt"


def run_demo(source: Path | None, output: Path) -> bool:
    """Send films through a service of the demo's own and show what comes back.

    Parameters
    ----------
    source : pathlib.Path or None
        Folder of real films; None: drawn phantoms.
    output : pathlib.Path
        Gets films/ (phantoms), service/ (data and log), pacs/ (what came back) and pictures/.

    Returns
    -------
    bool
        Whether each film got its report.

    Raises
    ------
    ConfigurationError
        `source` is no folder.
    Broken
        The service did not start, or did not answer in time.
    """
    console = Console()
    if source is not None and not source.is_dir():
        raise ConfigurationError(f"{source}: is no folder; pass the folder that holds the DICOM files as INPUT")
    output = output.resolve()
    _clear(output, source)
    if source is None:
        source = output / "films"
        write_phantoms(source)
        console.print("Three procedurally drawn [b]phantoms[/] are sent. What is said of them means nothing.")
    with demo_pacs(output / "pacs") as pacs, demo_service(output / "service", pacs.port, console) as settings:
        listener = f"{settings.listener.ae_title}@{settings.listener.host}:{settings.listener.port}"
        not_taken = send_all([source], to=listener, calling_ae_title="DEMO")
        studies = wait_for_answers(settings, console)
        reported = _show(studies, pacs, output, console)
    films = sum(len(study.films) for study in studies) + not_taken
    colour, verb = ("green", "Each") if reported == films > 0 else ("red", "Not every")
    console.print(f"[{colour}]{verb} film got its report: {reported} of {films}.[/]")
    return reported == films > 0


def _clear(output: Path, source: Path | None) -> None:
    """Remove what an earlier demo left in its folder, and nothing else."""
    marker = output / _MARKER
    if source is not None and source.resolve().is_relative_to(output):
        raise ConfigurationError(f"{source}: lies in {output}, which the demo clears; choose another OUTPUT")
    if output.exists() and any(output.iterdir()) and not marker.is_file():
        raise ConfigurationError(f"{output}: holds files that no demo made; choose another OUTPUT")
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    marker.write_text("Made by the demo of pneumo-monai, and cleared by the next one.\n", encoding="utf-8")


def _show(studies: list[StudyOverview], pacs: DemoPacs, output: Path, console: Console) -> int:
    """Print each report that stands in the PACS and draw its films; return how many films have one."""
    from pydicom import dcmread

    # Torch and MONAI take seconds to import: the service has long begun to.
    from pneumo_monai.demo.pictures import draw_pictures
    from pneumo_monai.report.text import as_text

    reported = 0
    for study in studies:
        console.rule(study.state)
        for reason in study.reasons:
            console.print(f"not analysed, {reason}", highlight=False)
        reports = [pacs.folder / f"{document.sop_instance_uid}.dcm" for document in study.documents]
        stored = next((file for file in reports if file.is_file()), None)
        if stored is None:
            continue
        report = dcmread(stored)
        console.print(as_text(report), highlight=False, markup=False)
        console.print(f"Report:  {stored}", highlight=False, soft_wrap=True)
        films = [output / "service" / "data" / film.path for film in study.films]
        for picture in draw_pictures(films, output / "pictures"):
            console.print(f"Picture: {picture}", highlight=False, soft_wrap=True)
            reported += 1
    return reported
