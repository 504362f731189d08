"""What is locked is held against known vulnerabilities; who cannot be asked is no finding, and no clean bill either."""

import json
import sys
from pathlib import Path

import pytest

from app_package.vulnerabilities import Unanswered, locked, main, read

ROOT = Path(__file__).parents[2]
LOCKS = [str(ROOT / "constraints" / name) for name in ("map-cpu.txt", "map-gpu.txt")]
HARMLESS = {"name": "jinja2", "version": "3.1.6", "vulns": []}
HARMFUL = {
    "name": "starlette",
    "version": "0.45.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.47.2"]}, {"id": "PYSEC-2", "fix_versions": []}],
}
STRANGER = {"name": "torch", "skip_reason": "Dependency not found"}


def program(answer: str, status: int = 0) -> list[str]:
    """Return a pip-audit that says the same of everything."""
    return [
        sys.executable,
        "-c",
        f"import sys; print({answer!r}); print('no route', file=sys.stderr); sys.exit({status})",
    ]


def test_a_lock_gives_its_versions_without_hashes_markers_and_local_versions():
    lock = (
        "# by uv\ntorch==2.13.0+cpu \\\n    --hash=sha256:a==b \\\nnumpy==2.3.5 ; python_full_version < '3.12'\nuv>=1\n"
    )
    assert list(locked(lock)) == [("torch", "2.13.0"), ("numpy", "2.3.5")]
    for path in LOCKS:
        text = Path(path).read_text(encoding="utf-8")
        assert len(list(locked(text))) == sum("==" in line and line[0] not in " #" for line in text.splitlines()) > 50


def test_each_vulnerability_is_a_line_with_what_mends_it():
    lines, looked_at = read({"dependencies": [HARMLESS, HARMFUL, STRANGER]})
    assert lines == [
        "starlette 0.45.0: PYSEC-1, mended in 0.47.2",
        "starlette 0.45.0: PYSEC-2, mended in none",
    ]
    assert looked_at == 2


def test_a_service_that_knows_nothing_has_audited_nothing():
    with pytest.raises(Unanswered):
        read({"dependencies": [STRANGER]})


@pytest.mark.parametrize(
    ("answer", "status", "code", "said"),
    [
        (json.dumps({"dependencies": [HARMLESS]}), 0, 0, "audited, 0 known vulnerabilities\n"),
        (json.dumps({"dependencies": [HARMFUL]}), 1, 1, "PYSEC-1"),
        (json.dumps({"dependencies": [STRANGER]}), 0, 0, "does not answer for known vulnerabilities (no package is"),
        ("", 1, 0, "does not answer for known vulnerabilities (no route)"),
    ],
    ids=["harmless", "harmful", "unknown", "offline"],
)
def test_a_finding_fails_and_silence_does_not(
    answer: str, status: int, code: int, said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(LOCKS, program(answer, status)) == code
    assert said in capsys.readouterr().out
