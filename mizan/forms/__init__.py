"""Django forms as server functions: NAME.schema, NAME.validate and NAME.submit.

    class ContactForm(mizanFormMixin, forms.Form):
        mizan = mizanFormMeta(name="contact")

mixin       what an application writes: the mixin, its hooks, and what is said of a form
functions   the three functions of a form, and their registration
binding     from JSON to a bound form, and from its errors to JSON; formsets does the same for rows of forms
kinds       which JSON each field takes
describe    fields and widgets in the words of the schema
declared    the forms that there are, and why one with a file is refused
checks      the system check that says so
"""

from mizan.forms.mixin import mizanFormMeta, mizanFormMixin

__all__ = ["mizanFormMeta", "mizanFormMixin"]
