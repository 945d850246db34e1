"""Scopes as an application's code says them: `("user", {"user_id": 5})`."""

from collections.abc import Mapping
from typing import Any

from mizan.declare.compiled import compiled
from mizan_core.resolve import strict
from mizan_core.scopes import USER, Scope, ScopeError


def scopes_of(context: str, params: Mapping[str, object], *, for_user: Any = None) -> tuple[Scope, ...]:
    """The scope of application values; a parameter that is None is not given. `for_user` is a user or a primary key.

    Raises ScopeError, which names the nearest valid name, for a context or parameter that nobody declared.
    """
    contexts = compiled().manifest.contexts
    if for_user is not None and context in contexts and "for_user" in contexts[context].params:
        raise ScopeError(f"the context {context!r} has a parameter named for_user, which stands for a user here")
    user = getattr(for_user, "pk", for_user)
    scope = Scope.of(context, {**params, **({USER: str(user)} if user is not None else {})})
    return strict([str(scope)], contexts)
