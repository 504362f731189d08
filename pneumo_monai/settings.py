"""One settings tree: environment over file over default; every error names its key.

``PNEUMO_MONAI_LISTENER__PORT=11113`` overrides ``listener: {port: …}`` of the file.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pneumo_monai.connections import AETitle, DestinationTls, Limits, ListenerTls, Peer, Section
from pneumo_monai.errors import ConfigurationError

__all__ = [
    "Destination",
    "IntendedUse",
    "Ledger",
    "Listener",
    "Model",
    "Settings",
    "Web",
    "load_intended_use",
    "load_settings",
]

_PREFIX = "PNEUMO_MONAI_"
_NESTING = "__"
_UNKNOWN = "unknown key; see docs/settings.md for the keys there are"


Tree = TypeVar("Tree", bound=BaseSettings)

Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]


class Listener(Section):
    """Where films are received."""

    ae_title: AETitle = "PNEUMO"
    host: Host = "127.0.0.1"
    port: ListenPort = 11112
    study_silence: float = Field(
        default=2.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds without a film after which an open association's study is reported.",
    )
    peers: tuple[Peer, ...] = Field(default=(), description="Who may open an association; none: everybody.")
    require_called_ae_title: bool = Field(default=False, description="Whether ae_title must be the one that is called.")
    limits: Limits = Limits()
    tls: ListenerTls | None = Field(default=None, description="null: connections are not encrypted.")


class Destination(Section):
    """A storage SCP that gets every result."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="Name of the destination in status and logs.")
    ae_title: AETitle
    host: Host
    port: Port
    tls: DestinationTls | None = Field(default=None, description="null: the connection is not encrypted.")


class Web(Section):
    """Where /health, /ready and the status page are served."""

    host: Host = "127.0.0.1"
    port: ListenPort = 8080


class Model(Section):
    """Which bundle reads, and on what."""

    path: Path | None = Field(default=None, description="Folder of a MONAI Bundle; null: the one in the package.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: the GPU when there is one, else the CPU; cuda without a GPU is an error."
    )


class IntendedUse(Section):
    """For whom the model may read, and what becomes of other films: refused, or read with a remark in the report."""

    minimum_age: int = Field(default=18, ge=0, le=122, description="Years; 0: films of every age are read.")
    younger: Literal["refuse", "flag"] = Field(default="refuse", description="What becomes of younger patients' films.")
    age_missing: Literal["refuse", "flag"] = Field(
        default="flag", description="What becomes of films whose header states no age."
    )
    unlike_chest: Literal["refuse", "flag", "accept"] = Field(
        default="refuse", description="What becomes of pictures that do not look like a frontal chest film."
    )
    inverted: Literal["refuse", "flag", "accept"] = Field(
        default="flag", description="What becomes of pictures that look like the negative of a chest film."
    )


class Ledger(Section):
    """Where the durable state lives."""

    url: str | None = Field(
        default=None, description="null: SQLite in data_dir; or postgresql://user:password@host/db."
    )

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str | None) -> str | None:
        if url is not None and not _is_database(url):
            raise ValueError("write postgresql://user:password@host/database, or null for SQLite in data_dir")
        return url


def _is_database(url: str) -> bool:
    # SQLAlchemy takes a while to import, and most sites have no URL.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False
    database = parsed.database or ""
    return (
        bool(database) if parsed.drivername == "postgresql" else parsed.drivername == "sqlite" and database[:1] == "/"
    )


_SOURCES = SettingsConfigDict(
    env_prefix=_PREFIX,
    env_nested_delimiter=_NESTING,
    extra="forbid",
    frozen=True,
    hide_input_in_errors=True,
    nested_model_default_partial_update=True,
)


class Settings(BaseSettings):
    """The whole tree."""

    model_config = _SOURCES

    data_dir: Path = Field(description="Folder of the spool and of the SQLite ledger; created when it is missing.")
    listener: Listener = Listener()
    destinations: tuple[Destination, ...] = ()
    web: Web = Web()
    model: Model = Model()
    intended_use: IntendedUse = IntendedUse()
    ledger: Ledger = Ledger()

    @field_validator("data_dir", mode="before")
    @classmethod
    def _named_folder(cls, folder: Any) -> Any:
        if folder == "":
            raise ValueError("is empty; name a folder, best by its absolute path")
        return folder

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


class _OneShot(BaseSettings):
    """What a folder's run needs of the tree: it has no configuration file."""

    model_config = _SOURCES

    intended_use: IntendedUse = IntendedUse()


def load_settings(file: Path) -> Settings:
    """Read and check the configuration file.

    Raises
    ------
    ConfigurationError
        The file is missing or no YAML mapping, or a key is unknown, missing or wrong: the message names each key.
    """
    content = _read(file)
    if strangers := [key for key in content if key not in Settings.model_fields]:
        raise ConfigurationError("\n".join(f"{file}: {key}: {_UNKNOWN}" for key in strangers))
    return _checked(Settings, str(file), content)


def load_intended_use() -> IntendedUse:
    """Read `intended_use` from the environment alone, for what runs without a configuration file.

    Raises
    ------
    ConfigurationError
        A value is wrong: the message names its variable.
    """
    return _checked(_OneShot, "the environment", {}).intended_use


def _checked(tree: type[Tree], source: str, content: dict[Any, Any]) -> Tree:
    try:
        return tree(**content)
    except SettingsError as error:
        raise ConfigurationError(f"the environment: {error}; sections and lists are written as JSON") from None
    except ValidationError as error:
        problems = error.errors(include_input=False)
    lines = [f"{_source(source, p['loc'])}: {_key(p['loc'])}: {_message(p)}" for p in problems]
    raise ConfigurationError("\n".join(lines))


def _read(file: Path) -> dict[Any, Any]:
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read ({error.strerror}); pass an existing file to --config"
        ) from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: is no text in UTF-8") from None
    except yaml.YAMLError as error:
        # Neither its text nor its context is shown: they quote the line, and a ledger URL carries a password.
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{file}{place}: is not valid YAML: {problem or 'it cannot be parsed'}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file}: must be a mapping of keys such as data_dir and listener")
    return content


def _source(file: str, location: tuple[int | str, ...]) -> str:
    """Name where a key was set: a variable of the environment, else the file."""
    variables = {name.upper(): name for name in os.environ}
    for end in range(len(location), 0, -1):
        name = _PREFIX + _NESTING.join(map(str, location[:end])).upper()
        if name in variables:
            return variables[name]
    return file


def _key(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _message(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return _UNKNOWN
    if problem["type"] == "missing":
        return "is missing"
    # The value itself is not repeated: a ledger URL carries a password.
    return str(problem["msg"]).removeprefix("Value error, ")
