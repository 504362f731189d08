"""One experiment's settings: a YAML file of `training/configs`, overridden by the command line, stored with the run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pneumo_monai.errors import ConfigurationError

__all__ = ["LungRecipe", "Objective", "Recipe", "Shares", "overrides_from"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_R = TypeVar("_R", bound=_Strict)


class Shares(_Strict):
    """Shares of the persons that are held out; the rest is the training part."""

    validation: float = Field(default=0.10, ge=0.0, le=1.0)
    test: float = Field(default=0.15, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _leave_something(self) -> "Shares":
        if self.validation + self.test > 1.0:
            raise ValueError("validation and test are more than all; lower one of them")
        return self


class Objective(_Strict):
    """What is minimised.

    Attributes
    ----------
    positive_weight : float or "balanced"
        Weight of a positive film; balanced: both classes weigh the same among what is drawn.
    focal_gamma : float
        Of the focal loss; 0: cross-entropy.
    label_smoothing : float
        Share of the label that is spread over both classes.
    class_weight : float
        Weight of an auxiliary loss of the challenge's three detailed classes.
    box_weight : float
        Weight of an auxiliary loss of where the boxes are.
    """

    positive_weight: float | Literal["balanced"] = "balanced"
    focal_gamma: float = Field(default=0.0, ge=0.0)
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    class_weight: float = Field(default=0.0, ge=0.0)
    box_weight: float = Field(default=0.0, ge=0.0)

    @property
    def is_auxiliary(self) -> bool:
        """Whether the auxiliary heads are needed."""
        return self.class_weight > 0.0 or self.box_weight > 0.0


class Recipe(_Strict):
    """Everything that decides what a run learns, beside the data and the initial weights.

    A group is a data folder's name and a label quality, ``nih-frontal/radiologist``.

    Attributes
    ----------
    size : int
        Side of the network's input in pixels.
    progressive : dict of int to int
        Side of the training films from an epoch on, until the next entry; `size` before the first. Validation always
        has `size`.
    batch_size : int
        Films of one optimizer step, over all processes: the same recipe learns the same on one GPU and on four.
    accumulate : int
        Pieces of its part of a batch that each process works through one after the other: less memory for the same
        step. Batch normalisation sees one piece at a time.
    precision : "auto", "32-true", "bf16-mixed" or "16-mixed"
        Of the step, as Lightning names it; auto: 16-mixed on a GPU, else 32-true. A processor with bfloat16 of its own
        takes a step in half the time with bf16-mixed.
    augment : bool
        Change the training films at random; off only to see what that is worth.
    ema_decay : float
        Of the exponential moving average of the weights, which is what is validated and kept; 0: none.
    patience : int or None
        Epochs without a better validation AUROC after which the run stops; None: it never does.
    objective : Objective
        What is minimised.
    balance : bool
        Draw as many positive as negative films.
    draws : dict of str to float
        Share of each group among the films drawn for an epoch; groups that are not named are not drawn. Empty: every
        film of the training part once an epoch.
    draws_per_epoch : int or None
        Films drawn for an epoch; None: as many as the training part has.
    select_on : list of str
        Groups whose validation films choose the best epoch, the calibration and the operating point. Empty: all.
    mix : dict of str to float
        Shares of the detailed classes where the model will be used, or of the whole challenge: calibration, operating
        point and figures are of films weighed to them. Empty: as the films come.
    split : Shares
        Held-out shares, and `split_by_group` where a group differs.
    notes : str
        What a reader of the model card must know about the data and the road to the weights.
    """

    size: int = Field(default=224, ge=32, multiple_of=32)
    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    augment: bool = True
    learning_rate: float = Field(default=3e-4, gt=0.0)
    weight_decay: float = Field(default=1e-4, ge=0.0)
    warm_up_epochs: float = Field(default=1.0, ge=0.0)
    gradient_clip: float = Field(default=1.0, gt=0.0)
    progressive: dict[int, int] = Field(default_factory=dict)
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    patience: int | None = Field(default=None, ge=1)
    objective: Objective = Objective()
    balance: bool = False
    draws: dict[str, float] = Field(default_factory=dict)
    draws_per_epoch: int | None = Field(default=None, ge=2)
    select_on: list[str] = Field(default_factory=list)
    split: Shares = Shares()
    split_by_group: dict[str, Shares] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0)
    mix: dict[str, float] = Field(default_factory=dict)
    notes: str = ""

    @model_validator(mode="after")
    def _divisible(self) -> "Recipe":
        if odd := [side for side in self.progressive.values() if side < 32 or side % 32]:
            raise ValueError(f"progressive: {odd[0]} is no multiple of 32")
        return self

    def size_at(self, epoch: int) -> int:
        """Return the side of the training films in an epoch, counted from 0."""
        begun = [start for start in self.progressive if start <= epoch]
        return self.progressive[max(begun)] if begun else self.size

    @property
    def sizes(self) -> list[int]:
        """Return every side that training films have in some epoch."""
        return sorted({self.size_at(epoch) for epoch in (0, *self.progressive) if epoch < self.epochs})

    @classmethod
    def read(cls, file: Path | None, overrides: dict[str, Any]) -> "Recipe":
        """Read a YAML file (None: the defaults) and put the overrides on top.

        Parameters
        ----------
        overrides : dict of str to object
            A dot leads into a section: ``objective.focal_gamma``. See `overrides_from`.

        Raises
        ------
        ConfigurationError
            The file cannot be read, or a key is unknown or out of range; the message names both.
        """
        return _read(cls, file, overrides)

    def write(self, file: Path) -> None:
        """Write the YAML that `read` reads."""
        file.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


class LungRecipe(_Strict):
    """Everything that decides what the segmentation of the lungs learns, beside the data.

    Attributes
    ----------
    cut : list of str
        Data folders whose films are cut to the lungs: what is not blank is their mask.
    cut_films : int
        As many of those are used in each part: they are easier than whole films.
    """

    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=2e-3, gt=0.0)
    cut: list[str] = Field(default_factory=list)
    cut_films: int = Field(default=1200, ge=0)
    seed: int = Field(default=0, ge=0)

    @classmethod
    def read(cls, file: Path | None, overrides: dict[str, Any]) -> "LungRecipe":
        """Read a YAML file as `Recipe.read` does."""
        return _read(cls, file, overrides)


def overrides_from(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` as the command line gives them; values are YAML.

    Raises
    ------
    ConfigurationError
        There is no ``=``, or the value is no YAML.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"--set {setting}: give KEY=VALUE, as in --set objective.focal_gamma=2")
        try:
            found[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigurationError(f"--set {setting}: the value is no YAML; put it in quotation marks") from None
    return found


def _read(kind: type[_R], file: Path | None, overrides: dict[str, Any]) -> _R:
    try:
        values = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file else {}
        for key, value in overrides.items() if isinstance(values, dict) else ():
            _put(values, key.split("."), value)
        return kind.model_validate(values)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}; give --config an existing file") from None
    except ValidationError as error:
        problems = "; ".join(_explained(kind, problem) for problem in error.errors())
        raise ConfigurationError(f"{file or 'the recipe'}: {problems}") from error
    except (yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{file or 'the recipe'}: {error}") from error


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    first, *rest = path
    key: str | int = int(first) if first.isdigit() else first
    if rest:
        section = values.get(key)
        values[key] = section if isinstance(section, dict) else {}
        _put(values[key], rest, value)
    else:
        values[key] = value


def _explained(kind: type[BaseModel], problem: Any) -> str:
    """Say in one line what is wrong with which key."""
    path = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        return f"{'.'.join(path) or 'all'}: {problem['msg']}"
    owner: type[BaseModel] = kind
    for part in path[:-1]:
        # A section is a model or, as split_by_group, a model for each name.
        field = owner.model_fields.get(part)
        inside = (field.annotation, *get_args(field.annotation)) if field else ()
        owner = next((kind for kind in inside if isinstance(kind, type) and issubclass(kind, BaseModel)), owner)
    return f"{'.'.join(path)} is no key; the keys are {', '.join(owner.model_fields)}"
