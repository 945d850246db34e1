import os
from pathlib import Path

HOME = Path(os.environ["SITE_HOME"])

INSTALLED_APPS = [
    "mizan",
    "myapp",
    "mizan.allauth",
    "allauth",
    "allauth.account",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]

MIZAN_CACHE_SECRET = os.environ["MIZAN_CACHE_SECRET"]
MIZAN_CACHE_REDIS_URL = os.environ["SITE_REDIS_URL"]
MIZAN_MWT_SECRET = os.environ["MIZAN_MWT_SECRET"]

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [MIZAN_CACHE_REDIS_URL]},
    }
}

# As startproject and allauth's quickstart have them: Mizan's own middleware is optional, and not here.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ACCOUNT_EMAIL_VERIFICATION = "none"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HOME / "db.sqlite3"}}
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = HOME / "mail"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # no time for better ones in tests
SECRET_KEY = os.environ["SITE_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "myproject.urls"
