"""A real PACS stores every form, and serves it by DICOMweb as it was sent."""

from email import message_from_bytes
from email.policy import HTTP
from io import BytesIO
from urllib.request import Request, urlopen

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.viewer.studies import ViewedStudy

pytestmark = pytest.mark.viewer


@pytest.mark.parametrize("name", ["positive", "negative", "refused", "withdrawn"])
def test_every_form_is_served(name: str, viewer: str, studies: dict[str, ViewedStudy]) -> None:
    study = studies[name]
    served = {
        str(instance.SOPInstanceUID): instance for instance in _retrieved(f"{viewer}/dicom-web/studies/{study.uid}")
    }
    for form, document in study.documents.items():
        sent = dcmread(BytesIO(document.encoded))
        assert served[document.sop_instance_uid].SOPClassUID == document.sop_class_uid, form
        assert served[document.sop_instance_uid].to_json_dict() == sent.to_json_dict(), form


def _retrieved(url: str) -> list[Dataset]:
    """Retrieve a study by WADO-RS (PS3.18 10.4), each instance in its own transfer syntax."""
    request = Request(url, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'})
    with urlopen(request, timeout=60) as answer:
        head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
        parts = message_from_bytes(head + answer.read(), policy=HTTP)
    return [dcmread(BytesIO(part.get_payload(decode=True))) for part in parts.iter_parts()]
