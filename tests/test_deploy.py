"""The containers of deploy/ keep what must outlive them."""

import re
from pathlib import Path

TOP = Path(__file__).parent.parent
DOCKERFILE = (TOP / "Dockerfile").read_text()
COMPOSE = (TOP / "deploy" / "compose.yaml").read_text()


def image(target: str) -> dict[str, str]:
    """What the Dockerfile sets in the environment of one of its targets."""
    (stage,) = re.findall(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", " ".join(re.findall(r"^ENV (.+)", stage, re.MULTILINE))))


def volumes(service: str) -> dict[str, str]:
    """The named volumes of one of the compose file's services, by where they are mounted."""
    (block,) = re.findall(rf"^  {service}:\n(.*?)(?=^\S|^  \S|\Z)", COMPOSE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"^  (\w+):$", COMPOSE.partition("\nvolumes:\n")[2], re.MULTILINE))
    mounted = re.findall(r"^      - (\w+):(/[^:\s]+)$", block, re.MULTILINE)
    return {path: name for name, path in mounted if name in named}


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
