"""Forms as server functions, and `sent`: what was sent by the contact form."""

import datetime as dt
import uuid
from typing import Any

from django import forms
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxLengthValidator, RegexValidator
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy
from pydantic import BaseModel

from mizan.client import client
from mizan.forms import mizanFormMeta, mizanFormMixin
from tests.django.site.clients import user_profile
from tests.django.site.models import Note

sent: list[Any] = []


class ContactForm(mizanFormMixin, forms.Form):
    mizan = mizanFormMeta(name="contact", title="Contact Us", submit_label="Send")

    name = forms.CharField()
    email = forms.EmailField()
    message = forms.CharField(widget=forms.Textarea)

    def clean(self) -> dict[str, Any] | None:
        if self.cleaned_data.get("name") == "Nobody":
            raise forms.ValidationError("Somebody has to write.")
        return self.cleaned_data

    def on_submit_success(self, request: HttpRequest) -> dict[str, bool]:
        sent.append(self.cleaned_data)
        return {"sent": True}

    def on_submit_failure(self, request: HttpRequest) -> dict[str, int]:
        return {"wrong": len(self.errors)}


# --- every field


COLORS = [("warm", [("r", "Red"), ("y", "Yellow")]), ("cold", [("b", "Blue")]), ("", gettext_lazy("None"))]


def sizes() -> list[tuple[int, str]]:
    return [(count, f"{count} users") for count in range(User.objects.count() + 1)]


class EveryField(mizanFormMixin, forms.Form):
    mizan = mizanFormMeta(name="every")

    boolean = forms.BooleanField(required=False)
    char = forms.CharField(min_length=2, max_length=20, label="A name", help_text="As in your passport")
    choice = forms.ChoiceField(choices=COLORS, required=False)
    lazy = forms.ChoiceField(choices=sizes, widget=forms.RadioSelect)
    combo = forms.ComboField(fields=[forms.CharField(max_length=30), forms.EmailField()])
    date = forms.DateField(input_formats=["%d.%m.%Y"])
    day = forms.DateField(widget=forms.SelectDateWidget(years=(2024, 2025)), initial=dt.date(2024, 2, 29))
    datetime = forms.DateTimeField(initial=dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC))
    decimal = forms.DecimalField(max_digits=5, decimal_places=2, max_value=100)
    duration = forms.DurationField(initial=dt.timedelta(hours=1))
    email = forms.EmailField()
    number = forms.FloatField(min_value=0.5, step_size=0.5)
    ip = forms.GenericIPAddressField()
    integer = forms.IntegerField(min_value=1, max_value=9, initial=lambda: 5)
    json = forms.JSONField(initial={"a": 1})
    choices = forms.MultipleChoiceField(choices=COLORS, widget=forms.CheckboxSelectMultiple, initial=["r"])
    null = forms.NullBooleanField()
    regex = forms.RegexField(r"^[a-c]+$")
    slug = forms.SlugField()
    time = forms.TimeField()
    typed = forms.TypedChoiceField(choices=[(True, "Yes"), (False, "No")], coerce=lambda text: text == "True")
    several = forms.TypedMultipleChoiceField(choices=[(1, "One"), (2, "Two")], coerce=int)
    url = forms.URLField(assume_scheme="https")
    uuid = forms.UUIDField(initial=uuid.UUID(int=7))
    when = forms.SplitDateTimeField(initial=dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC))
    user = forms.ModelChoiceField(User.objects.order_by("pk"), required=False)
    groups = forms.ModelMultipleChoiceField(Group.objects.order_by("pk"), to_field_name="name", required=False)
    secret = forms.CharField(widget=forms.PasswordInput, initial="hunter2")
    hidden = forms.CharField(widget=forms.HiddenInput, initial="seen")
    fixed = forms.CharField(disabled=True, initial="as it is")
    checked = forms.CharField(
        widget=forms.TextInput(attrs={"class": "wide", "data-kind": "code"}),
        max_length=10,
        validators=[MaxLengthValidator(4), RegexValidator(r"^\d+$", "Digits, please.")],
    )

    def on_submit_success(self, request: HttpRequest) -> dict[str, str]:
        return {name: repr(value) for name, value in self.cleaned_data.items()}


# --- with a request, and with arguments of its own


class Saved(BaseModel):
    pk: int


class ProfileForm(mizanFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    mizan = mizanFormMeta(name="profile", affects=user_profile, auth=True)

    class Meta:
        model = User
        fields = ("username", "first_name", "groups")

    @classmethod
    def get_init_kwargs(cls, request: HttpRequest, user_id: int, **_: Any) -> dict[str, Any]:
        if request.user.pk != user_id:
            raise PermissionDenied
        return {"instance": get_object_or_404(User, pk=user_id)}

    def on_submit_success(self, request: HttpRequest) -> Saved:
        if self.instance.first_name == "boom":
            raise RuntimeError("after the change")
        return Saved(pk=self.instance.pk)


class CountryForm(mizanFormMixin, forms.Form):
    """Its fields are those of the country that it is given."""

    mizan = mizanFormMeta(name="country")

    country = forms.ChoiceField(choices=[("at", "Austria"), ("us", "USA")])

    def __init__(self, *args: Any, language: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["country"].label = f"Country ({language})"
        if self.data.get("country") == "us":
            self.fields["state"] = forms.CharField(max_length=2)
            self.fields["since"] = forms.DateField()

    @classmethod
    async def get_init_kwargs(cls, request: HttpRequest) -> dict[str, Any]:  # type: ignore[override]
        return {"language": request.headers.get("X-Language", "en")}

    async def on_submit_success(self, request: HttpRequest) -> dict[str, Any]:
        return self.cleaned_data


class PhotoForm(forms.Form):
    photo = forms.ImageField()


class UploadLater(mizanFormMixin, forms.Form):
    """What it takes shows only when it is made."""

    mizan = mizanFormMeta(name="upload_later")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= PhotoForm(*args, **kwargs).fields


# --- a schema that is cached, and what changes it


class TeamForm(mizanFormMixin, forms.Form):
    mizan = mizanFormMeta(name="team", context="teams")

    group = forms.ModelChoiceField(Group.objects.order_by("pk"))


class GroupForm(mizanFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    mizan = mizanFormMeta(name="group", affects="teams")

    class Meta:
        model = Group
        fields = ("name",)


@client(affects="teams")
def no_groups(request: HttpRequest) -> None:
    Group.objects.all().delete()


# --- formsets


class InviteForm(forms.Form):
    email = forms.EmailField()
    role = forms.CharField(required=False, initial="guest")

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"]).lower()


class InviteFormSet(mizanFormMixin, forms.formset_factory(InviteForm, max_num=3, validate_max=True)):  # type: ignore[misc]
    mizan = mizanFormMeta(name="invites", title=gettext_lazy("Yes"))

    @classmethod
    def get_init_kwargs(cls, request: HttpRequest, invited: list[str] | None = None) -> dict[str, Any]:
        return {"initial": [{"email": email} for email in invited or ()]}

    def clean(self) -> None:
        emails = [form.cleaned_data.get("email") for form in self.forms if form.is_valid()]
        if len(set(emails)) < len(emails):
            raise forms.ValidationError("Nobody is invited twice.")

    def on_submit_success(self, request: HttpRequest) -> list[str]:
        return [form.cleaned_data["email"] for form in self.forms]


class NotesFormSet(
    mizanFormMixin,
    forms.modelformset_factory(Note, fields=("owner", "text"), can_delete=True, extra=0),  # type: ignore[misc]
):
    mizan = mizanFormMeta(name="notes", affects="user")

    @classmethod
    def get_init_kwargs(cls, request: HttpRequest, user_id: int) -> dict[str, Any]:
        return {"queryset": Note.objects.filter(owner=user_id)}
