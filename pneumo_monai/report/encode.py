"""A finished instance to the bytes that are stored and sent (PS3.10)."""

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from pneumo_monai.equipment import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = ["encode"]


def encode(dataset: Dataset) -> bytes:
    """Encode an instance as a Part 10 file, Explicit VR Little Endian, under our own implementation's name.

    Parameters
    ----------
    dataset : Dataset
        The instance, SOP Class UID (0008,0016) and SOP Instance UID (0008,0018) included. It is not changed; whatever
        file meta information it carries is replaced.

    Returns
    -------
    bytes
        Preamble, prefix, file meta information (PS3.10 7.1) and data set. The same instance gives the same bytes.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    stream.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(stream, meta, enforce_standard=True)
    write_dataset(stream, dataset)
    encoded: bytes = stream.getvalue()
    return encoded
