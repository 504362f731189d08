"""A modality that sends each film until it is answered 0x0000, whatever happens to the peer."""

import copy
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from pneumo_monai.demo.phantoms import draw_phantom
from tests.films import make_film

__all__ = ["Modality", "Order", "draw_orders"]

_AGAIN_SECONDS = 0.5
_PHANTOMS = 8


@dataclass(frozen=True)
class Order:
    """One film that is to be sent."""

    study_instance_uid: str
    sop_instance_uid: str
    phantom: int


def draw_orders(films: int, pairs: float, draw: random.Random) -> list[Order]:
    """Draw films of one study each, but for a share of studies that have two, some time apart."""
    orders: list[Order] = []
    while len(orders) < films:
        study = generate_uid(prefix=None, entropy_srcs=[str(draw.random())])
        count = 2 if draw.random() < pairs and len(orders) + 2 <= films else 1
        for _ in range(count):
            # A second film comes with its study's first, or later.
            place = max(0, len(orders) - draw.choice([0, 0, 3]))
            uid = generate_uid(prefix=None, entropy_srcs=[str(draw.random())])
            orders.insert(place, Order(study, uid, draw.randrange(_PHANTOMS)))
    return orders


@dataclass
class Modality:
    """Sends over several associations at once, each of one film.

    Parameters
    ----------
    port : int
        Of the listener.
    side : int
        Rows and columns of a film, 12 bit.
    """

    port: int
    side: int = 256
    acknowledged: dict[str, Order] = field(default_factory=dict)
    """Films that were answered 0x0000, by SOP Instance UID."""
    statuses: Counter[str] = field(default_factory=Counter)
    _waiting: "SimpleQueue[Order]" = field(default_factory=SimpleQueue)
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, at_once: int) -> None:
        """Begin to send what is brought."""
        pictures = [draw_phantom(self.side, self.side, opacity=n % 2 == 0, seed=n) for n in range(_PHANTOMS)]
        films = [make_film(pixels=np.round(picture * 4095).astype(np.uint16), bits_stored=12) for picture in pictures]
        self._threads = [threading.Thread(target=self._send_all, args=(films,)) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def bring(self, *orders: Order) -> None:
        """Have films sent."""
        for order in orders:
            self._waiting.put(order)

    def stop(self) -> None:
        """Send nothing more."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _send_all(self, films: list[Dataset]) -> None:
        while not self._end.is_set():
            try:
                order = self._waiting.get(timeout=0.2)
            except Empty:
                continue
            # Whole: a shallow copy shares its elements with what another thread is sending.
            film = copy.deepcopy(films[order.phantom])
            film.StudyInstanceUID = order.study_instance_uid
            film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = order.sop_instance_uid
            while not self._end.is_set():
                status = self._send(film)
                self.statuses[status] += 1
                if status == "0x0000":
                    self.acknowledged[order.sop_instance_uid] = order
                    break
                time.sleep(_AGAIN_SECONDS)

    def _send(self, film: Dataset) -> str:
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", self.port, ae_title="PNEUMO")
        if not association.is_established:
            return "no association"
        try:
            answer = association.send_c_store(film)
        except RuntimeError:
            return "no answer"
        finally:
            association.release()
        return f"0x{answer.Status:04X}" if answer else "no answer"
