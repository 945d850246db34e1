from django import forms
from pydantic import BaseModel

from mizan.channels import ReactChannel
from mizan.client import client
from mizan.forms import mizanFormMeta, mizanFormMixin
from mizan.setup.registry import register


class Output(BaseModel):
    message: str


@client
def echo(request, text: str) -> Output:
    return Output(message=text)


register(echo, "echo")


def my_callable(request):
    return "Ticket" in request.headers


@client(auth=True)
def members_only(request) -> str:
    return "members"


@client(auth="staff")
def staff_only(request) -> str:
    return "staff"


@client(auth="superuser")
def superusers_only(request) -> str:
    return "superusers"


@client(auth=my_callable)
def with_ticket(request) -> str:
    return "welcome"


@client(context="global")
def current_user(request) -> str | None:
    return request.user.username or None


@client(context="local")
def greet(request, name: str) -> Output:
    return Output(message=f"hello {name}")


class ContactForm(mizanFormMixin, forms.Form):
    mizan = mizanFormMeta(name="contact", title="Contact Us")
    name = forms.CharField()
    email = forms.EmailField()

    def on_submit_success(self, request):
        return {"sent": True}


class ChatChannel(ReactChannel):
    class Params(BaseModel):
        room: str

    class DjangoMessage(BaseModel):
        text: str

    def authorize(self, params):
        return self.user.is_authenticated

    def group(self, params):
        return f"chat_{params.room}"
