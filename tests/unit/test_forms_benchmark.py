"""The benchmark of forms runs, and measures each of them."""

import json
from pathlib import Path

from benchmarks.forms import measure
from pneumo_monai.forms import Form


def test_every_form_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "forms.json"
    measure(repeats=1, out=out)
    rows = {(row["form"], row["finding"]): row for row in json.loads(out.read_text())}
    assert {form for form, _ in rows} == {form.value for form in Form}
    assert rows["sr-comprehensive-3d", "present"]["bytes"] > 5_000
    # No film has the finding, and nothing is withdrawn: these two have nothing to say.
    assert rows["kos", "absent"]["bytes"] == rows["rejection-note", "present"]["bytes"] == 0
