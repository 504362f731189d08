"""Cases read as the service reads films, but for the gate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pneumo_monai.engine import Engine, calibrated
from pneumo_monai.errors import Refused, Retryable
from pneumo_monai.evaluation.cases import Case, CaseReading, described
from pneumo_monai.evaluation.localisation import localise
from pneumo_monai.findings import FilmFinding
from pneumo_monai.instances import read_instance
from pneumo_monai.pixels import read_film

__all__ = ["NotRead", "compare", "read_case", "read_cases"]


@dataclass(frozen=True, kw_only=True)
class NotRead:
    """A case whose film could not be read: the reason, by which such films are counted, and what it means here."""

    case: Case
    reason: str
    detail: str


def read_cases(engine: Engine, cases: Sequence[Case]) -> Iterator[CaseReading | NotRead]:
    """Read case after case; a film that cannot be read costs none but itself."""
    for case in cases:
        try:
            yield read_case(engine, case)
        except Refused as refused:
            yield NotRead(case=case, reason=refused.reason.value, detail=refused.detail)
        except FileNotFoundError:
            yield NotRead(case=case, reason="missing", detail="there is no such file")
        except (OSError, Retryable) as error:
            yield NotRead(case=case, reason="unavailable", detail=f"{type(error).__name__}: it cannot be opened")


def read_case(engine: Engine, case: Case) -> CaseReading:
    """Read one case from its file.

    Raises
    ------
    Refused
        The file cannot be parsed or decoded.
    OSError
        It cannot be opened.
    """
    dataset = read_instance(case.path)
    prepared = engine.prepare(read_film(dataset))
    logit, activation = engine.read(prepared.tensor)
    contract = engine.bundle.contract
    probability = calibrated(logit, contract.calibration)
    seen = described(case, dataset)
    finding = FilmFinding(
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "")),
        view=seen.view,
        probability=probability,
        present=probability >= contract.operating_point.threshold,
        activation=activation,
        geometry=prepared.geometry,
        logit=logit,
        lungs=prepared.inside,
    )
    return compare(seen, finding)


def compare(case: Case, finding: FilmFinding) -> CaseReading:
    """Hold a finding against the case's boxes, and let go of the mask of the lungs: thousands would fill the memory."""
    localisation = localise(finding, case.boxes) if case.boxes else None
    return CaseReading(case=case, finding=replace(finding, lungs=None), localisation=localisation)
