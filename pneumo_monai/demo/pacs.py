"""A PACS for the demo: a storage SCP that keeps what it gets as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pneumo_monai.durable import write_durably

__all__ = ["AE_TITLE", "DemoPacs", "demo_pacs"]

AE_TITLE = "DEMOPACS"


@dataclass(frozen=True, kw_only=True)
class DemoPacs:
    """Where the PACS listens and what it keeps."""

    folder: Path
    port: int

    def files(self) -> list[Path]:
        """Return what was stored so far."""
        return sorted(self.folder.glob("*.dcm"))


@contextmanager
def demo_pacs(folder: Path) -> Iterator[DemoPacs]:
    """Run the PACS on a free port of the loopback interface until the context ends."""
    folder.mkdir(parents=True, exist_ok=True)

    def on_c_store(event: Event) -> int:
        uid = str(getattr(event.request, "AffectedSOPInstanceUID", ""))
        write_durably(folder / f"{uid}.dcm", event.encoded_dataset())
        return 0x0000

    entity = AE(ae_title=AE_TITLE)
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        entity.add_supported_context(str(context.abstract_syntax), syntaxes)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_c_store)])
    assert server is not None  # noqa: S101 - it does not block
    try:
        yield DemoPacs(folder=folder, port=int(server.server_address[1]))
    finally:
        server.shutdown()
