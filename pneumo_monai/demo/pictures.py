"""Pictures of the films a report speaks of, from the very stages that read them."""

from functools import cache
from pathlib import Path

from pneumo_monai.bundle import PACKAGED, Bundle
from pneumo_monai.engine import Engine, choose_device
from pneumo_monai.overlay import draw_finding
from pneumo_monai.reading import Reading
from pneumo_monai.settings import load_intended_use
from pneumo_monai.study import Film, Study

__all__ = ["draw_pictures"]


def draw_pictures(files: list[Path], folder: Path) -> list[Path]:
    """Draw each film that may be read, with its class activation map, as PNG; return the paths."""
    reading = _reading()
    study = Study(study_instance_uid="", films=tuple(Film(path=file) for file in files))
    for stage in (reading.load, reading.gate, reading.preprocess, reading.infer):
        study = stage(study)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for film in study.films:
        if film.finding is None or film.pixels is None:
            continue
        path = folder / f"{film.finding.sop_instance_uid}.png"
        draw_finding(film.pixels, film.finding, reading.engine.bundle.operating_point).save(path)
        pictures.append(path)
    return pictures


@cache
def _reading() -> Reading:
    return Reading(Engine(Bundle(PACKAGED), choose_device("auto")), load_intended_use())
