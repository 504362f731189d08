"""Part 10 files from anywhere, parsed without harm (PS3.10 7)."""

import os
import warnings
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from pneumo_monai.attributes import label, text
from pneumo_monai.errors import OutOfResources, Reason, Refused

__all__ = ["MAX_BYTES", "encode_header", "parse_instance", "read_instance"]

_CONTENT = ("EncapsulatedDocument", "ContentSequence", "GraphicAnnotationSequence")
"""What an instance says, beside Pixel Data and what follows it; the rest says of whom, of what and by whom it is."""

MAX_BYTES = 1 << 28
"""Largest file that is parsed, 256 MiB: twice the largest Pixel Data that is decoded (`pneumo_monai.pixels`)."""


def read_instance(path: Path) -> Dataset:
    """Read one instance from a Part 10 file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Dataset
        The whole instance, file meta information included, its values decoded but for text, which stays as it was sent.

    Raises
    ------
    Refused
        The file is larger than `MAX_BYTES`, has no preamble and prefix, names no transfer syntax, or cannot be parsed.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as stream:
        if (size := os.fstat(stream.fileno()).st_size) > MAX_BYTES:
            raise Refused(Reason.TOO_LARGE, f"the file has {size} bytes, at most {MAX_BYTES} are parsed")
        return parse_instance(stream.read(MAX_BYTES))


def parse_instance(encoded: bytes) -> Dataset:
    """Parse the bytes of a Part 10 file; see `read_instance`.

    Raises
    ------
    Refused
        The bytes have no preamble and prefix, name no transfer syntax, or cannot be parsed.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of a value that breaks its VR and prints it: it may identify the patient.
            warnings.simplefilter("ignore")
            _check_file_meta(encoded)
            dataset = dcmread(BytesIO(encoded))
            _decode_values(dataset)
    except Refused:
        raise
    except MemoryError:
        raise OutOfResources("memory does not suffice to parse a file") from None
    except InvalidDicomError:
        raise Refused(Reason.UNPARSEABLE, "no DICOM file: preamble and prefix are missing (PS3.10 7.1)") from None
    except Exception as error:  # noqa: BLE001 - a parser of foreign bytes raises as it pleases, RecursionError among others
        raise Refused(Reason.UNPARSEABLE, f"the file cannot be parsed ({type(error).__name__})") from None
    return dataset


def encode_header(path: Path) -> bytes:
    """Return a Part 10 file without what it shows or says: patient, study, series and instance, as they were sent.

    Raises
    ------
    OSError
        The file cannot be read.
    Exception
        It cannot be parsed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(path, stop_before_pixels=True)
        for keyword in _CONTENT:
            if keyword in dataset:
                del dataset[keyword]
        stream = BytesIO()
        dataset.save_as(stream)
    return stream.getvalue()


def _check_file_meta(encoded: bytes) -> None:
    stream = BytesIO(encoded)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_after_file_meta)
    if not (syntax := text(meta, "TransferSyntaxUID")):
        raise Refused(Reason.UNPARSEABLE, f"{label('TransferSyntaxUID')} is missing")
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), MAX_BYTES + 1)
        if len(inflated) > MAX_BYTES:
            raise Refused(Reason.TOO_LARGE, f"the data set inflates to more than {MAX_BYTES} bytes")


def _after_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    del vr, length
    return tag.group != 2


def _decode_values(dataset: Dataset) -> None:
    """Decode now what pydicom would decode, and warn of, at first use; what cannot be decoded raises at its use."""
    for tag in tuple(dataset.keys()):
        element = dataset.get_item(tag)
        vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else None)
        # Text stays as it was sent: the report takes a patient's name over byte for byte.
        if vr not in CUSTOMIZABLE_CHARSET_VR:
            with suppress(Exception):
                dataset[tag]
