"""A folder of files as studies: the input of one-shot mode."""

from pathlib import Path

from pneumo_monai.errors import ConfigurationError, Refused, Retryable
from pneumo_monai.spool import identify
from pneumo_monai.study import Film, Study

__all__ = ["find_studies"]


def find_studies(folder: Path) -> list[Study]:
    """Group all files below a folder by study.

    Parameters
    ----------
    folder : pathlib.Path
        Searched at every depth; every regular file counts, whatever its name; hidden ones do not.

    Returns
    -------
    list of Study
        In order of Study Instance UID; a file that cannot be parsed so far is a study of its own, already refused.

    Raises
    ------
    ConfigurationError
        The folder is missing or holds no file.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: is no folder; pass the folder that holds the DICOM files to -i")
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise ConfigurationError(f"{folder}: holds no file; put the DICOM files there or pass another folder to -i")
    by_study: dict[str, list[Film]] = {}
    lone: list[Study] = []
    for key, file in enumerate(files):
        try:
            by_study.setdefault(identify(file.read_bytes()).study_instance_uid, []).append(Film(path=file, key=key))
        except Refused as refused:
            lone.append(Study(study_instance_uid="", films=(Film(path=file, key=key, refused=refused),)))
        except (OSError, Retryable) as error:
            failed = f"{type(error).__name__}: it cannot be opened"
            lone.append(Study(study_instance_uid="", films=(Film(path=file, key=key, failed=failed),)))
    grouped = [Study(study_instance_uid=uid, films=tuple(films)) for uid, films in sorted(by_study.items())]
    return grouped + lone
