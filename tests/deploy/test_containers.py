"""The containers of deploy/ keep what must outlive them, and find what they are given."""

import re
from pathlib import Path
from typing import Any

import yaml

from mizan_edge.running.config import SECRETS, Settings, variable

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
DOCKERFILE = (TOP / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def image(target: str) -> dict[str, str]:
    """What the Dockerfile sets in the environment of one of its targets."""
    (stage,) = re.findall(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.+)", stage, re.MULTILINE))))


def mounted(service: str) -> list[tuple[str, str]]:
    """What a service mounts, and where."""
    return [(source, path) for source, path, *_ in (text.split(":") for text in SERVICES[service].get("volumes", ()))]


def volumes(service: str) -> dict[str, str]:
    """The named volumes of one of the compose file's services, by where they are mounted."""
    return {path: name for name, path in mounted(service) if name in COMPOSE["volumes"]}


def made_for_the_user() -> set[str]:
    """The directories that the image holds for its user: a new volume takes their owner and mode."""
    made = re.findall(r"install --directory --owner=mizan --group=mizan (.+)", DOCKERFILE)
    return {word for words in made for word in words.split() if word.startswith("/")}


def test_the_state_of_an_edge_outlives_its_container():
    state = image("edge")["MIZAN_EDGE_STATE_DIR"]
    assert state in volumes("edge")
    assert state in made_for_the_user()


def test_the_data_of_the_demo_outlives_its_container_since_what_redis_holds_was_made_from_it():
    database = Path(image("demo")["DEMO_DATABASE"])
    assert str(database.parent) in volumes("origin")
    assert str(database.parent) in made_for_the_user()


def test_what_containers_are_given_of_this_folder_is_there():
    shipped = [DEPLOY / source for name in SERVICES for source, _ in mounted(name) if source.startswith(".")]
    assert len(shipped) >= 4
    assert [path for path in shipped if not path.exists()] == []


def test_an_edge_in_a_container_is_given_settings_that_exist():
    given = {*SERVICES["edge"]["environment"], *image("edge")} - {"PATH"}
    assert given <= {variable(name) for name in (*Settings.model_fields, *SECRETS)}


def test_only_the_site_is_published_beyond_this_host():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.pop("edge") == ["8080:8080", "127.0.0.1:8081:8081"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_prometheus_asks_the_edge_by_a_name_that_its_admin_listener_knows():
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    (job,) = prometheus["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    edge = SERVICES["edge"]["environment"]
    assert host == edge["MIZAN_EDGE_ADMIN_HOSTS"]
    assert edge["MIZAN_EDGE_ADMIN"].endswith(f":{port}")


def test_grafana_asks_the_prometheus_that_is_started_and_takes_dashboards_from_where_they_are_mounted():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"].removeprefix("http://").partition(":")[0] in SERVICES
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "mizan-edge.yaml").read_text())["providers"]
    assert ("./grafana", provider["options"]["path"]) in mounted("grafana")
