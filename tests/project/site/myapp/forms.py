from django import forms
from django.core.mail import send_mail

from mizan.forms import mizanFormMeta, mizanFormMixin


def send_email(data: dict[str, str]) -> None:
    send_mail(data["name"], data["message"], data["email"], ["site@example.org"])


class ContactForm(mizanFormMixin, forms.Form):
    mizan = mizanFormMeta(name="contact", title="Contact Us", submit_label="Send")

    name = forms.CharField()
    email = forms.EmailField()
    message = forms.CharField(widget=forms.Textarea)

    def on_submit_success(self, request):
        send_email(self.cleaned_data)
        return {"sent": True}
