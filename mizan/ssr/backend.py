"""The template backend: components are found as templates are, and rendered with the context as their props."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from django.template import Origin, TemplateDoesNotExist
from django.template.backends.base import BaseEngine
from django.template.loader import get_template
from django.utils._os import safe_join
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString, mark_safe
from pydantic import BaseModel

from mizan.request.state import state
from mizan.ssr.renderer import Renderer, RenderError

log = logging.getLogger(__name__)

DATA_ID = "__MIZAN_SSR_DATA__"
"""The id of the script element that has the props, for hydration."""

_SUFFIXES = (".mjs", ".js", ".cjs", ".jsx", ".tsx")
_OPTIONS = ("command", "fallback", "layout", "root", "timeout")
# Class-based views put themselves into their context.
_NO_PROPS = ("view",)


class _Encoder(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        return o.model_dump(mode="json") if isinstance(o, BaseModel) else super().default(o)


class ReactTemplates(BaseEngine):
    """`{"BACKEND": "mizan.ssr.ReactTemplates", "DIRS": [...], "APP_DIRS": True}`: components in `react/` of each app.

    OPTIONS: `command`, which runs JavaScript (by default Bun or Node); `timeout`, in seconds; `layout`, a template that
    gets `html` and `data` (without one, a page is both of them); `root`, the id of the element around the HTML;
    `fallback`, whether a page whose component cannot be rendered is sent without its HTML, so that the browser renders
    it (by default so unless DEBUG).
    """

    app_dirname = "react"

    def __init__(self, params: dict[str, Any]) -> None:
        params = params.copy()
        options = params.pop("OPTIONS").copy()
        super().__init__(params)
        if unknown := sorted(set(options) - set(_OPTIONS)):
            raise ImproperlyConfigured(f"{unknown[0]!r} is no option of ReactTemplates, only {', '.join(_OPTIONS)}")
        self.layout: str | None = options.get("layout")
        self.root: str = options.get("root", "root")
        self._fallback: bool | None = options.get("fallback")
        self.renderer = Renderer(options.get("command"), timeout_s=options.get("timeout", 5.0))

    @property
    def fallback(self) -> bool:
        """Whether the browser renders what cannot be rendered here."""
        return not settings.DEBUG if self._fallback is None else self._fallback

    def get_template(self, template_name: str) -> "ReactTemplate":
        """The component in a file of the template directories: `profile.mjs`."""
        tried = []
        if template_name.endswith(_SUFFIXES):
            for path in self._places(template_name):
                if path.is_file():
                    return ReactTemplate(self, path)
                tried.append((Origin(str(path), template_name), "There is no such file"))
        raise TemplateDoesNotExist(template_name, tried=tried, backend=self)

    def _places(self, template_name: str) -> Iterator[Path]:
        for directory in self.template_dirs:
            try:
                yield Path(safe_join(directory, template_name))
            except SuspiciousFileOperation:
                continue  # outside of this directory


class ReactTemplate:
    """A component."""

    def __init__(self, engine: ReactTemplates, path: Path) -> None:
        self._engine = engine
        self._path = path

    def render(
        self, context: Mapping[str, Any] | BaseModel | None = None, request: HttpRequest | None = None
    ) -> SafeString:
        """The page, with the context as the component's props. Raises RenderError, and TypeError for a context that is
        not of JSON's types."""
        props = self._props(context)
        try:
            html = self._engine.renderer.render(self._path, json.dumps(props))
        except RenderError as error:
            if not self._engine.fallback:
                raise
            log.error("The browser renders %s itself: %s", self._path.name, error)
            html = ""
            if request is not None:
                state(request).stopgap = True
        data = json_script(props, DATA_ID)
        if html.lstrip()[:5].lower() == "<html":
            return _document(html, data)
        # React has escaped it.
        inside = format_html('<div id="{}">{}</div>', self._engine.root, mark_safe(html))  # noqa: S308
        if self._engine.layout is None:
            return mark_safe(inside + data)  # noqa: S308
        page = get_template(self._engine.layout).render({"html": inside, "data": data}, request)
        return mark_safe(page)  # noqa: S308

    def _props(self, context: Mapping[str, Any] | BaseModel | None) -> Any:
        """The props as JSON's types: the same for the server and for the browser."""
        given: Any = context or {}
        if isinstance(given, Mapping):
            given = {name: value for name, value in given.items() if name not in _NO_PROPS}
        try:
            return json.loads(json.dumps(given, cls=_Encoder, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the context of {self._path.name} cannot become props: {error}; give it numbers, texts, lists, "
                "mappings, dates and pydantic models only"
            ) from None


def _document(html: str, data: str) -> SafeString:
    """A component that renders the whole document, with the data at the end of its body."""
    before, end, after = html.rpartition("</body>")
    if not end:
        before, after = html, ""
    return mark_safe(f"<!DOCTYPE html>{before}{data}{end}{after}")  # noqa: S308
