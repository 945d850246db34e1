"""Whether what one function returns may stand where another's result stands, by their return annotations.

A value fits where its type is the same, or is one of the alternatives of a union, or a subclass of a model or of a
dataclass: that is written with the fields of the place it goes to. Scalars are not told by their classes: a datetime is
a date in Python, and another text in JSON.
"""

import dataclasses
import inspect
import types
from typing import Annotated, Any, NewType, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

NONE: object = type(None)


def is_known(annotation: object) -> bool:
    """Whether an annotation says anything."""
    return annotation is not inspect.Signature.empty and annotation is not Any


def same(a: object, b: object) -> bool:
    """Whether two annotations mean one type, however they spell it."""
    return is_known(a) and is_known(b) and _within(a, b) and _within(b, a)


def fits(returned: object, place: object) -> bool:
    """Whether a value that is `returned`, unless it is None, may stand where `place` is said to be."""
    members = _members(returned)
    some = [member for member in members if member is not NONE] or members
    return is_known(returned) and is_known(place) and all(_within(member, place) for member in some)


def _within(a: object, b: object) -> bool:
    a, b = _plain(a), _plain(b)
    if a == b:
        return True
    if isinstance(a, NewType):
        return _within(a.__supertype__, b)
    if len(_members(a)) > 1:
        return all(_within(member, b) for member in _members(a))
    if len(_members(b)) > 1:
        return any(_within(a, member) for member in _members(b))
    (kind, of), (other, of_other) = _generic(a), _generic(b)
    if kind is not None and kind is other and len(of) == len(of_other):
        return all(map(_within, of, of_other))
    return isinstance(a, type) and isinstance(b, type) and _has_fields(b) and issubclass(a, b)


def _plain(annotation: object) -> object:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return NONE if annotation is None else annotation


def _members(annotation: object) -> list[object]:
    plain = _plain(annotation)
    if get_origin(plain) in (Union, types.UnionType):
        return [_plain(member) for member in get_args(plain)]
    return [plain]


def _generic(annotation: object) -> tuple[object, tuple[object, ...]]:
    """`Page` and `(Item,)` of `Page[Item]`, for pydantic's generic models too; None and nothing of other types."""
    if _is_model(annotation):
        metadata = annotation.__pydantic_generic_metadata__
        return metadata["origin"], metadata["args"]
    return get_origin(annotation), get_args(annotation)


def _has_fields(cls: type) -> bool:
    return _is_model(cls) or dataclasses.is_dataclass(cls)


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not BaseModel
