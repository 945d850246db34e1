"""Which classes become server functions, and what is refused where it stands."""

from typing import Any

import pytest
from django import forms
from django.core import checks
from django.db import models
from django.http import HttpRequest
from django.test.utils import isolate_apps

from mizan.forms import mizanFormMeta, mizanFormMixin
from mizan_core.problems import problems
from mizan_core.registry import Registry, RegistryError
from mizan_core.scopes import ScopeError
from mizan_core.signature import SignatureError

pytestmark = pytest.mark.usefixtures("registry")


def names(registry: Registry) -> list[str]:
    return [spec.name for spec in registry]


def declare(name: str = "tea", *, module: str = __name__, **meta: Any) -> type:
    class TeaForm(mizanFormMixin, forms.Form):
        __module__ = module
        mizan = mizanFormMeta(name=name, **meta)
        kind = forms.CharField()

    return TeaForm


def test_defining_the_class_is_enough(registry: Registry):
    declare()
    assert names(registry) == ["tea.schema", "tea.submit", "tea.validate"]


def test_a_base_without_a_name_declares_nothing_and_its_hooks_are_inherited(registry: Registry):
    class Base(mizanFormMixin, forms.Form):
        def on_submit_success(self, request: HttpRequest) -> str:
            return "poured"

    class MixinAlone(mizanFormMixin):
        pass

    assert names(registry) == []

    class Tea(MixinAlone, Base):
        mizan = mizanFormMeta(name="tea")

    submit = registry.get("tea.submit")
    assert submit is not None
    assert submit.fn(HttpRequest(), data={}).data == "poured"


def test_a_subclass_that_only_inherits_the_name_is_an_ordinary_form(registry: Registry):
    tea = declare()

    class GreenTea(tea):  # type: ignore[valid-type, misc]
        origin = forms.CharField()

    assert names(registry) == ["tea.schema", "tea.submit", "tea.validate"]
    schema = registry.get("tea.schema")
    assert schema is not None
    assert [field.name for field in schema.fn(HttpRequest()).fields] == ["kind"]

    class BlackTea(tea):  # type: ignore[valid-type, misc]
        mizan = mizanFormMeta(name="black_tea")
        milk = forms.BooleanField()

    schema = registry.get("black_tea.schema")
    assert schema is not None
    assert [field.name for field in schema.fn(HttpRequest()).fields] == ["kind", "milk"]


def test_a_module_that_is_loaded_again_defines_its_form_anew(registry: Registry):
    declare(affects="pots")
    again = declare(title="Tea")
    schema, submit = registry.get("tea.schema"), registry.get("tea.submit")
    assert schema is not None and submit is not None
    assert schema.fn(HttpRequest()).title == "Tea"
    assert not submit.is_mutation
    assert again.__name__ == "TeaForm"


def test_two_forms_of_one_name_are_a_problem_that_names_both(registry: Registry):
    declare()
    declare(module="elsewhere")
    place = "declare.<locals>.TeaForm"
    assert [problem.text for problem in problems(registry)] == [
        f"two functions are called 'tea.{verb}', {__name__}.{place}.{verb} and elsewhere.{place}.{verb}"
        for verb in ("schema", "submit", "validate")
    ]


def test_a_form_and_a_function_of_one_name_are_a_problem(registry: Registry):
    @registry.client
    def pour(request: Any) -> None: ...

    registry.register(pour, "tea.submit")
    declare()
    assert any("two functions are called 'tea.submit'" in problem.text for problem in problems(registry))


@pytest.mark.parametrize(
    ("meta", "error", "said"),
    [
        ({"name": "black tea"}, RegistryError, "ASCII identifier"),
        ({"name": ""}, RegistryError, "ASCII identifier"),
        ({"auth": "nobody"}, RegistryError, "auth= takes"),
        ({"affects": "no-name"}, ScopeError, "not an ASCII identifier"),
        ({"context": "no-name"}, ScopeError, "not an ASCII identifier"),
    ],
)
def test_what_is_said_of_a_form_is_checked(meta: dict[str, Any], error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        declare(**meta)


def test_a_name_alone_is_not_enough_and_neither_is_a_class_that_is_no_form():
    with pytest.raises(RegistryError, match=r"write mizan = mizanFormMeta\(name=\.\.\.\)"):

        class Named(mizanFormMixin, forms.Form):
            mizan = "tea"

    with pytest.raises(RegistryError, match=r"write class NoForm\(mizanFormMixin, forms\.Form\)"):

        class NoForm(mizanFormMixin):
            mizan = mizanFormMeta(name="tea")


def test_arguments_that_cannot_be_meant_are_refused():
    with pytest.raises(RegistryError, match="has a parameter 'data', which the form's functions have themselves"):

        class Data(mizanFormMixin, forms.Form):
            mizan = mizanFormMeta(name="data")

            @classmethod
            def get_init_kwargs(cls, request: HttpRequest, data: int) -> dict[str, Any]:
                return {}

    with pytest.raises(RegistryError, match="make it a @classmethod"):

        class OfAForm(mizanFormMixin, forms.Form):
            mizan = mizanFormMeta(name="of_a_form")

            def get_init_kwargs(self, request: HttpRequest) -> dict[str, Any]:  # type: ignore[override]
                return {}

    with pytest.raises(SignatureError, match=r"the annotation of 'pot' in unknown\.schema\(\) cannot be read"):

        class Unknown(mizanFormMixin, forms.Form):
            mizan = mizanFormMeta(name="unknown")

            @classmethod
            def get_init_kwargs(cls, request: HttpRequest, pot: "Pot") -> dict[str, Any]:  # type: ignore[name-defined]  # noqa: F821
                return {}


def test_annotations_may_be_texts(registry: Registry):
    class Tea(mizanFormMixin, forms.Form):
        mizan = mizanFormMeta(name="tea")

        @classmethod
        def get_init_kwargs(cls, request: HttpRequest, pot: "int") -> "dict[str, Any]":
            return {}

        def on_submit_success(self, request: HttpRequest) -> "list[int]":
            return [1]

        def on_submit_failure(self, request: HttpRequest) -> "str":
            return "no"

    submit = registry.get("tea.submit")
    assert submit is not None
    assert [(parameter.name, parameter.type) for parameter in submit.signature.parameters][1:] == [("pot", "integer")]
    assert submit.signature.output.model_fields["data"].annotation == (list[int] | str | None)


class TestFiles:
    def test_a_field_that_takes_a_file_is_refused_where_it_stands(self):
        with pytest.raises(RegistryError, match=r"'photo' takes a file in 'picture', .*@client\(route=\.\.\.\)"):

            class Photo(mizanFormMixin, forms.Form):
                mizan = mizanFormMeta(name="photo")
                picture = forms.ImageField()

        with pytest.raises(RegistryError, match="takes a file in 'text'"):

            class ByItsWidget(mizanFormMixin, forms.Form):
                mizan = mizanFormMeta(name="photo")
                text = forms.CharField(widget=forms.FileInput)

    def test_so_are_those_that_it_inherits_and_those_of_a_formset(self):
        class Base(forms.Form):
            picture = forms.FileField()

        with pytest.raises(RegistryError, match="'picture'"):

            class Photo(mizanFormMixin, Base):
                mizan = mizanFormMeta(name="photo")

        with pytest.raises(RegistryError, match="'picture'"):

            class Photos(mizanFormMixin, forms.formset_factory(Base)):  # type: ignore[misc]
                mizan = mizanFormMeta(name="photos")

    def test_those_of_a_model_are_found_by_the_system_check(self):
        with isolate_apps("tests.django.site"):

            class Person(models.Model):
                avatar: "models.FileField" = models.FileField()

                class Meta:
                    app_label = "site"

        class Avatar(mizanFormMixin, forms.ModelForm):  # type: ignore[type-arg]
            mizan = mizanFormMeta(name="avatar")

            class Meta:
                model = Person
                fields = ("avatar",)

        (found,) = [message for message in checks.run_checks() if message.id == "mizan.E010"]
        assert "the form 'avatar' takes a file in 'avatar'" in found.msg

    def test_a_path_is_no_file(self, registry: Registry, tmp_path: Any):
        (tmp_path / "green").touch()

        class Path(mizanFormMixin, forms.Form):
            mizan = mizanFormMeta(name="path")
            path = forms.FilePathField(str(tmp_path), required=False)

        schema = registry.get("path.schema")
        assert schema is not None
        (field,) = schema.fn(HttpRequest()).fields
        assert [choice.label for choice in field.choices] == ["---------", "green"]
