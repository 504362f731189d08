"""Settings of what an administrator watches: the web port, alarms, the audit trail."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from pneumo_monai.connections import Section, is_loopback
from pneumo_monai.errors import ConfigurationError

__all__ = ["WEEKDAYS", "Alarms", "Audit", "Web"]

_SHORTEST_TOKEN = 16
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _hours(value: str) -> str:
    found = _HOURS.fullmatch(value.strip())
    begin, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if not begin < end <= 24 * 60:
        raise ValueError("write begin and end of the hours of one day, such as 08:00-18:00 or 00:00-24:00")
    return value.strip()


def _long_enough(token: SecretStr) -> SecretStr:
    if problem := _problem(token.get_secret_value()):
        raise ValueError(problem)
    return token


def _problem(token: str) -> str | None:
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        return (
            f"has {_SHORTEST_TOKEN} or more printable ASCII characters without spaces; `openssl rand -hex 32` makes one"
        )
    return None


def _address(url: SecretStr) -> SecretStr:
    if not re.fullmatch(r"https?://[^\s/]+\S*", url.get_secret_value()):
        raise ValueError("write an address that begins with http:// or https://")
    return url


def _server(value: str) -> str:
    if not re.fullmatch(r"(udp|tcp)://[^\s/:@]+:[1-9]\d{0,4}|(udp|tcp)://\[[0-9a-fA-F:]+\]:[1-9]\d{0,4}", value):
        raise ValueError("write udp://host:514 or tcp://host:601")
    return value


class Web(Section):
    """Where /health, /ready, /metrics and the status page are served, and to whom."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    token: Annotated[SecretStr, AfterValidator(_long_enough)] | None = Field(
        default=None, description="What every caller must know; best from the environment."
    )
    token_file: Path | None = Field(default=None, description="File whose first line is the token.")
    behind_proxy: bool = Field(default=False, description="Whether a reverse proxy asks who calls.")

    @model_validator(mode="after")
    def _asks_who_calls(self) -> Self:
        if not is_loopback(self.host) and self.token is None and self.token_file is None and not self.behind_proxy:
            raise ValueError(
                "host can be reached by others than this machine, and nobody is asked who they are: set token_file "
                "(or PNEUMO_MONAI_WEB__TOKEN), or behind_proxy: true where a reverse proxy asks"
            )
        return self

    def read_token(self) -> str | None:
        """Return the token, from the file if it is there; None: nobody is asked.

        Raises
        ------
        ConfigurationError
            The file cannot be read, or its first line is no token.
        """
        if self.token is not None:
            return self.token.get_secret_value()
        if self.token_file is None:
            return None
        try:
            lines = self.token_file.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError as error:
            raise ConfigurationError(
                f"web.token_file: {self.token_file} cannot be read ({error.strerror}); give it to this user"
            ) from None
        token = lines[0].strip() if lines else ""
        if problem := _problem(token):
            raise ConfigurationError(f"web.token_file: the first line of {self.token_file} is no token; one {problem}")
        return token


class Alarms(Section):
    """What is worth a line in the log, a metric and a call."""

    silence_minutes: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Minutes without a film, within the hours below."
    )
    weekdays: tuple[Weekday, ...] = WEEKDAYS[:5]
    hours: Annotated[str, AfterValidator(_hours)] = "08:00-18:00"
    backlog: int | None = Field(default=100, ge=1, description="Films and reports that wait.")
    backlog_minutes: float = Field(default=15.0, gt=0, allow_inf_nan=False, description="For so long, and no fewer.")
    webhook: Annotated[SecretStr, AfterValidator(_address)] | None = Field(
        default=None, description="Address that is called by HTTP POST; it may hold a secret."
    )

    @property
    def span(self) -> tuple[int, int]:
        """Begin and end of the hours, minutes since midnight."""
        begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in self.hours.split("-"))
        return begin, end


class Audit(Section):
    """Where the audit trail goes."""

    file: Path | None = Field(default=None, description="File that records are appended to, one a line.")
    fsync: bool = Field(default=True, description="Whether each record is on the disk before the work goes on.")
    syslog: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None, description="Server that gets them too."
    )
