"""Results of each kind on films made here, with pictures."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from pneumo_monai.findings import StudyFindings
from pneumo_monai.forms import Form
from pneumo_monai.report.documents import BUILDERS
from pneumo_monai.report.encode import encode
from pneumo_monai.report.result import Result
from tests.reports import find_on, refuse, result_on, retract

__all__ = ["LUNGS", "OUTCOMES", "find_in_lungs", "pictures_of", "result_of", "sent_before"]

LUNGS = np.zeros((224, 224), dtype=np.bool_)
LUNGS[40:190, 45:105] = True
LUNGS[40:190, 122:180] = True
LUNGS.flags.writeable = False
"""Two lungs on the square that the network saw."""


def find_in_lungs(*films: Dataset, probability: float = 0.8) -> StudyFindings:
    """Find something in the lungs of the first film, less on the others."""
    findings = find_on(films, [probability, 0.1, 0.2])
    return replace(findings, films=tuple(replace(film, lungs=LUNGS) for film in findings.films))


OUTCOMES = {
    "present": find_in_lungs,
    "absent": lambda *films: find_in_lungs(*films, probability=0.1),
    "refused": lambda *films: refuse(films),
    "retracted": lambda *films: retract(films),
}
"""One maker of each kind of outcome."""


def pictures_of(*films: Dataset) -> dict[str, NDArray[np.float32]]:
    """Draw something grey for each film, of its size."""
    return {
        str(film.SOPInstanceUID): np.linspace(0.0, 1.0, film.Rows * film.Columns, dtype=np.float32).reshape(
            film.Rows, film.Columns
        )
        for film in films
    }


def result_of(kind: str, *films: Dataset, **more: Any) -> Result:
    """Make a result of a kind of `OUTCOMES`, with pictures of its films."""
    return result_on(films, OUTCOMES[kind](*films), **{"pictures": pictures_of(*films), **more})


def sent_before(result: Result) -> dict[Form, list[Dataset]]:
    """Make the instances of a result in every form, as a later revision is given them: read back, without pixels."""
    return {
        form: [dcmread(BytesIO(encode(instance)), stop_before_pixels=True) for instance in build(result)]
        for form, build in BUILDERS.items()
    }
