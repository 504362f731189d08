"""A hospital's folder of DICOM files, and which of its films each label is about."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pneumo_monai.attributes import text
from pneumo_monai.errors import ConfigurationError, Reason, Refused, Retryable
from pneumo_monai.evaluation.labels import Label, Labels
from pneumo_monai.instances import MAX_BYTES, parse_instance
from pneumo_monai.spool import identify

__all__ = ["Exam", "Found", "Matched", "find_files", "match"]


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file whose header names it."""

    path: Path
    name: str
    sop_instance_uid: str
    study_instance_uid: str
    accession_number: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything below a folder: files = named + refused + failed + repeated.

    Attributes
    ----------
    files : int
        All of them.
    named : list
        Those whose header names them, each SOP Instance UID once.
    refused : Counter of str
        By reason, as the service refuses what it receives.
    failed : int
        Could not be opened.
    repeated : int
        The same instance once more.
    """

    files: int
    named: list[_File]
    refused: Counter[str]
    failed: int
    repeated: int


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What one label is about: a film, or all objects of a study."""

    label: Label
    paths: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Labels and files brought together.

    Attributes
    ----------
    exams : list of Exam
        In the order of the labels.
    without_file : int
        Labels that no file belongs to.
    without_label : int
        Files that no label is about.
    """

    exams: list[Exam]
    without_file: int
    without_label: int


def find_files(folder: Path, labels: Labels) -> Found:
    """Read the header of every file below a folder but hidden ones and the labels themselves.

    Raises
    ------
    ConfigurationError
        The folder is missing or holds no file.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"--data {folder}: is no folder; give the one that holds the DICOM files")
    table = labels.file.resolve()
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.resolve() != table
    )
    if not files:
        raise ConfigurationError(f"--data {folder}: holds no file; give the folder that holds the DICOM files")
    named: list[_File] = []
    refused: Counter[str] = Counter()
    failed = repeated = 0
    digests: dict[str, str] = {}
    for file in files:
        try:
            found, digest = _read_header(folder, file, with_accession=labels.column == "AccessionNumber")
        except Refused as refusal:
            refused[refusal.reason] += 1
            continue
        except (OSError, Retryable):
            failed += 1
            continue
        known = digests.get(found.sop_instance_uid)
        if known is None:
            digests[found.sop_instance_uid] = digest
            named.append(found)
        elif known == digest:
            repeated += 1
        else:
            refused[Reason.CONFLICTING_CONTENT] += 1
    return Found(files=len(files), named=named, refused=refused, failed=failed, repeated=repeated)


def _read_header(folder: Path, file: Path, *, with_accession: bool) -> tuple[_File, str]:
    if (size := file.stat().st_size) > MAX_BYTES:
        raise Refused(Reason.TOO_LARGE, f"the file has {size} bytes, at most {MAX_BYTES} are parsed")
    encoded = file.read_bytes()
    identity = identify(encoded)
    found = _File(
        path=file,
        name=file.relative_to(folder).as_posix(),
        sop_instance_uid=identity.sop_instance_uid,
        study_instance_uid=identity.study_instance_uid,
        accession_number=text(parse_instance(encoded), "AccessionNumber") if with_accession else "",
    )
    return found, identity.digest


def match(labels: Labels, files: Iterable[_File]) -> Matched:
    """Find the files that each label is about.

    Raises
    ------
    ConfigurationError
        No label is about any file, or a file name stands for several files.
    """
    named: dict[str, list[_File]] = defaultdict(list)
    total = 0
    for file in files:
        total += 1
        for key in _keys(file, labels.column):
            named[key].append(file)
    exams: list[Exam] = []
    used: set[Path] = set()
    for label in labels.rows.values():
        paths = tuple(file.path for file in named.get(label.key, ()))
        if len(paths) > 1 and not labels.of_studies:
            raise ConfigurationError(
                f"--labels {labels.file}, line {label.line}: {len(paths)} files are called so; give paths below --data"
            )
        if paths:
            exams.append(Exam(label=label, paths=paths))
            used.update(paths)
    if not exams:
        raise ConfigurationError(
            f"--labels {labels.file}: none of its {len(labels.rows)} rows is about any of the {total} DICOM files in "
            f"--data; is {labels.column} written as in the files?"
        )
    return Matched(exams=exams, without_file=len(labels.rows) - len(exams), without_label=total - len(used))


def _keys(file: _File, column: str) -> set[str]:
    """Return what a label of this column may call the file; empty values name nothing."""
    keys = {
        "SOPInstanceUID": {file.sop_instance_uid},
        "file": {file.name, file.path.name},
        "StudyInstanceUID": {file.study_instance_uid},
        "AccessionNumber": {file.accession_number},
    }
    return keys[column] - {""}
