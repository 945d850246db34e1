"""The site's settings, for `settings.configure`: the database lies where the test session says."""

from pathlib import Path
from typing import Any

MWT_SECRET = "mwt-secret-of-the-tests-0123456789abcdef"
JWT_SECRET = "jwt-secret-of-the-tests-0123456789abcdef"
CACHE_SECRET = "cache-secret-of-the-tests-0123456789abcdef"

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]


def site_settings(home: Path) -> dict[str, Any]:
    """Settings with SQLite in `home`; without a cache, and without MizanMiddleware, which is optional."""
    return {
        "SECRET_KEY": "django-secret-of-the-tests-0123456789abcdef",
        "ALLOWED_HOSTS": ["testserver"],
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "mizan",
            "mizan.allauth",
            "mizan.jwt",
            "tests.django.site.apps.SiteConfig",
        ],
        "MIDDLEWARE": MIDDLEWARE,
        "ROOT_URLCONF": "tests.django.site.urls",
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "DATABASES": {
            name: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": home / f"{name}.sqlite3",
                "OPTIONS": {"init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL"},
            }
            for name in ("default", "second")
        },
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "USE_TZ": True,
        "CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        "MIZAN_MWT_SECRET": MWT_SECRET,
        "MIZAN_JWT_SECRET": JWT_SECRET,
        "MIZAN_MODEL_CONTEXTS": {
            "site.Portfolio": ["user", {"user_id": "owner"}, "catalog"],
            "site.LiveAlbum": ["user", {"user_id": "owner"}, "labels"],
            "site.Label": ["labels", {"label": "pk"}],
        },
        "LOGGING_CONFIG": None,
    }
