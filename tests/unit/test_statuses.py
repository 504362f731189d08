"""Which error becomes which C-STORE status."""

import pytest

from pneumo_monai import statuses
from pneumo_monai.errors import OutOfResources, Reason, Refused


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutOfResources("ledger"), 0xA700),
        (OSError(28, "No space left on device"), 0xA700),
        (Refused(Reason.UNPARSEABLE, "no data set"), 0xC000),
        (Refused(Reason.MISSING_IDENTITY, "no UID"), 0xA900),
        # What nobody foresaw: the film is not durable, so the sender must keep it.
        (ZeroDivisionError(), 0xA700),
    ],
)
def test_the_sender_learns_what_to_do(error: Exception, status: int) -> None:
    assert statuses.for_error(error) == status
