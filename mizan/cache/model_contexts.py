"""MIZAN_MODEL_CONTEXTS: models whose changes purge contexts, wherever they are made.

    MIZAN_MODEL_CONTEXTS = {
        "shop.Product": "catalog",
        "auth.User": ["user", {"user_id": "pk"}],
        "shop.Order": ["user", {"user_id": "customer"}, "sales"],
    }

A context, or a list of contexts, each of which may be followed by where its parameters' values come from: fields of the
model. A row that moves from one value to another changes what depends on either, so the old one is read from the
database before it is overwritten:

1. A save reads the old value.   2. Somebody else writes another, and a page is cached with it.   3. The save is
written; the value of 2 is purged by nobody. -- Hence the row is locked at 1 where the save is in a transaction and the
database has row locks. Elsewhere this is left open between two statements; a rule without parameters has no such race.

Signals are all that this hears: `QuerySet.update()`, `bulk_create()`, `bulk_update()` and raw SQL send none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import connections, models
from django.db.models import signals

from mizan.cache.purging import purge_after_commit, purge_of
from mizan.declare.compiled import compiled
from mizan.declare.conf import conf
from mizan_core.scopes import Scope
from mizan_core.scoping import concerned

SETTING = "MIZAN_MODEL_CONTEXTS"
_BEFORE = "_mizan_scopes_before"
_UID = "mizan.model_contexts"


@dataclass(frozen=True, slots=True)
class Rule:
    """A context, and from which attributes of a row its parameters get their values."""

    context: str
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What the rows of one model purge."""

    model: type[models.Model]
    rules: tuple[Rule, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The attributes that the rules look at."""
        return tuple(dict.fromkeys(source for rule in self.rules for source in rule.sources.values()))

    def of(self, row: Mapping[str, object]) -> tuple[Scope, ...]:
        """The scopes of a row; a value that no parameter can have, such as an expression, widens."""
        coverage = compiled().coverage
        return tuple(
            scope
            for rule in self.rules
            for scope in concerned(rule.context, {p: row[source] for p, source in rule.sources.items()}, coverage)
        )

    def whole(self) -> tuple[Scope, ...]:
        """The scopes of all rows."""
        return tuple(Scope(rule.context) for rule in self.rules)

    def stored(self, keys: Iterable[object], using: str) -> tuple[Scope, ...]:
        """The scopes of rows as they are in the database now."""
        keys = list(keys)
        if set(self.columns) <= {"pk"}:
            return tuple(scope for pk in keys for scope in self.of({"pk": pk}))
        rows = self.model._base_manager.using(using).filter(pk__in=keys)
        connection = connections[using]
        if connection.in_atomic_block and connection.features.has_select_for_update:
            rows = rows.select_for_update()
        return tuple(scope for row in rows.values(*self.columns) for scope in self.of(row))

    def now(self, instance: models.Model) -> tuple[Scope, ...]:
        """The scopes of an instance's values."""
        return self.of({column: getattr(instance, column) for column in self.columns})


def connect() -> None:
    """Listens to the models of the setting, to those that inherit from them and to their bases. Raises
    ImproperlyConfigured for what names no model or field."""
    for here in rules():
        _connect(here)


def rules() -> list[ModelRules]:
    """What the setting says."""
    return [_rules(label, value) for label, value in (conf().model_contexts or {}).items()]


def _rules(label: str, value: Any) -> ModelRules:
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        raise ImproperlyConfigured(f"{SETTING}: there is no model {label!r}: write 'app_label.Model'") from None
    said = [value] if isinstance(value, str) else value
    found: list[Rule] = []
    for item in said if said and isinstance(said, list | tuple) else [None]:
        if isinstance(item, str):
            found.append(Rule(item, {}))
        elif isinstance(item, Mapping) and found and not found[-1].sources:
            sources = {param: _attribute(model, label, field) for param, field in item.items()}
            found[-1] = Rule(found[-1].context, sources)
        else:
            raise ImproperlyConfigured(
                f"{SETTING}[{label!r}] takes a context, or a list such as ['user', {{'user_id': 'pk'}}, 'catalog'], "
                f"not {value!r}"
            )
    return ModelRules(model, tuple(found))


def _attribute(model: type[models.Model], label: str, field: str) -> str:
    if field == "pk":
        return field
    try:
        found = model._meta.get_field(field)
    except FieldDoesNotExist:
        found = next((f for f in model._meta.concrete_fields if f.attname == field), None)  # type: ignore[assignment]
    if not isinstance(found, models.Field) or found not in model._meta.concrete_fields:
        fields = ", ".join(("pk", *(f.name for f in model._meta.concrete_fields)))
        raise ImproperlyConfigured(f"{SETTING}[{label!r}]: {field!r} is no field of its own: take one of {fields}")
    return found.attname


def _connect(here: ModelRules) -> None:
    # An instance may be heard by the rules of its own model and by those of another that it inherits from.
    noted = f"{_BEFORE}_{here.model._meta.label}"
    # A proxy's rows are saved as those of the model behind it, too.
    concrete: type[models.Model] = here.model._meta.concrete_model  # type: ignore[assignment]

    def before(instance: models.Model, using: str, **_: Any) -> None:
        if not instance._state.adding or instance.pk is not None:
            setattr(instance, noted, here.stored([instance.pk], using))

    def after(instance: models.Model, **_: Any) -> None:
        purge_after_commit(purge_of((*instance.__dict__.pop(noted, ()), *here.now(instance))))

    def gone(instance: models.Model, **_: Any) -> None:
        scopes: tuple[Scope, ...] = instance.__dict__.pop(noted, ())
        # To look at what was not loaded would be to look for the row.
        if not instance.get_deferred_fields():
            scopes += here.now(instance)
        purge_after_commit(purge_of(scopes))

    def related(instance: models.Model, action: str, model: type[models.Model], using: str, **more: Any) -> None:
        keys = more["pk_set"]
        # What is cleared is known only before, and then not by name.
        if action not in ("post_add", "post_remove", "post_clear") or keys == set():
            return
        scopes: tuple[Scope, ...] = ()
        if isinstance(instance, concrete):
            scopes += here.stored([instance.pk], using)
        if issubclass(model, concrete):
            scopes += here.stored(keys, using) if keys is not None else here.whole()
        purge_after_commit(purge_of(scopes))

    def before_base(instance: models.Model, using: str, **_: Any) -> None:
        if instance.pk is not None:
            setattr(instance, noted, here.stored(_rows_of(here, instance, using), using))

    def after_base(instance: models.Model, using: str, **_: Any) -> None:
        scopes = here.stored(_rows_of(here, instance, using), using)
        purge_after_commit(purge_of((*instance.__dict__.pop(noted, ()), *scopes)))

    def listen(signal: signals.ModelSignal, receiver: Any, sender: type[models.Model]) -> None:
        # Not weakly, since nobody else holds the receivers.
        uid = f"{_UID}:{here.model._meta.label}:{receiver.__name__}"
        signal.connect(receiver, sender=sender, weak=False, dispatch_uid=uid)

    # Each sender by itself: a receiver for all would make Django load every row that it deletes, of any model.
    for model in _those_of(concrete):
        for signal in (signals.pre_save, signals.pre_delete):
            listen(signal, before, model)
        listen(signals.post_save, after, model)
        listen(signals.post_delete, gone, model)
        for field in model._meta.get_fields(include_hidden=True):
            if (through := _through(field)) is not None:
                listen(signals.m2m_changed, related, through)
    # What a row has inherited may be saved as a row of the other model alone.
    bases = concrete._meta.get_parent_list()
    for model in apps.get_models(include_auto_created=True):
        if model._meta.concrete_model in bases:
            listen(signals.pre_save, before_base, model)
            listen(signals.post_save, after_base, model)
    for field in concrete._meta.get_fields(include_hidden=True):
        if _stays(field) or _through(field) is not None:
            for model in _those_of(field.related_model):  # type: ignore[arg-type]
                listen(signals.pre_delete, _parting(here, field), model)


def _parting(here: ModelRules, field: Any) -> Any:
    """The receiver for the deletion of what rows refer to by this field. Of a reference that Django sets to null
    instead, and of a many-to-many relation whose other side is deleted, no signal tells. All this is in the
    transaction of the deletion."""

    def parted(instance: models.Model, using: str, **_: Any) -> None:
        if (through := _through(field)) is None:
            rows = here.model._base_manager.using(using).filter(**{field.name: instance}).values_list("pk", flat=True)
        else:
            relation = field if hasattr(field, "m2m_field_name") else field.field
            near, far = relation.m2m_field_name(), relation.m2m_reverse_field_name()
            if relation is not field:
                near, far = far, near
            rows = through._base_manager.using(using).filter(**{far: instance}).values_list(f"{near}__pk", flat=True)
        keys = list(rows)
        moved = keys and getattr(field, "attname", None) in here.columns
        purge_after_commit(purge_of((*here.stored(keys, using), *(here.whole() if moved else ()))))

    parted.__name__ = f"parted_{field.name}"
    return parted


def _rows_of(here: ModelRules, base: models.Model, using: str) -> list[object]:
    """The keys of the rows that inherit from a row of a base model: none or one."""
    inherited = {base._meta.pk.attname: base.pk}
    return list(here.model._base_manager.using(using).filter(**inherited).values_list("pk", flat=True))


def _stays(field: Any) -> bool:
    """Whether a row stays, and changes, when what it refers to is deleted."""
    if not isinstance(field, models.ForeignKey):
        return False
    return field.remote_field.on_delete not in (models.CASCADE, models.PROTECT, models.RESTRICT)


def _those_of(model: type[models.Model]) -> list[type[models.Model]]:
    """The models whose rows are rows of a model: itself, its proxies, and what inherits from it."""
    return [found for found in apps.get_models(include_auto_created=True) if issubclass(found, model)]


def _through(field: Any) -> type[models.Model] | None:
    """The table of a many-to-many relation, from either side."""
    if not field.many_to_many:
        return None
    through: type[models.Model] | None = getattr(getattr(field, "remote_field", None), "through", None) or getattr(
        field, "through", None
    )
    return through
