"""A worker that one film ends, as a fault in a library would: late, when the others of its study are at hand too.

The film's SOP Instance UID and what it does (a signal's name, or ``hang``) come by the environment. The process that
reads a study apart imports this module too, and dies of it the same way.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pneumo_monai import logs, reading, reading_process
from pneumo_monai.findings import FilmFinding, StudyFindings
from pneumo_monai.settings import load_settings
from pneumo_monai.worker import run_worker

_study_findings = reading.StudyFindings


def deadly_findings(*, films: tuple[FilmFinding, ...], **of_study: Any) -> StudyFindings:
    """Die of one film in the report stage, which has all films of a study at hand."""
    if os.environ["DEADLY_FILM"] in {film.sop_instance_uid for film in films}:
        while os.environ["DEADLY_HOW"] == "hang":
            time.sleep(1.0)
        os.kill(os.getpid(), signal.Signals[os.environ["DEADLY_HOW"]])
    return _study_findings(films=films, **of_study)


reading.StudyFindings = deadly_findings  # type: ignore[assignment,misc]
reading_process.READING_SECONDS = float(os.environ.get("READING_SECONDS", "600"))

if __name__ == "__main__":
    logs.configure("worker-0")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run_worker(load_settings(Path(sys.argv[1])), slot="worker-0", stop=stop)
    os._exit(0)
