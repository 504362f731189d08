"""What a bundle says of itself: metadata.json, made from what was measured, and inference.json."""

from importlib.metadata import version
from typing import Any

from pneumo_monai.bundle import Contract, Preprocessing
from training.assess import SENSITIVITY, Assessment
from training.augmentation import DESCRIPTION

__all__ = ["contract", "inference", "metadata"]

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""Named because `monai.bundle` wants a URL; what the bundle is held to is `training.schema`."""

SOURCES = {
    "rsna": "RSNA Pneumonia Detection Challenge (2018)",
    "nih": "NIH Clinical Center ChestX-ray14 (Wang et al., CVPR 2017)",
    "kermany": "Kermany et al., Cell 2018 (CC BY 4.0)",
}
"""Attribution of the `source` values of patients.csv; another value stands for itself."""

CITATIONS = {
    "rsna": (
        "RSNA Pneumonia Detection Challenge (2018): Shih et al. Augmenting the NIH Chest Radiograph Dataset with "
        "Expert Annotations of Possible Pneumonia. Radiology: Artificial Intelligence 2019. "
        "https://doi.org/10.1148/ryai.2019180041. Labels by readers of RSNA and the Society of Thoracic Radiology"
    ),
    "nih": (
        "ChestX-ray14: Wang et al. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks. CVPR 2017. "
        "https://doi.org/10.1109/CVPR.2017.369. The NIH Clinical Center provided the films"
    ),
    "kermany": (
        "Kermany et al. Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning. Cell 2018. "
        "https://doi.org/10.1016/j.cell.2018.02.010 (CC BY 4.0)"
    ),
}
"""How the owners of the data want it cited."""

INTENDED_USE = (
    "Research use only; not a medical device. Estimates the probability that a frontal chest radiograph (AP or PA) of "
    "an adult (18 and over) shows an opacity suspicious for pneumonia. Not for diagnosis, not for children, not for "
    "lateral films."
)

LIMITATIONS = (
    "The label is what readers of the RSNA challenge call lung opacity suspicious for pneumonia, seen on one film and "
    "without clinical data; an infiltrate is not a proof of pneumonia.",
    "View, source and prevalence of the training films influence the result: measure on local films before any use.",
    "Probabilities are calibrated to the mix of the validation films; where pneumonia is rarer they are too high.",
    "Intended for adults (18 and over); not to be used on films of children.",
)

ONE_HOSPITAL = (
    "The films of the RSNA challenge and of ChestX-ray14 come from one hospital. Other hospitals, makers of X-ray "
    "units and populations were not measured."
)

LUNGS_ONLY = (
    "Only the lung fields are read, as the segmentation finds them: what it takes for no lung, such as a lobe that is "
    "white as a whole, is not seen."
)


def contract(assessment: Assessment, *, weights_sha256: str, sections: dict[str, dict[str, Any]]) -> Contract:
    """Return the part of metadata.json that the service reads.

    Parameters
    ----------
    assessment : Assessment
        What was measured.
    weights_sha256 : str
        Of model.pt.
    sections : dict of str to dict
        Of the other networks of the bundle, each under its key.
    """
    films, point = assessment.films, assessment.operating_point
    return Contract(
        weights_sha256=weights_sha256,
        **sections,
        preprocessing=Preprocessing(size=films.recipe.size, mean=films.mean, std=films.std),
        calibration=assessment.calibration,
        operating_point={
            "name": point.name,
            "threshold": point.threshold,
            "sensitivity": point.sensitivity,
            "specificity": point.specificity,
        },
        training={
            "notes": films.recipe.notes,
            "normalisation": "mean and standard deviation of the training part only, each group weighed by its draws",
            "augmentation": DESCRIPTION,
            "runs": [{key: value for key, value in run.items() if key != "persons"} for run in assessment.lineage],
        },
        evaluation={
            "weights": "float16, as shipped",
            "split": "by person across all data folders; no person of the validation or test part was trained on",
            "selection": (
                f"epoch, calibration and operating point ({SENSITIVITY:.2f} sensitivity) were chosen on the validation "
                "part, never on the test part"
            ),
            **assessment.metrics,
        },
    )


def metadata(
    assessment: Assessment, shipped: Contract, *, name: str, release: str, changelog: dict[str, str]
) -> dict[str, Any]:
    """Return metadata.json: MONAI's fields and the contract."""
    size = shipped.preprocessing.size
    sources = sorted({source for run in assessment.lineage for source in run["sources"]})
    plane = {"spatial_shape": [size, size], "dtype": "float32", "is_patch_data": False, "num_channels": 1}
    return {
        "schema": SCHEMA,
        "name": name,
        "version": release,
        "changelog": changelog,
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"pneumo-monai": version("pneumo-monai"), "pydicom": version("pydicom")},
        "supported_apps": {},
        "task": "Opacity suspicious for pneumonia on a frontal chest radiograph",
        "description": (
            "ResNet18 for one grayscale channel and one logit; its class activation map is exact (global average "
            "pooling and one linear layer). "
            + (
                "A small U-Net finds the lungs, and films are cut to them before they are read."
                if shipped.lungs
                else "Films are read whole."
            )
        ),
        "authors": "The pneumo-monai authors",
        "copyright": "Copyright the pneumo-monai authors; Apache-2.0",
        "intended_use": INTENDED_USE,
        "limitations": [
            *LIMITATIONS,
            *([ONE_HOSPITAL] if {"rsna", "nih"}.issuperset(sources) else []),
            *([LUNGS_ONLY] if shipped.lungs else []),
        ],
        "data_source": "; ".join(sorted(SOURCES.get(source, source) for source in sources)),
        "data_citations": [CITATIONS[source] for source in sources if source in CITATIONS],
        "data_type": "DICOM",
        "image_classes": "one channel, displayed values in [0, 1], normalised with mean and standard deviation",
        "label_classes": "1: lung opacity suspicious for pneumonia, 0: none",
        "pred_classes": "one logit; probability = sigmoid(slope * logit + intercept) of pneumo_monai.calibration",
        "eval_metrics": _headlines(assessment),
        "references": [
            "Shih et al. Augmenting the NIH Chest Radiograph Dataset with Expert Annotations of Possible Pneumonia. "
            "Radiology: Artificial Intelligence 2019. https://doi.org/10.1148/ryai.2019180041",
            "Wang et al. ChestX-ray8. CVPR 2017. https://doi.org/10.1109/CVPR.2017.369",
            "He et al. Deep Residual Learning for Image Recognition. CVPR 2016. https://doi.org/10.1109/CVPR.2016.90",
        ],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "CR, DX",
                    **plane,
                    "value_range": [],
                    "channel_def": {"0": "radiograph"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "modality": "n/a",
                    **plane,
                    "spatial_shape": [1],
                    "value_range": [],
                    "channel_def": {"0": "logit of lung opacity"},
                }
            },
        },
        "pneumo_monai": shipped.model_dump(mode="json"),
    }


def inference() -> dict[str, Any]:
    """Return inference.json, which `monai.bundle` runs: the stages of the service, from a folder to probabilities.

    It holds no constant of its own; what was measured stands in metadata.json, from where `Engine` takes it.
    """
    return {
        "imports": ["$import json", "$from pathlib import Path"],
        "bundle_root": ".",
        "dataset_dir": "films",
        "output": "predictions.json",
        "device": {"_target_": "pneumo_monai.engine.choose_device", "wish": "auto"},
        "network_def": {"_target_": "pneumo_monai.network.ResNet18"},
        "bundle": {"_target_": "pneumo_monai.bundle.Bundle", "path": "$Path(@bundle_root)"},
        "engine": {"_target_": "pneumo_monai.engine.Engine", "bundle": "@bundle", "device": "@device"},
        "preprocessing": "$lambda film: @engine.prepare(film).tensor",
        "inferer": "$@engine.read",
        "reading": {"_target_": "pneumo_monai.reading.Reading", "engine": "@engine"},
        "dataset": {"_target_": "pneumo_monai.folder.find_studies", "folder": "$Path(@dataset_dir)"},
        "read": "$lambda study: @reading.infer(@reading.preprocess(@reading.gate(@reading.load(study))))",
        "describe": (
            "$lambda film: {'film': film.path.name, 'probability': film.finding and film.finding.probability, "
            "'present': film.finding and film.finding.present, 'refused': film.refused and str(film.refused), "
            "'failed': film.failed, 'remarks': film.remarks}"
        ),
        "run": (
            "$Path(@output).write_text("
            "json.dumps([@describe(film) for study in @dataset for film in @read(study).films], indent=2))"
        ),
    }


def _headlines(assessment: Assessment) -> dict[str, float]:
    return {
        f"AUROC, test part, {group}": subsets["all"]["auroc"]["value"]
        for group, subsets in assessment.metrics["test"].items()
        if "auroc" in subsets["all"]
    }
