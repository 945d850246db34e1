"""The Kubernetes resources of deploy/ fit each other and the edge. Their schemas are checked by `make deploy-check`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mizan_core.manifest import load_manifest
from mizan_edge.admin.access import Access
from mizan_edge.running.config import SECRETS, Settings, load_settings, variable
from mizan_edge.running.worker import SHUTDOWN_S
from tests.deploy.test_containers import image

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
LABELS = {"app.kubernetes.io/name": "mizan-edge"}


def documents() -> Iterator[dict[str, Any]]:
    """The resources that the base names, each once."""
    for name in yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((BASE / name).read_text())


RESOURCES = list(documents())
(SET,) = (resource for resource in RESOURCES if resource["kind"] == "StatefulSet")
POD = SET["spec"]["template"]
(EDGE,) = POD["spec"]["containers"]
ENVIRONMENT = {one["name"]: one for one in EDGE["env"]}
MOUNTS = {mount["name"]: mount["mountPath"] for mount in EDGE["volumeMounts"]}
EXAMPLE = yaml.safe_load((KUBERNETES / "example" / "kustomization.yaml").read_text())


def test_every_file_of_the_base_is_named():
    named = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert sorted([*named, "kustomization.yaml"]) == sorted(path.name for path in BASE.iterdir())


def test_what_selects_pods_selects_edges_and_no_others():
    """An empty selector is everything in the namespace."""
    assert POD["metadata"]["labels"] == LABELS
    selectors = {}
    for resource in RESOURCES:
        spec = resource.get("spec", {})
        if "selector" in spec or "podSelector" in spec:
            selector = spec.get("selector", spec.get("podSelector"))
            selectors[resource["kind"]] = selector.get("matchLabels", selector)
    assert selectors.keys() == {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert all(selector == LABELS for selector in selectors.values())


def test_the_state_of_an_edge_is_on_a_volume_of_its_own_that_outlives_it():
    (claim,) = SET["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    assert set(SET["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    state = Path(ENVIRONMENT["MIZAN_EDGE_STATE_DIR"]["value"])
    # The volume's own top belongs to root and is open to the group.
    assert state.parent == Path(MOUNTS["state"])


def test_the_manifest_is_where_the_image_looks_for_it_and_is_no_copy_that_stays_old():
    path = Path(image("edge")["MIZAN_EDGE_MANIFEST"])
    assert str(path.parent) == MOUNTS["manifest"]
    assert all("subPath" not in mount for mount in EDGE["volumeMounts"])
    (generated,) = (one for one in EXAMPLE["configMapGenerator"] if one["name"] == "mizan-edge-manifest")
    assert generated["files"] == [path.name]
    load_manifest(KUBERNETES / "example" / path.name)


def test_the_settings_exist_and_secrets_come_from_a_secret():
    literals = (one.get("literals", ()) for one in EXAMPLE["configMapGenerator"])
    own = {name for name, one in ENVIRONMENT.items() if "fieldRef" in one.get("valueFrom", {})}
    given = {literal.partition("=")[0] for some in literals for literal in some} | ENVIRONMENT.keys() - own
    assert given <= {variable(name) for name in (*Settings.model_fields, *SECRETS)}
    secret = {name for name, one in ENVIRONMENT.items() if "secretKeyRef" in one.get("valueFrom", {})}
    assert secret == {variable(name) for name in SECRETS if name != "read_token"} | {"MIZAN_EDGE_REDIS"}
    keys = {ENVIRONMENT[name]["valueFrom"]["secretKeyRef"]["key"] for name in secret}
    told = (KUBERNETES / "example" / "kustomization.yaml").read_text()
    assert set(re.findall(r"--from-literal=([a-z-]+)=", told)) == keys


def test_ports_have_the_names_by_which_others_ask_for_them():
    ports = {port["name"]: port["containerPort"] for port in EDGE["ports"]}
    assert str(ports["http"]) == image("edge")["MIZAN_EDGE_LISTEN"].rpartition(":")[2]
    assert str(ports["admin"]) == ENVIRONMENT["MIZAN_EDGE_ADMIN"]["value"].rpartition(":")[2]
    asked = set(re.findall(r"(?:port|targetPort): (http|admin)\b", "".join(p.read_text() for p in BASE.iterdir())))
    assert asked == ports.keys()


def test_the_admin_listener_is_asked_of_any_edge_and_of_one_by_its_name():
    service = SET["spec"]["serviceName"]
    (headless,) = [one for one in RESOURCES if one["kind"] == "Service" and one["metadata"]["name"] == service]
    assert headless["spec"]["clusterIP"] == "None"
    (port,) = headless["spec"]["ports"]
    # Kubernetes puts in what stands above it in the list, and leaves the rest as it is written.
    values: dict[str, str] = {}
    for one in EDGE["env"]:
        field = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        text = "mizan-edge-1" if field == "metadata.name" else one.get("value", "")
        values[one["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values.get(name[1], name[0]), text)
    needed = {"origin": "http://127.0.0.1:1", "manifest": "edge.json"}
    hosts = load_settings({**needed, "admin_hosts": values["MIZAN_EDGE_ADMIN_HOSTS"]}, None).admin_hosts
    access = Access("token", None, hosts)
    assert access.serves(f"{service}:{port['port']}")
    assert access.serves(f"mizan-edge-1.{service}:{port['port']}")
    assert not access.serves(f"mizan-edge-2.{service}:{port['port']}")


def test_an_edge_may_finish_before_it_is_killed():
    (_, seconds) = EDGE["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) + SHUTDOWN_S < POD["spec"]["terminationGracePeriodSeconds"]
