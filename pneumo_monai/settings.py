"""One settings tree: environment over file over default; every error names its key.

``PNEUMO_MONAI_LISTENER__PORT=11113`` overrides ``listener: {port: …}`` of the file.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pneumo_monai.errors import ConfigurationError

__all__ = ["Destination", "Ledger", "Listener", "Model", "Settings", "Web", "load_settings"]


def _ae_title(value: str) -> str:
    title = value.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash (PS3.5 6.2, VR AE)")
    return title


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listener(_Section):
    """Where films are received."""

    ae_title: AETitle = "PNEUMO"
    host: str = "127.0.0.1"
    port: ListenPort = 11112
    study_silence: float = Field(
        default=2.0, gt=0, description="Seconds without a film after which an open association's study is reported."
    )


class Destination(_Section):
    """A storage SCP that gets every result."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="Name of the destination in status and logs.")
    ae_title: AETitle
    host: str
    port: Port


class Web(_Section):
    """Where /health, /ready and the status page are served."""

    host: str = "127.0.0.1"
    port: ListenPort = 8080


class Model(_Section):
    """Which bundle reads, and on what."""

    path: Path | None = Field(default=None, description="Folder of a MONAI Bundle; null: the one in the package.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: the GPU when there is one, else the CPU; cuda without a GPU is an error."
    )


class Ledger(_Section):
    """Where the durable state lives."""

    url: str | None = Field(
        default=None, description="null: SQLite in data_dir; or postgresql://user:password@host/db."
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"^(postgresql://|sqlite:////)", url):
            raise ValueError("write postgresql://user:password@host/database, or null for SQLite in data_dir")
        return url


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="PNEUMO_MONAI_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(description="Folder of the spool and of the SQLite ledger; created when it is missing.")
    listener: Listener = Listener()
    destinations: tuple[Destination, ...] = ()
    web: Web = Web()
    model: Model = Model()
    ledger: Ledger = Ledger()

    @field_validator("destinations")
    @classmethod
    def _unique_names(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        names = [destination.name for destination in destinations]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} stands twice; every destination needs a name of its own")
        return destinations

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.ledger.url or f"sqlite:///{self.data_dir.resolve() / 'ledger.sqlite'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content arrives as init settings."""
        del settings_cls, dotenv_settings
        return env_settings, file_secret_settings, init_settings


def load_settings(file: Path) -> Settings:
    """Read and check the configuration file.

    Raises
    ------
    ConfigurationError
        The file is missing or no YAML mapping, or a key is unknown, missing or wrong: the message names each key.
    """
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read ({error.strerror}); pass an existing file to --config"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file}: must be a mapping of keys such as data_dir and listener")
    try:
        return Settings(**content)
    except ValidationError as error:
        lines = [f"{file}: {_key(problem['loc'])}: {_message(problem)}" for problem in error.errors()]
        raise ConfigurationError("\n".join(lines)) from error


def _key(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _message(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key; see docs/settings.md for the keys there are"
    if problem["type"] == "missing":
        return "is missing"
    # The value itself is not repeated: a ledger URL carries a password.
    return str(problem["msg"]).removeprefix("Value error, ")
