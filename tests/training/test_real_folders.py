"""The shared radiographs, where they are present: the folders are read as they come."""

import os
from collections import Counter
from pathlib import Path

import pydicom
import pytest
import torch
from monai.utils import CommonKeys

from pneumo_monai.pixels import read_film
from pneumo_monai.transforms import preprocessing
from training.cache import PixelCache
from training.datamodule import FilmDataset
from training.recipe import Recipe
from training.records import OPACITY, read_folders
from training.split import Part, check_parts, split_by_person

DATA = Path(os.environ.get("PNEUMO_MONAI_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDERS = [DATA / name for name in ("nih-frontal", "rsna-lungs", "rsna-normal")]

pytestmark = [
    pytest.mark.rsna,
    pytest.mark.skipif(not all(folder.is_dir() for folder in FOLDERS), reason="the shared radiographs are not here"),
]


def test_labels_and_the_split_of_the_shipped_model() -> None:
    exams = read_folders(FOLDERS)
    assert Counter(exam.folder for exam in exams) == {"nih-frontal": 706, "rsna-lungs": 9845, "rsna-normal": 1724}
    assert all((exam.target == 1) == (exam.klass == OPACITY) for exam in exams)
    assert all(exam.boxes for exam in exams if exam.target and exam.folder == "rsna-lungs")
    recipe = Recipe.read(Path(__file__).parents[2] / "training" / "configs" / "cut-128.yaml", {})
    parts = split_by_person(exams, recipe)
    check_parts(parts, exams, trained=())
    test = Counter(exam.group for exam in exams if parts[exam.person] is Part.TEST)
    assert test["nih-frontal/radiologist"] == 139
    assert test["rsna-lungs/radiologist"] == pytest.approx(0.16 * 9845, rel=0.1)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_real_film_is_the_tensor_that_the_service_computes(folder: Path, tmp_path: Path) -> None:
    serve = preprocessing(size=224, mean=0.5, std=0.25)
    cache = PixelCache(tmp_path)
    exams, skipped = cache.fill(read_folders([folder])[:3], side=224, depth="float32")
    assert not skipped
    for place, item in enumerate(FilmDataset(exams, cache, side=224, depth="float32", transform=serve)):
        assert torch.equal(item[CommonKeys.IMAGE], serve(read_film(pydicom.dcmread(exams[place].path))))
