"""The shop's Django settings. Whatever differs between machines comes from the environment."""

import os
import secrets
from pathlib import Path

HERE = Path(__file__).parent

# A key of its own for each process keeps a forgotten setting harmless: sessions end with the process.
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY") or secrets.token_urlsafe(48)
ALLOWED_HOSTS = os.environ.get("DEMO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

MIZAN_MWT_SECRET = os.environ.get("MIZAN_MWT_SECRET")
MIZAN_CACHE_SECRET = os.environ.get("MIZAN_CACHE_SECRET")
MIZAN_CACHE_REDIS_URL = os.environ.get("MIZAN_CACHE_REDIS_URL")
MIZAN_EDGE_ADMIN_URL = os.environ.get("MIZAN_EDGE_ADMIN_URL")
MIZAN_EDGE_ADMIN_TOKEN = os.environ.get("MIZAN_EDGE_ADMIN_TOKEN")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "mizan",
    "demo.shop",
]
MIDDLEWARE = [
    "mizan.middleware.MizanMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "demo.urls"
ASGI_APPLICATION = "demo.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", HERE.parent / ".demo" / "shop.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
    }
}
AUTH_USER_MODEL = "shop.User"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
