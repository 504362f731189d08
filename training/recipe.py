"""One experiment's settings: a YAML file of `training/configs`, overridden by the command line, stored with the run."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pneumo_monai.errors import ConfigurationError

__all__ = ["Recipe", "Shares"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shares(_Strict):
    """Shares of the persons that are held out; the rest is the training part."""

    validation: float = Field(default=0.10, gt=0.0, lt=1.0)
    test: float = Field(default=0.15, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _leave_something(self) -> "Shares":
        if self.validation + self.test >= 1.0:
            raise ValueError("validation and test leave no training part; lower one of them")
        return self


class Recipe(_Strict):
    """Everything that decides what a run learns, beside the data and the initial weights.

    A group is a data folder's name and a label quality, ``nih-frontal/radiologist``.

    Attributes
    ----------
    size : int
        Side of the network's input in pixels.
    positive_weight : float or None
        Weight of a positive film in the loss; None: as many as make both classes weigh the same among what is drawn.
    draws : dict of str to float
        Share of each group among the films drawn for an epoch; groups that are not named are not drawn. Empty: every
        film of the training part once an epoch.
    draws_per_epoch : int or None
        Films drawn for an epoch; None: as many as the training part has.
    select_on : list of str
        Groups whose validation films choose the best epoch, the calibration and the operating point. Empty: all.
    split : Shares
        Held-out shares, and `split_by_group` where a group differs.
    notes : str
        What a reader of the model card must know about the data and the road to the weights.
    """

    size: int = Field(default=224, ge=32, multiple_of=32)
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float = Field(default=3e-4, gt=0.0)
    weight_decay: float = Field(default=1e-4, ge=0.0)
    warm_up_epochs: float = Field(default=1.0, ge=0.0)
    gradient_clip: float = Field(default=1.0, gt=0.0)
    positive_weight: float | None = Field(default=None, gt=0.0)
    draws: dict[str, float] = Field(default_factory=dict)
    draws_per_epoch: int | None = Field(default=None, ge=2)
    select_on: list[str] = Field(default_factory=list)
    split: Shares = Shares()
    split_by_group: dict[str, Shares] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    notes: str = ""

    @classmethod
    def read(cls, file: Path | None, overrides: dict[str, Any]) -> "Recipe":
        """Read a YAML file (None: the defaults) and put the overrides that are not None on top.

        Raises
        ------
        ConfigurationError
            The file cannot be read, or a key is unknown or out of range; the message names both.
        """
        try:
            values = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file else {}
            given = {key: value for key, value in overrides.items() if value is not None}
            return cls.model_validate({**values, **given})
        except OSError as error:
            raise ConfigurationError(
                f"{file} cannot be read: {error.strerror}; give --config an existing file"
            ) from None
        except (yaml.YAMLError, TypeError, ValidationError) as error:
            raise ConfigurationError(f"{file or 'the command line'}: {error}") from error

    def write(self, file: Path) -> None:
        """Write the YAML that `read` reads."""
        file.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
