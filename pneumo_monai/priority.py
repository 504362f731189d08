"""Which study is read and delivered before others."""

from enum import StrEnum

__all__ = ["Priority"]


class Priority(StrEnum):
    """How much a study matters beside others, in the order in which they are served."""

    STAT = "stat"
    ROUTINE = "routine"
    LOW = "low"

    @classmethod
    def of_request(cls, code: int | None) -> "Priority":
        """Return what Priority (0000,0700) of a C-STORE request says (PS3.7 9.3.1.1).

        LOW counts as MEDIUM: some libraries, pynetdicom among them, send it unless they are told otherwise, and nobody
        meant anything by it.
        """
        return cls.STAT if code == cls.STAT.code else cls.ROUTINE

    @property
    def code(self) -> int:
        """Its value of Priority (0000,0700): HIGH, MEDIUM, LOW."""
        return {Priority.STAT: 0x0001, Priority.ROUTINE: 0x0000, Priority.LOW: 0x0002}[self]

    @property
    def rank(self) -> int:
        """1 is served first."""
        return list(Priority).index(self) + 1
