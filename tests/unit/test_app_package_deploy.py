"""What is in deploy/ is valid, agrees with itself and with what the service accepts."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app_package.manifests import environment
from pneumo_monai.cli import app as commands
from pneumo_monai.settings import Settings, load_settings
from tests.maps import ROOT
from tests.unit.test_docs import settings_keys

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
RELEASES = ("1.29", "1.34")  # of Kubernetes: an old one that is still run, and a new one
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))


def documents(*files: Path) -> list[dict[str, Any]]:
    return [found for file in files for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


RESOURCES = documents(*(KUBERNETES / name for name in KUSTOMIZATION["resources"]))
EXAMPLE = documents(KUBERNETES / "secret.example.yaml")


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [r for r in (*RESOURCES, *EXAMPLE) if (r["kind"], r["metadata"]["name"]) == (kind, name)]
    return found


def merged(base: Any, patch: Any) -> Any:
    """Apply a strategic merge patch as far as ours need it: lists of named things are merged by name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in patch.items()}}
    if isinstance(base, list) and isinstance(patch, list) and all("name" in item for item in (*base, *patch)):
        named = {item["name"]: item for item in base}
        return list({**named, **{item["name"]: merged(named.get(item["name"]), item) for item in patch}}.values())
    return patch


PATCH = documents(KUBERNETES / "gpu" / "worker.yaml")[0]
WITH_GPU = merged(one("StatefulSet", "pneumo-monai-worker"), PATCH)
WORKLOADS = [one("Deployment", "pneumo-monai-listener"), one("StatefulSet", "pneumo-monai-worker"), WITH_GPU]


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    return dict(workload["spec"]["template"]["spec"])


def selects(selector: dict[str, str]) -> bool:
    return any(selector.items() <= w["spec"]["template"]["metadata"]["labels"].items() for w in WORKLOADS)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "resource", [*RESOURCES, *EXAMPLE, WITH_GPU], ids=lambda r: f"{r['kind']}-{r['metadata']['name']}"
)
def test_every_resource_follows_the_schema_of_kubernetes(resource: dict[str, Any], release: str):
    kubernetes_validate.validate(resource, release, strict=True)


def test_the_schema_refuses_what_is_misspelt():
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(merged(WORKLOADS[0], {"spec": {"replica": 2}}), RELEASES[-1], strict=True)


def test_every_file_is_part_of_the_kustomization_or_an_example():
    there = {file.name for file in KUBERNETES.glob("*.yaml")}
    assert there == {*KUSTOMIZATION["resources"], "kustomization.yaml", "secret.example.yaml"}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w["kind"])
def test_every_pod_meets_the_restricted_standard(workload: dict[str, Any]):
    spec = pod(workload)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= container["resources"].keys()


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w["kind"])
def test_every_name_that_a_pod_uses_is_there(workload: dict[str, Any]):
    spec = pod(workload)
    assert workload["spec"]["selector"]["matchLabels"] == workload["spec"]["template"]["metadata"]["labels"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for container in spec["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        for variable in container["env"]:
            if key := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert key["key"] in one("Secret", key["name"])["stringData"]
    assert one("ConfigMap", volumes["config"]["configMap"]["name"])
    assert one("PersistentVolumeClaim", volumes["data"]["persistentVolumeClaim"]["claimName"])


def test_services_budgets_and_policies_select_pods_that_exist():
    ports = {port["name"] for w in WORKLOADS for c in pod(w)["containers"] for port in c.get("ports", ())}
    for resource in RESOURCES:
        spec = resource.get("spec", {})
        match resource["kind"]:
            case "Service":
                assert selects(spec["selector"])
                assert {port["targetPort"] for port in spec.get("ports", ())} <= ports
            case "PodDisruptionBudget":
                assert selects(spec["selector"]["matchLabels"])
            case "NetworkPolicy":
                assert selects(spec["podSelector"].get("matchLabels", {}))
    assert one("StatefulSet", "pneumo-monai-worker")["spec"]["serviceName"] == "pneumo-monai-worker"
    assert one("Service", "pneumo-monai-worker")["spec"]["clusterIP"] == "None"


def test_what_the_policies_allow_is_what_the_configuration_needs(tmp_path: Path):
    settings = configuration(one("ConfigMap", "pneumo-monai")["data"]["config.yaml"], tmp_path)
    policy = one("NetworkPolicy", "pneumo-monai-destinations")
    allowed = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert {destination.port for destination in settings.destinations} <= allowed
    url = EXAMPLE[0]["stringData"]["url"]
    assert url.startswith("postgresql://")
    ledger = one("NetworkPolicy", "pneumo-monai-ledger")
    assert 5432 in {port["port"] for rule in ledger["spec"]["egress"] for port in rule["ports"]}


def test_a_workers_slot_is_its_stable_name():
    (container,) = pod(one("StatefulSet", "pneumo-monai-worker"))["containers"]
    assert "--slot=$(POD_NAME)" in container["command"]
    (name,) = [v for v in container["env"] if v["name"] == "POD_NAME"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_a_worker_with_a_gpu_asks_for_one_and_keeps_the_rest():
    (container,) = pod(WITH_GPU)["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["requests"]["cpu"] == "1"
    names = {variable["name"] for variable in container["env"]}
    assert {"POD_NAME", "PNEUMO_MONAI_LEDGER__URL", "PNEUMO_MONAI_MODEL__DEVICE"} == names


def configuration(text: str, folder: Path) -> Settings:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


def test_every_configuration_is_accepted(tmp_path: Path):
    for text in (
        one("ConfigMap", "pneumo-monai")["data"]["config.yaml"],
        (DEPLOY / "compose" / "config.yaml").read_text(encoding="utf-8"),
    ):
        settings = configuration(text, tmp_path)
        assert settings.listener.host == "0.0.0.0"
        assert settings.data_dir == Path("/var/lib/pneumo-monai")


def variables() -> Iterator[str]:
    for workload in WORKLOADS:
        for container in pod(workload)["containers"]:
            yield from (variable["name"] for variable in container["env"])
    yield from json.loads(module()["environment"])


def test_every_variable_is_one_that_is_read():
    known = {row[2] for row in settings_keys(Settings)} | environment().keys() | {"POD_NAME"}
    assert set(variables()) <= known


def test_every_command_is_one_of_ours():
    names = {command.name or command.callback.__name__ for command in commands.registered_commands if command.callback}
    started = [container["command"] for w in WORKLOADS for container in pod(w)["containers"]]
    started.append(COMPOSE["services"]["gateway"]["command"])
    for command in started:
        assert {"listener", "worker", "serve"} & set(command) <= names
        assert "pneumo-monai" in command or "app_package.probed" in command


def compose_check(*files: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_compose_files_follow_the_compose_specification(tmp_path: Path):
    done = compose_check(*sorted((DEPLOY / "compose").glob("compose*.yaml")))
    assert done.returncode == 0, done.stdout
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(yaml.safe_dump(merged(COMPOSE, {"services": {"gateway": {"read_onyl": True}}})))
    refused = compose_check(misspelt)
    assert refused.returncode == 1
    assert "read_onyl" in refused.stdout


def test_the_compose_file_agrees_with_its_configurations(tmp_path: Path):
    gateway, orthanc = COMPOSE["services"]["gateway"], COMPOSE["services"]["orthanc"]
    folder = DEPLOY / "compose"
    settings = configuration((folder / "config.yaml").read_text(encoding="utf-8"), tmp_path)
    pacs = json.loads((folder / "orthanc.json").read_text(encoding="utf-8"))
    assert f"{settings.listener.port}:11112" in gateway["ports"]
    assert pacs["DicomModalities"]["pneumo"] == {"AET": "PNEUMO", "Host": "gateway", "Port": settings.listener.port}
    (destination,) = settings.destinations
    assert (destination.ae_title, destination.port) == (pacs["DicomAet"], pacs["DicomPort"])
    assert destination.host in COMPOSE["services"]
    assert gateway["read_only"]
    assert gateway["user"] == "1000:1000"
    named = {volume.split(":")[0] for s in (gateway, orthanc) for volume in s["volumes"]}
    assert {name for name in named if not name.startswith("./")} == COMPOSE["volumes"].keys()
    assert all((folder / name).is_file() for name in named if name.startswith("./"))
    overlay = yaml.safe_load((folder / "compose.gpu.yaml").read_text(encoding="utf-8"))
    assert overlay["services"].keys() <= COMPOSE["services"].keys()


def test_forwarding_is_as_the_page_of_installation_has_it():
    script = (DEPLOY / "compose" / "forward-chest.lua").read_text(encoding="utf-8")
    body = script.split("\n", 1)[1]
    assert body in (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def module() -> dict[str, Any]:
    content = json.loads((DEPLOY / "mercure" / "module.json").read_text(encoding="utf-8"))
    (found,) = content["modules"].values()
    return dict(found)


def test_the_module_of_mercure_has_its_fields_and_folders():
    content = json.loads((DEPLOY / "mercure" / "module.json").read_text(encoding="utf-8"))
    # Names and types of `Module` and `Rule` in mercure's common/types.py; what is JSON there is a string.
    for field in ("environment", "additional_volumes", "docker_arguments"):
        assert isinstance(json.loads(module()[field]), dict)
    # Where mercure mounts what came and takes what is made.
    folders = json.loads(module()["environment"])
    assert folders == {"HOLOSCAN_INPUT_PATH": "/tmp/data/", "HOLOSCAN_OUTPUT_PATH": "/tmp/output/"}
    assert {rule["processing_module"] for rule in content["rules"].values()} == content["modules"].keys()
    assert {rule["action_trigger"] for rule in content["rules"].values()} == {"study"}


def test_the_workflow_of_monai_deploy_leads_from_task_to_task():
    workflow = json.loads((DEPLOY / "monai-deploy" / "workflow.json").read_text(encoding="utf-8"))
    assert {"name", "version", "informatics_gateway", "tasks"} <= workflow.keys()
    tasks = {task["id"]: task for task in workflow["tasks"]}
    followed = {d["name"] for task in tasks.values() for d in task.get("task_destinations", ())}
    assert {*followed, workflow["tasks"][0]["id"]} == tasks.keys()
    read = tasks["read"]
    arguments = {name.removeprefix("env_"): value for name, value in read["args"].items() if name.startswith("env_")}
    assert arguments.items() <= environment().items()
    inputs, outputs = ({a["name"] for a in read["artifacts"][side]} for side in ("input", "output"))
    assert (inputs, outputs) == ({"env_HOLOSCAN_INPUT_PATH"}, {"env_HOLOSCAN_OUTPUT_PATH"})
    (exported,) = tasks["export"]["artifacts"]["input"]
    assert exported["value"] == "{{ context.executions.read.artifacts.env_HOLOSCAN_OUTPUT_PATH }}"
    places = {destination["Name"] for destination in tasks["export"]["export_destinations"]}
    assert places <= set(workflow["informatics_gateway"]["export_destinations"])
