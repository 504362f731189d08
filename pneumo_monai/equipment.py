"""How this software names itself in DICOM objects, and how it recognises itself (General Equipment, PS3.3 C.7.5.1)."""

from importlib.metadata import version

from pydicom.dataset import Dataset

from pneumo_monai.attributes import items, text
from pneumo_monai.uids import derive_uid

__all__ = [
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "MANUFACTURER",
    "MODEL_NAME",
    "SOFTWARE_VERSION",
    "names_us",
]

MANUFACTURER = "pneumo-monai"
MODEL_NAME = "pneumo-monai pneumonia reader"
SOFTWARE_VERSION = version("pneumo-monai")
IMPLEMENTATION_CLASS_UID = derive_uid("implementation-class")
IMPLEMENTATION_VERSION_NAME = f"PNEUMO_{SOFTWARE_VERSION}"[:16]
"""Who wrote a file, who speaks on an association (PS3.7 D.3.3.2): at most 16 characters."""


def names_us(dataset: Dataset) -> bool:
    """Tell whether this software made an object or had a part in it.

    Looks at Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090) of the object itself (PS3.3 C.7.5.1),
    and at the manufacturer of every item of Contributing Equipment Sequence (0018,A001) (PS3.3 C.12.1): there the model
    name is that of the network, which changes.

    Raises
    ------
    Refused
        One of these attributes cannot be decoded.
    """
    made_by_us = text(dataset, "Manufacturer") == MANUFACTURER and text(dataset, "ManufacturerModelName") == MODEL_NAME
    contributed = items(dataset, "ContributingEquipmentSequence")
    return made_by_us or any(text(item, "Manufacturer") == MANUFACTURER for item in contributed)
