"""The MAP's application: the shared graph between a folder of films and a folder of reports."""

from pathlib import Path

from monai.deploy.core import RuntimeEnv, parse_args

from pneumo_monai.errors import ConfigurationError
from pneumo_monai.oneshot import run_folder

__all__ = ["run"]


def run(argv: list[str]) -> bool:
    """Read the input folder once, as the MAP specification has it.

    Parameters
    ----------
    argv : list of str
        The program's name, then ``-i``, ``-o``, ``-m``; what is not given comes from HOLOSCAN_INPUT_PATH,
        HOLOSCAN_OUTPUT_PATH and HOLOSCAN_MODEL_PATH.

    Returns
    -------
    bool
        Whether every file was analysed or refused with a reason, and every report is on disk.

    Raises
    ------
    ConfigurationError
        ``-m`` holds no bundle; and see `pneumo_monai.oneshot.run_folder`.
    """
    arguments, environment = parse_args(argv), RuntimeEnv()
    source, output = arguments.input or environment.input, arguments.output or environment.output
    model = _bundle_below(Path(arguments.model or environment.model))
    if model is None and arguments.model:
        raise ConfigurationError(f"-m {arguments.model}: holds no MONAI Bundle; leave -m out for the package's own")
    return run_folder(Path(source), Path(output), model=model)


def _bundle_below(root: Path) -> Path | None:
    """Return the bundle in the model folder, where a MAP has it; without one, the package's own is used."""
    # The SDK's model factory would look for TorchScript, which the bundle has none of.
    found = sorted(file.parents[1] for file in root.glob("**/configs/metadata.json")) if root.is_dir() else []
    return found[0] if found else None
