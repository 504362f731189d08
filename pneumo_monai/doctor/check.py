"""One line of the doctor's: what was looked at, what was found, and the remedy."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Verdict", "good", "unknown", "wrong"]


class Verdict(StrEnum):
    """How something stands."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """The system does not tell: nothing is known to be wrong."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at.

    Attributes
    ----------
    name : str
        A few words, such as ``port of the listener``.
    found : str
        How it is. No patient data, no secret.
    remedy : str
        What to do; empty where nothing need be done.
    """

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The check as one line."""
        text = f"{self.verdict:<8}{self.name}: {self.found}" + (f"; {self.remedy}" if self.remedy else "")
        return " ".join(text.splitlines())


def good(name: str, found: str) -> Check:
    """Return a check that found nothing to mend."""
    return Check(name=name, verdict=Verdict.OK, found=found)


def wrong(name: str, found: str, remedy: str = "") -> Check:
    """Return a check that found something to mend."""
    return Check(name=name, verdict=Verdict.WRONG, found=found, remedy=remedy)


def unknown(name: str, found: str, remedy: str = "") -> Check:
    """Return a check that the system gave no answer to."""
    return Check(name=name, verdict=Verdict.UNKNOWN, found=found, remedy=remedy)
