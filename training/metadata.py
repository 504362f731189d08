"""The text of a bundle: metadata.json, inference.json and the short model card, made from what was measured."""

from importlib.metadata import version
from typing import Any

from pneumo_monai.bundle import Contract, Preprocessing
from training.assess import SENSITIVITY, Assessment
from training.augmentation import DESCRIPTION

__all__ = ["card", "contract", "inference", "metadata"]

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"

SOURCES = {
    "rsna": "RSNA Pneumonia Detection Challenge (2018)",
    "nih": "NIH Clinical Center ChestX-ray14 (Wang et al., CVPR 2017)",
    "kermany": "Kermany et al., Cell 2018 (CC BY 4.0)",
}
"""Attribution of the `source` values of patients.csv; another value stands for itself."""

INTENDED_USE = (
    "Research use only; not a medical device. Estimates the probability that a frontal chest radiograph (AP or PA) of "
    "an adult shows an opacity suspicious for pneumonia. Not for diagnosis, not for children, not for lateral films."
)

LIMITS = (
    "The label is what readers of the RSNA challenge call lung opacity suspicious for pneumonia, seen on one film and "
    "without clinical data; an infiltrate is not a proof of pneumonia. View, source and prevalence of the training "
    "films influence the result: measure on local films before any use. Probabilities are calibrated to the "
    "prevalence of the validation films, which is far above that of most departments."
)


def contract(assessment: Assessment, *, weights_sha256: str) -> Contract:
    """Return the part of metadata.json that the service reads."""
    films, point = assessment.films, assessment.operating_point
    return Contract(
        weights_sha256=weights_sha256,
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


def metadata(assessment: Assessment, shipped: Contract, *, name: str, release: str, changelog: str) -> dict[str, Any]:
    """Return metadata.json: MONAI's fields and the contract."""
    size = shipped.preprocessing.size
    sources = sorted({SOURCES.get(source, source) for run in assessment.lineage for source in run["sources"]})
    plane = {"spatial_shape": [size, size], "dtype": "float32", "is_patch_data": False, "num_channels": 1}
    return {
        "schema": SCHEMA,
        "name": name,
        "version": release,
        "changelog": {release: changelog},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"pneumo-monai": version("pneumo-monai"), "pydicom": version("pydicom")},
        "supported_apps": {},
        "task": "Opacity suspicious for pneumonia on a frontal chest radiograph",
        "description": (
            "ResNet18 for one grayscale channel and one logit; its class activation map is exact (global average "
            "pooling and one linear layer). " + LIMITS
        ),
        "authors": "The pneumo-monai authors",
        "copyright": "Copyright the pneumo-monai authors; Apache-2.0",
        "intended_use": INTENDED_USE,
        "data_source": "; ".join(sources),
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
                    **plane,
                    "spatial_shape": [1],
                    "value_range": [],
                    "channel_def": {"0": "logit of lung opacity"},
                }
            },
        },
        "pneumo_monai": shipped.model_dump(mode="json"),
    }


def inference(shipped: Contract) -> dict[str, Any]:
    """Return inference.json: what `monai.bundle.ConfigParser` instantiates."""
    return {
        "network_def": {"_target_": "pneumo_monai.network.ResNet18"},
        "preprocessing": {
            "_target_": "pneumo_monai.transforms.preprocessing",
            **shipped.preprocessing.model_dump(),
        },
    }


def card(described: dict[str, Any]) -> str:
    """Return docs/README.md, a short model card that says nothing metadata.json does not."""
    part = described["pneumo_monai"]
    point, calibration = part["operating_point"], part["calibration"]
    lines = [
        f"# {described['name']} {described['version']}",
        "",
        described["intended_use"],
        "",
        described["description"],
        "",
        "## Training",
        "",
        part["training"]["notes"],
        "",
        f"Data: {described['data_source']}.",
        "",
        "## Decision",
        "",
        f"Platt calibration, fitted on {calibration['fitted_on']}. Present at a probability of "
        f"{point['threshold']:.3f} or more ({point['name']}): on those films sensitivity {point['sensitivity']:.3f}, "
        f"specificity {point['specificity']:.3f}.",
        "",
        "## Test part",
        "",
        f"{part['evaluation']['split'].capitalize()}. Intervals: {part['evaluation']['intervals']}.",
        "",
        "| films | exams (positive) | AUROC | average precision | sensitivity | specificity |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for group, subsets in part["evaluation"]["test"].items():
        for name, values in subsets.items():
            cells = [_cell(values, key) for key in ("auroc", "average_precision", "sensitivity", "specificity")]
            lines.append(f"| {group}, {name} | {values['exams']} ({values['positive']}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: dict[str, Any], key: str) -> str:
    return "" if key not in values else "{value:.3f} ({low:.3f} to {high:.3f})".format(**values[key])


def _headlines(assessment: Assessment) -> dict[str, float]:
    return {
        f"AUROC, test part, {group}": subsets["all"]["auroc"]["value"]
        for group, subsets in assessment.metrics["test"].items()
        if "auroc" in subsets["all"]
    }
