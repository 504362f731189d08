"""Films and reports on disk, under names made of validated UIDs.

::

    <data_dir>/spool/films/<Study Instance UID>/<SOP Instance UID>.<first 16 digits of the content's SHA-256>.dcm
    <data_dir>/spool/reports/<Study Instance UID>/<SOP Instance UID>.dcm
    <data_dir>/spool/headers/<Study Instance UID>/<name of the film or report that was removed>
    <data_dir>/quarantine/<a film's name>, a second name of its file
"""

import hashlib
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pneumo_monai.attributes import is_uid
from pneumo_monai.durable import link_durably, write_durably
from pneumo_monai.errors import OutOfResources, Reason, Refused

__all__ = ["Identity", "Spool", "identify"]

_TRANSFER_SYNTAX_UID = 0x00020010
_STUDY_INSTANCE_UID = 0x0020000D
_HEADER_TAGS = [0x00080016, 0x00080018, _STUDY_INSTANCE_UID]

_INFLATED_BYTES = 1 << 24
"""How far a deflated data set is inflated to find its UIDs, 16 MiB: a few kilobytes may inflate to gigabytes."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What names a film before anything else of it is read.

    `digest` is the SHA-256 of its transfer syntax and data set: who wrote the file meta information says nothing of
    the film.
    """

    study_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    digest: str


def identify(encoded: bytes) -> Identity:
    """Find the UIDs of an encoded instance without decoding what follows them.

    Parameters
    ----------
    encoded : bytes
        A whole Part 10 file.

    Raises
    ------
    Refused
        It cannot be parsed so far, or a UID is missing or is none (PS3.5 9.1): nothing may be named after it.
    OutOfResources
        Memory does not suffice.
    """
    try:
        dataset, digest = _read_header(encoded)
        uids = [_raw_text(dataset, tag) for tag in _HEADER_TAGS]
    except MemoryError:
        raise OutOfResources("memory does not suffice to parse a data set") from None
    except Exception as error:  # a parser of foreign bytes raises as it pleases; RecursionError among others
        raise Refused(Reason.UNPARSEABLE, f"the data set cannot be parsed ({type(error).__name__})") from error
    for name, uid in zip(("SOP Class UID", "SOP Instance UID", "Study Instance UID"), uids, strict=True):
        if not is_uid(uid):
            raise Refused(Reason.MISSING_IDENTITY, f"{name} is missing or no valid UID")
    return Identity(
        sop_class_uid=uids[0],
        sop_instance_uid=uids[1],
        study_instance_uid=uids[2],
        digest=digest,
    )


def _read_header(encoded: bytes) -> tuple[Dataset, str]:
    """Return the elements up to the UIDs, and the digest of `Identity`."""
    stream = BytesIO(encoded)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_after_file_meta)
    syntax = _raw_text(meta, _TRANSFER_SYNTAX_UID)
    digest = hashlib.sha256(syntax.encode())
    digest.update(memoryview(encoded)[stream.tell() :])
    if syntax != DeflatedExplicitVRLittleEndian:
        stream.seek(0)
        header: Dataset = read_partial(stream, stop_when=_after_study_instance_uid, specific_tags=_HEADER_TAGS)
        return header, digest.hexdigest()
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), _INFLATED_BYTES)
    header = read_dataset(
        BytesIO(inflated),
        is_implicit_VR=False,
        is_little_endian=True,
        stop_when=_after_study_instance_uid,
        specific_tags=_HEADER_TAGS,
    )
    return header, digest.hexdigest()


def _raw_text(dataset: Dataset, tag: int) -> str:
    """Return a UID as it was sent: pydicom's own conversion would warn of what is checked here."""
    value = dataset.get_item(tag).value if tag in dataset else None
    return value.decode("ascii").rstrip("\0 ") if isinstance(value, bytes) else str(value or "")


def _after_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return tag.group != 2


def _after_study_instance_uid(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return int(tag) > _STUDY_INSTANCE_UID


class Spool:
    """The files under `data_dir`.

    Parameters
    ----------
    data_dir : pathlib.Path
        From the settings. Paths handed out are relative to it, so that a data folder can be moved.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def keep_film(self, identity: Identity, encoded: bytes) -> str:
        """Write a received film durably and return its path relative to `data_dir`."""
        name = f"{identity.sop_instance_uid}.{identity.digest[:16]}.dcm"
        return self._keep(Path("spool/films", identity.study_instance_uid, name), encoded)

    def keep_document(self, study_instance_uid: str, sop_instance_uid: str, encoded: bytes) -> str:
        """Write an encoded instance of a result durably and return its path relative to `data_dir`."""
        return self._keep(Path("spool/reports", study_instance_uid, f"{sop_instance_uid}.dcm"), encoded)

    def keep_aside(self, film: str) -> None:
        """Keep a film that the spool handed out for inspection, whatever becomes of the spool; a repeat is a no-op."""
        path = self.data_dir / film
        link_durably(path, self.quarantine / path.name)

    @property
    def quarantine(self) -> Path:
        """Folder of the films that were kept aside."""
        return self.data_dir / "quarantine"

    @property
    def films(self) -> Path:
        """Folder of the films, one folder a study."""
        return self.data_dir / "spool/films"

    @property
    def documents(self) -> Path:
        """Folder of the results, one folder a study."""
        return self.data_dir / "spool/reports"

    def path(self, relative: str) -> Path:
        """Return the absolute path of a file the spool handed out."""
        return self.data_dir / relative

    def header_path(self, relative: str) -> Path:
        """Return the absolute path of a file whose header suffices: of what was kept of it, once it was removed."""
        path = self.path(relative)
        kept = self._headers(path.parent.name) / path.name
        return kept if kept.exists() and not path.exists() else path

    def keep_header(self, study_instance_uid: str, name: str, encoded: bytes) -> None:
        """Write durably what stays of a file that is about to be removed."""
        write_durably(self._headers(study_instance_uid) / name, encoded)

    def drop_headers(self, study_instance_uid: str) -> None:
        """Remove what was kept of a study's files."""
        shutil.rmtree(self._headers(study_instance_uid), ignore_errors=True)

    def drop_folder(self, folder: Path) -> None:
        """Remove a study's folder of films or results if it is empty."""
        with suppress(OSError):
            folder.rmdir()

    def _headers(self, study_instance_uid: str) -> Path:
        return self.data_dir / "spool/headers" / study_instance_uid

    def _keep(self, relative: Path, encoded: bytes) -> str:
        write_durably(self.data_dir / relative, encoded)
        return str(relative)
