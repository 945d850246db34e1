"""System checks for what keeps pages out of every cache, as far as settings and templates tell.

What a view does with the session, the messages or the CSRF token in Python cannot be seen here, nor which template a
view renders: the checks look at all Django templates of the site's own. They decide nothing: what is sent with
`no-store` is decided by what a response really used.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from sysconfig import get_paths
from typing import Any

import django
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.template.base import Lexer, TokenType

from mizan_core import registry

LOCALE = "django.middleware.locale.LocaleMiddleware"
_WORD = re.compile(r"\w+")
_INSTALLED = {Path(get_paths()[name]).resolve() for name in ("purelib", "platlib")} | {Path(django.__file__).parent}


def check_cacheability(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """mizan.W003 to mizan.W006, where there is anything to cache."""
    if not any(spec.context for spec in registry.default):
        return []
    found = [*_sessions(), *_languages()]
    if any(spec.context and spec.route and spec.cacheable for spec in registry.default):
        templates = _words_of_templates()
        found += [*_nonces(templates), *_messages(templates)]
    return found


def _sessions() -> Iterator[CheckMessage]:
    if settings.SESSION_SAVE_EVERY_REQUEST:
        yield Warning(
            "SESSION_SAVE_EVERY_REQUEST sets a cookie on every response to somebody with a session: none can be cached",
            hint="Set it to False, and save sessions where they change.",
            id="mizan.W003",
        )


def _languages() -> Iterator[CheckMessage]:
    if LOCALE in settings.MIDDLEWARE and not settings.is_overridden("LANGUAGES"):
        yield Warning(
            f"LocaleMiddleware chooses among the {len(settings.LANGUAGES)} languages that Django knows: what is cached "
            "is split by as many values of Accept-Language",
            hint="Set LANGUAGES to those that the site is written in.",
            id="mizan.W004",
        )


def _nonces(templates: dict[str, frozenset[str]]) -> Iterator[CheckMessage]:
    if names := _templates_with("csp_nonce", templates):
        yield Warning(
            f"a page that shows the CSP nonce is another each time, and is never cached: {names}",
            hint="Allow the scripts of pages that are to be cached by their hashes, or take them from a file.",
            id="mizan.W005",
        )


def _messages(templates: dict[str, frozenset[str]]) -> Iterator[CheckMessage]:
    if names := _templates_with("messages", templates):
        yield Warning(
            f"a page that shows messages is meant for one reader, and is not cached while there are any: {names}",
            hint="Show messages on pages that are not cached, or fetch them from a URL of their own.",
            id="mizan.W006",
        )


def _templates_with(word: str, templates: dict[str, frozenset[str]]) -> str:
    names = sorted(name for name, words in templates.items() if word in words)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _words_of_templates() -> dict[str, frozenset[str]]:
    """The site's own templates with the words in their tags and variables, comments and text left out."""
    found: dict[str, frozenset[str]] = {}
    for engine in engines.all():
        if isinstance(engine, DjangoTemplates):
            for directory in map(Path, engine.template_dirs):
                if not any(directory.resolve().is_relative_to(installed) for installed in _INSTALLED):
                    for path in directory.rglob("*.html"):
                        found.setdefault(str(path.relative_to(directory)), _words(path))
    return found


def _words(path: Path) -> frozenset[str]:
    try:
        tokens = Lexer(path.read_text(encoding="utf-8")).tokenize()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    shown = (token.contents for token in tokens if token.token_type in (TokenType.BLOCK, TokenType.VAR))
    return frozenset(word for contents in shown for word in _WORD.findall(contents))
