"""django-allauth as server functions: put "mizan.allauth" behind "allauth.account" in INSTALLED_APPS.

`auth_sign_up`, `auth_sign_in`, `auth_sign_out`, `auth_request_password_reset`, `auth_reset_password` and
`auth_verify_email` run allauth's own views, so its forms, adapter, rate limits, login stages and settings decide what
happens. Needs the extra: `pip install 'mizan-edge[allauth]'`.
"""
