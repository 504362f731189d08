"""One settings tree: environment over file over default; every error names its key.

``PNEUMO_MONAI_LISTENER__PORT=11113`` overrides ``listener: {port: …}`` of the file.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.monitoring import Alarms, Audit, Web
from pneumo_monai.sections import Delivery, Destination, IntendedUse, Ledger, Listener, Model, Report, Retention

__all__ = [
    "Alarms",
    "Audit",
    "Delivery",
    "Destination",
    "IntendedUse",
    "Ledger",
    "Listener",
    "Model",
    "Report",
    "Retention",
    "Settings",
    "Web",
    "load_intended_use",
    "load_report",
    "load_settings",
]

_PREFIX = "PNEUMO_MONAI_"
_NESTING = "__"
_UNKNOWN = "unknown key; see docs/settings.md for the keys there are"

Tree = TypeVar("Tree", bound=BaseSettings)

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
    delivery: Delivery = Delivery()
    web: Web = Web()
    alarms: Alarms = Alarms()
    audit: Audit = Audit()
    model: Model = Model()
    intended_use: IntendedUse = IntendedUse()
    report: Report = Report()
    retention: Retention = Retention()
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
    report: Report = Report()


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


def load_report() -> Report:
    """Read `report` from the environment alone, as `load_intended_use` does its own.

    Raises
    ------
    ConfigurationError
        A value is wrong: the message names its variable.
    """
    return _checked(_OneShot, "the environment", {}).report


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
