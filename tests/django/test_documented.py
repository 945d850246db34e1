"""The Python that docs/django.md shows."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "django.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_snippet_is_python_and_takes_from_mizan_what_there_is(snippet: str):
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mizan":
            module = import_module(node.module or "")
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []
