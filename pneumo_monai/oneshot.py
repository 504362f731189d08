"""`pneumo-monai run` and the MAP: a folder read once by the same graph as the service."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pneumo_monai.before_holoscan import import_to_read
from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.errors import ConfigurationError, Reason
from pneumo_monai.folder import find_studies
from pneumo_monai.forms import Form
from pneumo_monai.settings import load_intended_use, load_report
from pneumo_monai.study import Film, Study

__all__ = ["run_folder"]

_log = logging.getLogger(__name__)


def run_folder(
    source: Path,
    output: Path,
    *,
    model: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    forms: Sequence[Form] = (Form.SR_COMPREHENSIVE_3D,),
    not_analysed: Sequence[Reason] = (),
) -> bool:
    """Read every study of a folder and write its report into another.

    Whose films may be read, and the root of the UIDs, are taken from the environment, as
    `pneumo_monai.settings.load_intended_use` and `load_report` have it: there is no configuration file.

    Parameters
    ----------
    source, output : pathlib.Path
        Folders of films and of reports.
    model : pathlib.Path or None
        Folder of a bundle; None: the one in the package.
    device : str
        Where the network runs.
    forms : sequence of Form
        All of them are written, as far as they have something to say.
    not_analysed : sequence of Reason
        Reasons for which a study of which no film was read gets a report.

    Returns
    -------
    bool
        Whether every file was analysed or refused with a reason, and every report is on disk. A signal that ends the
        graph early leaves files unread.

    Raises
    ------
    ConfigurationError
        The input is no folder or empty, the output cannot be written, the model or the device cannot be used, or a
        variable of the environment is wrong.
    """
    studies = find_studies(source)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{output}: cannot be created ({error.strerror}); pass another folder to -o"
        ) from error
    intended_use, report = load_intended_use(), load_report()
    bundle = Bundle(model or PACKAGED)

    import_to_read()
    from pneumo_monai.decoding_process import DecodingProcess
    from pneumo_monai.engine import Engine, choose_device
    from pneumo_monai.graph import FolderApplication
    from pneumo_monai.reading import Reading
    from pneumo_monai.revisions import Reporting

    engine = Engine(bundle, choose_device(device))
    _log.info("model %s %s reads on %s", bundle.name, bundle.version, engine.device)
    console = Console(stderr=True)
    tally: Counter[str] = Counter()
    problems: list[str] = []
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("studies"), TimeElapsedColumn())
    # A film that ends its decoder must not end the run.
    with DecodingProcess() as decoder, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(studies))

        def on_study(study: Study, problem: OSError | None) -> None:
            progress.advance(task)
            tally["reports"] += study.report is not None and problem is None
            if problem is not None:
                problems.append(f"a report could not be written to {output} ({problem.strerror})")
            for film in study.films:
                what = _outcome(film)
                tally[what] += 1
                if what == "failed":
                    problems.append(f"{film.path.name}: {film.failed}")
                if film.refused is not None:
                    console.print(f"{film.path.name}: refused, {film.refused}", highlight=False, markup=False)

        reporting = Reporting(forms=frozenset(forms), not_analysed=frozenset(not_analysed), uid_root=report.uid_root)
        reading = Reading(engine, intended_use, reporting, decoder.decode)
        FolderApplication(reading=reading, studies=studies, output=output, on_study=on_study).run()
    files = sum(len(study.films) for study in studies)
    unread = files - tally["analysed"] - tally["refused"] - tally["failed"]
    if unread:
        # Holoscan ends its graph at SIGTERM and SIGINT as if all were read.
        problems.append(f"{unread} of {files} files were not read: a signal ended the run; run it again")
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False)
    outcomes = f"{tally['analysed']} analysed + {tally['refused']} refused + {tally['failed']} failed"
    if unread:
        outcomes += f" + {unread} not read"
    console.print(f"{files} files = {outcomes}; {tally['reports']} reports in {output}", highlight=False, markup=False)
    return not problems


def _outcome(film: Film) -> str:
    if film.refused is not None:
        return "refused"
    return "failed" if film.failed is not None else "analysed"
