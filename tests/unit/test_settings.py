"""Environment over file over default; every error names its key, and none repeats a password."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pneumo_monai.connections import Limits
from pneumo_monai.errors import ConfigurationError
from pneumo_monai.forms import Form
from pneumo_monai.monitoring import Alarms
from pneumo_monai.settings import IntendedUse, Settings, load_intended_use, load_report, load_settings

README = Path(__file__).parents[2] / "README.md"
PASSWORD = "hunter2"
PREFIX = "PNEUMO_MONAI_"
PACS = {"name": "pacs", "ae_title": "PACS", "host": "h", "port": 1}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path):
    """Return a function that loads settings from keys, from text or from bytes."""

    def load(content: Any) -> Settings:
        file = tmp_path / "config.yaml"
        if isinstance(content, dict):
            content = yaml.safe_dump({"data_dir": str(tmp_path), **content})
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_settings(file)

    return load


def test_the_example_of_the_readme_loads_as_it_reads(load):
    example = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    settings = load(example[1])
    assert settings.model_dump() == {
        "data_dir": Path("/var/lib/pneumo-monai"),
        "listener": {
            "ae_title": "PNEUMO",
            "host": "127.0.0.1",
            "port": 11112,
            "study_silence": 2.0,
            "peers": (),
            "require_called_ae_title": False,
            "limits": Limits().model_dump(),
            "tls": None,
        },
        "destinations": (
            {
                "name": "pacs",
                "ae_title": "PACS",
                "host": "127.0.0.1",
                "port": 4242,
                "tls": None,
                "calling_ae_titles": (),
                "forms": (("sr-comprehensive-3d",),),
                "not_analysed": ("age", "pixel-format", "too-large", "undecodable", "unlike-chest", "inverted"),
                "storage_commitment": None,
            },
        ),
        "delivery": {"first_pause": 5.0, "longest_pause": 600.0, "give_up_after_hours": 168.0},
        "web": {"host": "127.0.0.1", "port": 8080, "token": None, "token_file": None, "behind_proxy": False},
        "alarms": Alarms().model_dump(),
        "audit": {"file": None, "fsync": True, "syslog": None},
        "model": {"path": None, "device": "auto", "precision": "single", "cuda_graphs": False},
        "intended_use": {
            "minimum_age": 18,
            "younger": "refuse",
            "age_missing": "flag",
            "unlike_chest": "refuse",
            "inverted": "flag",
        },
        "report": {"uid_root": None},
        "retention": {"films_days": 30.0, "results_days": 90.0, "ledger_days": 365.0},
        "ledger": {"url": None},
    }
    assert settings.ledger_url == "sqlite:////var/lib/pneumo-monai/ledger.sqlite"


def test_only_the_data_folder_must_be_set(load):
    example = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert load("data_dir: /var/lib/pneumo-monai") == load(example[1]).model_copy(update={"destinations": ()})


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"listner": {}}, "listner"),
        ({"listener": {"prot": 1}}, "listener.prot"),
        ({"DATA_DIR": "/x"}, "DATA_DIR"),
        ({"_env_file": "/x"}, "_env_file"),
        ({1: 2}, "1"),
        ("listener: {port: 11112}", "data_dir"),
        ("", "data_dir"),
        ("data_dir: ''", "data_dir"),
        ("data_dir: null", "data_dir"),
        ({"model": None}, "model"),
        ({"listener": {"ae_title": "SEVENTEEN-LETTERS"}}, "listener.ae_title"),
        ({"listener": {"ae_title": "  "}}, "listener.ae_title"),
        ({"listener": {"ae_title": "A\\B"}}, "listener.ae_title"),
        ({"listener": {"ae_title": "RÖNTGEN"}}, "listener.ae_title"),
        ({"listener": {"host": ""}}, "listener.host"),
        ({"listener": {"port": 65536}}, "listener.port"),
        ({"listener": {"port": -1}}, "listener.port"),
        ({"listener": {"port": "eleven"}}, "listener.port"),
        ({"listener": {"study_silence": 0}}, "listener.study_silence"),
        ({"listener": {"study_silence": float("inf")}}, "listener.study_silence"),
        ({"listener": {"peers": [{"ae_title": "A", "addresses": ["10.0.0.1/8"]}]}}, "listener.peers[0].addresses[0]"),
        ({"listener": {"peers": [{}]}}, "listener.peers[0]"),
        ({"listener": {"limits": {"pdu_bytes": 0}}}, "listener.limits.pdu_bytes"),
        ({"listener": {"limits": {"artim_timeout": 0}}}, "listener.limits.artim_timeout"),
        ({"listener": {"tls": {"certificate": "a"}}}, "listener.tls.key"),
        ({"listener": {"tls": {"certificate": "a", "key": "b"}}}, "listener.tls"),
        ({"listener": {"tls": {"profile": "ssl3"}}}, "listener.tls.profile"),
        ({"web": {"port": 70_000}}, "web.port"),
        ({"model": {"device": "gpu"}}, "model.device"),
        ({"intended_use": {"minimum_age": -1}}, "intended_use.minimum_age"),
        ({"intended_use": {"minimum_age": 17.5}}, "intended_use.minimum_age"),
        ({"intended_use": {"unlike_chest": False}}, "intended_use.unlike_chest"),
        ({"intended_use": {"younger": "read"}}, "intended_use.younger"),
        ({"destinations": [{"name": "a", "ae_title": "A", "host": "h"}]}, "destinations[0].port"),
        ({"destinations": [{"name": "a", "ae_title": "A", "host": "h", "port": 0}]}, "destinations[0].port"),
        ({"destinations": [{"name": "A b", "ae_title": "A", "host": "h", "port": 1}]}, "destinations[0].name"),
        ({"destinations": [{"name": "a", "ae_title": "A", "host": "h", "port": 1}] * 2}, "destinations"),
        ({"ledger": {"url": "ledger.sqlite"}}, "ledger.url"),
        ({"destinations": [{**PACS, "forms": "sc"}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": []}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": ["sc"]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": [["sc"], []]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": [["hologram"]]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": [[["sc"]]]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": [["rejection-note"]]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "forms": [["sc"], ["pdf", "sc"]]}]}, "destinations[0].forms"),
        ({"destinations": [{**PACS, "not_analysed": ["boredom"]}]}, "destinations[0].not_analysed[0]"),
        ({"destinations": [{**PACS, "not_analysed": ["age", "own-result"]}]}, "destinations[0].not_analysed"),
        ({"report": {"uid_root": ""}}, "report.uid_root"),
        ({"report": {"uid_root": "1.2.826.0.1.3680043.10.99"}}, "report.uid_root"),
        ({"report": {"uid_root": "1.2.03"}}, "report.uid_root"),
        ({"report": {"uid_root": "1.40.3"}}, "report.uid_root"),
        ({"report": {"uid_root": "3.2"}}, "report.uid_root"),
        ({"report": {"uid_root": "1.2."}}, "report.uid_root"),
        ({"report": {"uid_root": "2"}}, "report.uid_root"),
    ],
)
def test_an_error_names_its_key(load, tmp_path: Path, content: Any, key: str):
    with pytest.raises(ConfigurationError) as caught:
        load(content)
    assert str(caught.value).startswith(f"{tmp_path / 'config.yaml'}: {key}: ")


def test_every_error_of_a_file_is_named_at_once(load):
    with pytest.raises(ConfigurationError) as caught:
        load({"listener": {"port": -1, "prot": 1}, "web": {"port": -1}})
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert sorted(keys) == ["listener.port", "listener.prot", "web.port"]


def test_the_name_that_stands_twice_is_named(load):
    with pytest.raises(ConfigurationError, match="'pacs' stands twice"):
        load({"destinations": [PACS, {**PACS, "name": "other"}, PACS]})


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ({"forms": ["sc"]}, "is a list of lists, such as [[sr-comprehensive-3d, sr-comprehensive], [sc]]"),
        (
            {"forms": [["rejection-note"]]},
            "there are sr-comprehensive-3d, sr-comprehensive, sr-text, sc, gsps, kos, pdf",
        ),
        ({"forms": [["sc"], ["sc"]]}, "sc stands twice"),
        ({"not_analysed": ["retracted"]}, "retracted never makes a report"),
    ],
)
def test_a_wrong_choice_of_forms_says_what_can_be_chosen(load, destination: Any, message: str):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load({"destinations": [{**PACS, **destination}]})


def test_a_destination_gets_its_forms_with_their_alternatives(load):
    forms = [["sr-comprehensive-3d", "sr-comprehensive"], ["sc"]]
    (destination,) = load({"destinations": [{**PACS, "forms": forms, "not_analysed": []}]}).destinations
    assert destination.forms == ((Form.SR_COMPREHENSIVE_3D, Form.SR_COMPREHENSIVE), (Form.SECONDARY_CAPTURE,))
    assert destination.not_analysed == ()


@pytest.mark.parametrize("root", ["1.2.826.0.1.3680043.10.9", "2.999", "0.9.2342"])
def test_an_institution_has_a_root_of_its_own(load, monkeypatch: pytest.MonkeyPatch, root: str):
    assert load({"report": {"uid_root": root}}).report.uid_root == root
    monkeypatch.setenv("PNEUMO_MONAI_REPORT__UID_ROOT", root)
    assert load_report().uid_root == root


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@h/db",
        f"postgresql://u:{PASSWORD}@h:port/db",
        f"postgresql://u:{PASSWORD}@h",
        f"postgresql//u:{PASSWORD}@h/db",
        f"sqlite:///{PASSWORD}.sqlite",
    ],
)
def test_a_wrong_ledger_url_is_named_and_never_shown(load, url: str):
    with pytest.raises(ConfigurationError, match=r"ledger\.url: write postgresql://") as caught:
        load({"ledger": {"url": url}})
    error: BaseException | None = caught.value
    while error is not None:  # a traceback shows causes too
        assert PASSWORD not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("url", ["postgresql://u:p%40ss@h:5432/db", "postgresql:///db", "sqlite:////var/ledger.sqlite"])
def test_a_ledger_url_is_taken_as_it_is(load, url: str):
    assert load({"ledger": {"url": url}}).ledger_url == url


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- data_dir", "must be a mapping"),
        ("data_dir", "must be a mapping"),
        ("false", "must be a mapping"),
        (b"\xff\xfe\xff", "UTF-8"),
        ("data_dir: /x\nledger: {url: ", "line 2, column 15: is not valid YAML"),
        ("data_dir: /x\n\tledger: 1", "line 2, column 1: is not valid YAML"),
        ("data_dir: !!python/name:os.system", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(load, tmp_path: Path, content: Any, message: str):
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load(content)
    assert str(caught.value).startswith(str(tmp_path / "config.yaml"))


def test_an_error_of_yaml_does_not_quote_the_file(load):
    with pytest.raises(ConfigurationError) as caught:
        load(f"data_dir: /x\nledger: {{url: postgresql://u:{PASSWORD}@h/db: }}: ]")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(("name", "remark"), [("missing.yaml", "No such file"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, remark: str):
    with pytest.raises(ConfigurationError, match=remark) as caught:
        load_settings(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "--config" in str(caught.value)


def test_the_environment_overrides_one_key_and_the_file_keeps_the_others(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PNEUMO_MONAI_LISTENER__PORT", "11113")
    listener = load({"listener": {"ae_title": "FILE", "port": 5, "host": "0.0.0.0"}}).listener
    assert (listener.port, listener.ae_title, listener.host, listener.study_silence) == (11113, "FILE", "0.0.0.0", 2.0)


def test_the_environment_overrides_one_file_of_tls(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PNEUMO_MONAI_LISTENER__TLS__KEY", "/run/credentials/key")
    monkeypatch.setenv("PNEUMO_MONAI_LISTENER__PEERS", '[{"ae_title": "CT1", "addresses": ["10.1.0.0/16"]}]')
    files = {"certificate": "/etc/a.pem", "key": "/etc/a.key", "authorities": "/etc/ca.pem"}
    listener = load({"listener": {"tls": files}}).listener
    assert listener.tls is not None
    assert (listener.tls.key, listener.tls.certificate) == (Path("/run/credentials/key"), Path("/etc/a.pem"))
    assert [peer.ae_title for peer in listener.peers] == ["CT1"]


def test_the_environment_alone_is_enough(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PNEUMO_MONAI_DATA_DIR", "/srv/films")
    monkeypatch.setenv("PNEUMO_MONAI_LEDGER__URL", "postgresql://u:p@h/db")
    monkeypatch.setenv("PNEUMO_MONAI_DESTINATIONS", '[{"name": "a", "ae_title": "A", "host": "h", "port": 1}]')
    monkeypatch.setenv("PNEUMO_MONAI_WEB", '{"port": 1, "behind_proxy": true}')
    settings = load("web: {host: 0.0.0.0, port: 2}")
    assert settings.data_dir == Path("/srv/films")
    assert settings.ledger_url == "postgresql://u:p@h/db"
    assert [destination.name for destination in settings.destinations] == ["a"]
    assert (settings.web.host, settings.web.port) == ("0.0.0.0", 1)


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("PNEUMO_MONAI_LISTENER__PORT", "x", "listener.port"),
        ("PNEUMO_MONAI_LISTENER__PROT", "1", "listener.prot"),
        ("PNEUMO_MONAI_LEDGER__URL", f"mysql://u:{PASSWORD}@h/db", "ledger.url"),
        ("PNEUMO_MONAI_DESTINATIONS", '[{"name": "a"}]', "destinations[0].port"),
    ],
)
def test_an_error_of_the_environment_names_the_variable(load, monkeypatch, variable: str, value: str, key: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=rf"^{variable}: \S+: ") as caught:
        load({"listener": {"ae_title": "FILE"}})
    assert f"{variable}: {key}: " in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_what_is_no_json_in_the_environment_is_named(load, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PNEUMO_MONAI_DESTINATIONS", "pacs")
    with pytest.raises(ConfigurationError, match=r"destinations.*JSON"):
        load({})


def test_a_variable_that_is_no_key_is_somebody_elses(load, monkeypatch: pytest.MonkeyPatch):
    # Kubernetes sets such variables for a service that is called pneumo-monai.
    monkeypatch.setenv("PNEUMO_MONAI_SERVICE_HOST", "10.0.0.1")
    assert load({}).listener.port == 11112


def test_settings_do_not_change_once_they_are_read(load):
    settings = load({})
    with pytest.raises(ValueError, match="frozen"):
        settings.data_dir = Path("/elsewhere")
    with pytest.raises(ValueError, match="frozen"):
        settings.listener.port = 1


def test_what_has_no_file_takes_intended_use_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert load_intended_use() == IntendedUse()
    monkeypatch.setenv("PNEUMO_MONAI_LISTENER__PORT", "x")
    monkeypatch.setenv("PNEUMO_MONAI_INTENDED_USE__MINIMUM_AGE", "16")
    assert load_intended_use() == IntendedUse(minimum_age=16)
    monkeypatch.setenv("PNEUMO_MONAI_INTENDED_USE__MINIMUM_AGE", "-1")
    variable = "PNEUMO_MONAI_INTENDED_USE__MINIMUM_AGE"
    with pytest.raises(ConfigurationError, match=rf"^{variable}: intended_use\.minimum_age: "):
        load_intended_use()


def test_storage_commitment_is_off_on_or_told_whom_to_ask(load):
    peer = {"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104}
    chosen = [
        load({"destinations": [{**peer, "storage_commitment": value}]}).destinations[0].storage_commitment
        for value in (None, False, True, {}, {"port": 105, "answer_minutes": 600})
    ]
    assert chosen[:2] == [None, None]
    assert [each and (each.port, each.answer_minutes) for each in chosen[2:]] == [(None, 60), (None, 60), (105, 600)]
    with pytest.raises(ConfigurationError, match=r"destinations\[0\].storage_commitment.association_seconds"):
        load({"destinations": [{**peer, "storage_commitment": {"association_seconds": 61}}]})


def test_rows_are_kept_as_long_as_what_they_tell_of(load):
    assert load({"retention": {"films_days": 3, "results_days": 400, "ledger_days": None}}).retention.films_days == 3
    for wrong in ({"ledger_days": 29}, {"films_days": None}, {"results_days": 366}):
        with pytest.raises(ConfigurationError, match=r"retention: ledger_days is shorter than"):
            load({"retention": wrong})


def test_pauses_that_would_shrink_are_an_error_that_names_the_section(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{data_dir: d, delivery: {first_pause: 60, longest_pause: 30}}")
    with pytest.raises(ConfigurationError, match=r"delivery: longest_pause is shorter than first_pause"):
        load_settings(file)
