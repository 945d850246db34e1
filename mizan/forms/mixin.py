"""What an application writes: the mixin, its hooks, and what is said of a form."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from mizan.forms.functions import declare
from mizan_core.registry import Auth, RegistryError, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class mizanFormMeta:
    """What is said of a form: `mizan = mizanFormMeta(name="contact", affects="inbox")`. Texts may be lazy."""

    name: str
    """An identifier: the functions are `contact.schema`, `contact.validate` and `contact.submit`."""
    title: object = ""
    submit_label: object = ""
    affects: Target | list[Target] | tuple[Target, ...] | None = None
    """As in `@client`: what a submit changes."""
    auth: Auth = None
    """As in `@client`, for all three functions."""
    context: str | None = None
    """The context that the schema is a read of, and is cached and purged with. Without one it is never cached, since
    choices and initial values may come from anywhere."""


class mizanFormMixin:
    """Stands before `forms.Form`, `forms.ModelForm` or a formset class. A class with a `mizan` of its own becomes three
    server functions; one that only inherits it is an ordinary class.

    Raises RegistryError where the class stands.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "mizan" in cls.__dict__:
            declare(cls, _meta_of(cls))

    @classmethod
    def get_init_kwargs(cls, request: HttpRequest, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Further arguments for the form's constructor: `user`, `instance`, `initial`, a formset's `queryset`.

        Parameters behind the request become arguments of all three functions, validated like those of any function.
        An exception (Http404, PermissionDenied, ApiError) is the answer.
        """
        return {}

    def on_submit_success(self, request: HttpRequest) -> Any:
        """Runs when the form is valid, a model's form after it was saved. What it returns is the answer's `data`."""

    def on_submit_failure(self, request: HttpRequest) -> Any:
        """Runs when the form is not valid. What it returns is the answer's `data`."""


def _meta_of(cls: type) -> mizanFormMeta:
    meta = cls.__dict__["mizan"]
    if not isinstance(meta, mizanFormMeta):
        raise RegistryError(f"{cls.__qualname__}.mizan is {meta!r}: write mizan = mizanFormMeta(name=...)")
    return meta
