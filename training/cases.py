"""Exams of data folders as cases of an evaluation."""

from pneumo_monai.errors import Refused
from pneumo_monai.evaluation.cases import Case, described
from pneumo_monai.instances import read_instance
from training.records import Exam

__all__ = ["case_of", "with_header"]


def case_of(exam: Exam) -> Case:
    """Return what the tables of its folder say of an exam; the header of its film is not read."""
    return Case(
        identifier=exam.patient_id,
        person=exam.person,
        group=exam.group,
        target=exam.target,
        path=exam.path,
        view=exam.view,
        source=exam.source,
        label_quality=exam.label_quality,
        klass=exam.klass,
        boxes=exam.boxes,
    )


def with_header(case: Case) -> Case:
    """Add view, sex and age from the header of the film, for whoever reads its pixels from a cache.

    A film that is gone by now keeps what was known of it.
    """
    try:
        return described(case, read_instance(case.path))
    except (Refused, OSError):
        return case
