"""Two independent judges of Structured Reports: what each says of a file.

``dciodvfy`` (David Clunie's dicom3tools) checks attributes against the IOD and values against their representation;
PixelMed's ``DicomSRValidator`` checks the content tree against its templates, TID 1500 and all that it includes.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

__all__ = ["dciodvfy", "errors", "sr_validator"]

_JAR = Path("/usr/share/java/pixelmed.jar")
_RUNNER = Path(__file__).with_name("JudgeReports.java")

# PixelMed's rules are larger than what the JDK lets an XPath expression be.
_JDK_LIMITS = [f"-Djdk.xml.xpath{limit}=0" for limit in ("ExprGrpLimit", "ExprOpLimit", "TotalOpLimit")]

# The rules run once each: optimising them costs more than it saves.
_QUICK_START = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

# CID 100, Quantitative Diagnostic Imaging Procedures, is a baseline group (BCID) and extensible: a more precise code
# outside it conforms (PS3.16 6.2.3), though the validator reports it as an error.
_BASELINE_GROUP = re.compile(r"^Error: .*Procedure reported.*not found in context group 100$")


def errors(verdict: str) -> list[str]:
    """Return the lines of a verdict that say that the report is wrong."""
    return [
        line
        for line in verdict.splitlines()
        if line.startswith("Error") and not _BASELINE_GROUP.fullmatch(line.strip())
    ]


def dciodvfy(files: Sequence[Path]) -> Mapping[Path, str]:
    """Judge files with dciodvfy."""
    _need(shutil.which("dciodvfy") is not None, "dciodvfy (Debian package dicom3tools)")
    return {file: _output(["dciodvfy", str(file)]) for file in files}


def sr_validator(files: Sequence[Path]) -> Mapping[Path, str]:
    """Judge files with PixelMed's DicomSRValidator, all in one process where a Java compiler is at hand."""
    _need(shutil.which("java") is not None and _JAR.is_file(), "DicomSRValidator (Debian package pixelmed-apps)")
    java = ["java", *_QUICK_START, *_JDK_LIMITS, "-cp", str(_JAR)]
    if shutil.which("javac") is None:
        return {file: _output([*java, "com.pixelmed.validate.DicomSRValidator", str(file)]) for file in files}
    said = _output([*java, str(_RUNNER), *map(str, files)])
    parts = re.split(r"^== (.+)$", said, flags=re.MULTILINE)
    verdicts = {Path(file): verdict for file, verdict in zip(parts[1::2], parts[2::2], strict=True)}
    if missing := set(files) - set(verdicts):
        raise RuntimeError(f"{len(missing)} reports were not judged: {said[-2000:]}")
    return verdicts


def _output(command: list[str]) -> str:
    # dciodvfy quotes values in whatever character set they are in, and its exit status says less than its lines.
    done = subprocess.run(command, capture_output=True, check=False, timeout=240)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _need(found: bool, tool: str) -> None:
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{tool} is not installed, and CI=true: nothing may be skipped")
    pytest.skip(f"{tool} is not installed")
