"""Settings: flags over environment over file. No other module of what serves reads a setting from the environment."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from mizan_core.credentials import IDENTITY_COOKIES, IDENTITY_HEADERS, IGNORED_COOKIES
from mizan_core.errors import MizanError
from mizan_core.keys import SecretError
from mizan_core.mwt import Keyring
from mizan_edge.client.access_line import LineFormat
from mizan_edge.http.forwarding import Trusted
from mizan_edge.http.limits import Limits
from mizan_edge.http.message import normal_name
from mizan_edge.rules.compression import CompressWhat
from mizan_edge.rules.identity import IdentityRules
from mizan_edge.rules.site import Rules
from mizan_edge.system.addresses import is_address

PREFIX = "MIZAN_EDGE_"
SECRETS = ("cache_secret", "mwt_secret", "admin_token", "read_token")
_REDIS_OPTIONS = ("db", "username", "password", "client_name")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)(:[0-9]{1,5})?")
_PASSWORD = re.compile(r"://[^/]*:[^/]*@|[?&]password=")
_TOKEN = re.compile(r"[!-~]+")
_UNIX_ORIGIN = re.compile(r"unix:(//)?/[^/?#\0][^?#\0]*|http\+unix://%2[Ff][^/?#@\0]+")


class ConfigError(MizanError):
    """Settings that cannot be used; each line names the setting and what to do."""


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        raise ValueError('not a list of texts: write it like ["one", "two"]')
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "mizan-edge"


class Settings(BaseSettings):
    """Every setting, with its default. A flag is the name with hyphens, an environment variable has the prefix."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", populate_by_name=True)

    origin: str = Field(description="URL of the origin, like http://127.0.0.1:8000 or unix:/run/site.sock")
    origin_ca: Path | None = Field(
        None, description="PEM file of the authorities that vouch for an https:// origin; without it, the system's"
    )
    manifest: Path = Field(description="the edge manifest, as `manage.py export_edge_manifest` writes it")
    watch_manifest: bool = Field(False, description="use another manifest as soon as that file is one")
    listen: str = Field("127.0.0.1:8080", description="address of the public listener, or unix:/path")
    tls_cert: Path | None = Field(
        None, description="PEM file of the public listener's certificate and its chain; a reload reads it again"
    )
    tls_key: Path | None = Field(None, validate_default=True, description="PEM file of that certificate's key")
    admin: str = Field("127.0.0.1:8081", description="address of the admin listener, or unix:/path")
    redis: str | None = Field(None, repr=False, description="URL of Redis; without it, a redis-server is started")
    namespace: str = Field("mizan", description="prefix of every Redis name, so that sites can share a server")
    workers: int = Field(1, ge=0, le=1024, description="worker processes; 0: serve in the keeper's own process")
    near: int = Field(
        64 << 20,
        ge=0,
        description="bytes of memory for responses in each worker, and a quarter more for answers that are ready; "
        "0: only Redis has them",
    )
    state_dir: Path = Field(
        default_factory=_state_dir,
        description="directory of this edge alone, which must survive restarts: journal, id, tokens, Redis socket",
    )
    allowed_hosts: Words = Field((), description="hosts that are served; none: any, and the host is part of every key")
    trusted_proxies: Words = Field(
        (), description="networks whose X-Forwarded-* fields are believed; `unix`: whoever reaches a Unix socket"
    )
    identity_cookies: Words = Field(IDENTITY_COOKIES, description="cookies that may stand beside a token")
    ignored_cookies: Words = Field(IGNORED_COOKIES, description="cookies that say nothing about who is asking")
    identity_headers: Words = Field(
        IDENTITY_HEADERS, description="request fields that tell an application who is asking"
    )
    languages: Words = Field(
        (), description="languages of the site, like de,en: Accept-Language comes down to one of them; none: as it is"
    )
    admin_hosts: Words = Field((), description="names under which the admin listener may be addressed")
    client_revalidation: bool = Field(
        True, description="whether who has not signed in may demand a fetch (no-cache, max-age and the like)"
    )
    forward_mizan_headers: bool = Field(False, description="leave X-Mizan-* in responses, for a further edge")
    max_entry_bytes: int = Field(1 << 20, ge=0, description="largest body that is stored")
    compress: CompressWhat = Field(
        "shared",
        description="what is compressed: nothing, shared (all but the responses of signed-in users) or all",
    )
    shadow: float = Field(
        0, ge=0, le=1, description="share of hits that are compared with the origin's own answer, beside the requests"
    )
    redis_memory: int = Field(
        256 << 20, ge=1 << 20, description="memory limit of a redis-server that is started, bytes"
    )
    redis_timeout: Seconds = Field(0.05, description="seconds that a worker waits for one command of Redis")
    purge_timeout: Seconds = Field(
        0.25, description="seconds that the keeper waits for one command of Redis, purges among them"
    )
    confirm_purge_above: float = Field(
        0,
        ge=0,
        description="a purge at the admin listener has to be confirmed if the origin would take longer to fetch all "
        "of it again, seconds; 0: none has",
    )
    origin_connect_timeout: Seconds = Field(5, description="seconds for a connection to the origin")
    origin_timeout: Seconds = Field(60, description="seconds for which the origin may be silent")
    max_head_bytes: int = Field(256 << 10, ge=1024, description="bytes that the head of a request may have")
    max_target_bytes: int = Field(64 << 10, ge=1, description="bytes that the target of a request may have")
    max_fields: int = Field(256, ge=1, description="fields that a request may have")
    max_body_bytes: int = Field(0, ge=0, description="bytes that the body of a request may have; 0: any number")
    max_connections: int = Field(16384, ge=1, description="connections of clients to each worker")
    max_connections_per_address: int = Field(
        12288, ge=0, description="of these from one address, trusted proxies apart; 0: any number"
    )
    head_timeout: Seconds = Field(30, description="seconds for the head of a request, from its first byte")
    idle_timeout: Seconds = Field(75, description="seconds for which a client's connection is kept without a request")
    body_timeout: Seconds = Field(60, description="seconds for which the body of a request may stand still")
    write_timeout: Seconds = Field(60, description="seconds for which a client may take nothing of its answer")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="what is logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="how: lines of text, or a JSON object a line")
    access_log: str | None = Field(
        None, description="file to which every request is logged, or -, standard output; none: no access log"
    )
    access_log_format: LineFormat = Field("combined", description="how: combined, or json, an object a line")
    access_log_sample: float = Field(
        1.0, ge=0, le=1, description="share of requests that is logged; those answered with 500 or more always are"
    )
    access_log_query: bool = Field(False, description="log query strings too, whatever secrets they have")
    tell_request_ids: bool = Field(False, description="tell clients the id of their request, in X-Request-ID")
    cache_secret: SecretStr | None = Field(
        None, validation_alias="MIZAN_CACHE_SECRET", description="signs keys and entries"
    )
    mwt_secret: SecretStr | None = Field(None, validation_alias="MIZAN_MWT_SECRET", description="verifies user tokens")
    admin_token: SecretStr | None = Field(None, description="admin token of the role `purge`")
    read_token: SecretStr | None = Field(None, description="admin token of the role `read`")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("origin")
    @classmethod
    def _origin(cls, value: str) -> str:
        if _UNIX_ORIGIN.fullmatch(value):
            return value
        # The text may hold a password, so it is not repeated.
        if not re.fullmatch(r"https?://[^/?#@\s]+/?", value) or not _has_server(value):
            raise ValueError(
                "not the URL of a server: write it like http://127.0.0.1:8000, without path or user, "
                "or like unix:/run/site.sock"
            )
        return value

    @field_validator("origin_ca")
    @classmethod
    def _origin_ca(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        # Whoever names an authority believes that the origin is verified.
        if value is not None and not info.data.get("origin", "https://").startswith("https://"):
            raise ValueError("this origin has no certificate: write its URL with https://, or leave this out")
        return value

    @field_validator("tls_key")
    @classmethod
    def _tls_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert") is None):
            raise ValueError("a certificate and its key belong together: give both tls_cert and tls_key, or neither")
        return value

    @field_validator("listen", "admin")
    @classmethod
    def _address(cls, value: str) -> str:
        if not is_address(value):
            raise ValueError(f"{value!r} is not an address: write it like 127.0.0.1:8080 or unix:/run/edge.sock")
        return value

    @field_validator("redis")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"(rediss?(\+(cluster|sentinel))?|unix)://", value):
            raise ValueError("not a Redis URL: write it like redis://127.0.0.1:6379/0")
        # The client's other options would undo what the edge needs of it: its timeouts, replies as bytes.
        for name, _ in parse_qsl((value or "").partition("?")[2], keep_blank_values=True):
            if name not in _REDIS_OPTIONS and not name.startswith("ssl_"):
                raise ValueError(f"{name!r} is no option of this URL: leave it out; {', '.join(_REDIS_OPTIONS)} are")
        return value

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            raise ValueError(f"{value!r} is not a namespace: use letters, digits, dots, hyphens and underscores")
        return value

    @field_validator("allowed_hosts", "admin_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not _HOST.fullmatch(text):
                raise ValueError(f"{text!r} is not a host name: write it like example.com or example.com:8080")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if text.endswith((":80", ":443")):
                # A request's host is known without it, and would not match.
                raise ValueError(f"{text!r} has a scheme's default port: leave it out; the name stands for every port")
        return value

    @field_validator("admin_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if (match := _HOST.fullmatch(text)) and match[2]:
                raise ValueError(f"{text!r} has a port: name the host alone, which stands for every port")
        return value

    @field_validator("languages")
    @classmethod
    def _languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*", text):
                raise ValueError(f"{text!r} is not a language tag: write it like de or pt-BR")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                Trusted.parse([text])
            except ValueError:
                raise ValueError(f"{text!r} is not a network: write it like 10.0.0.0/8 or ::1") from None
        return value

    @field_validator("admin_token", "read_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_token(value.get_secret_value())
        return value

    @field_validator("read_token")
    @classmethod
    def _another(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value == info.data.get("admin_token"):
            raise ValueError("the same as the admin token, so whoever may read might purge: use another one")
        return value

    @property
    def certificate_and_key(self) -> tuple[Path, Path] | None:
        """The files of the public listener's certificate and key, where it speaks TLS."""
        return (self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None


def _has_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_token(text: str) -> None:
    """Raises ValueError, without the text, for what cannot be sent as a token."""
    if not _TOKEN.fullmatch(text):
        raise ValueError("not a token: use printable ASCII characters without spaces, at least one")


def has_password(redis_url: str) -> bool:
    """Whether a URL of Redis tells a password."""
    return _PASSWORD.search(redis_url) is not None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else PREFIX + name.upper()


NAMES = frozenset(Settings.model_fields) | {
    field.validation_alias for field in Settings.model_fields.values() if isinstance(field.validation_alias, str)
}
"""What a key of the file may be."""


def load_settings(flags: Mapping[str, Any], config: Path | None) -> Settings:
    """The settings from flags, environment and file. Raises ConfigError with a line for each that is wrong."""
    if config is not None and not config.is_file():
        raise ConfigError(f"--config: there is no file {config}")

    class _WithFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return _WithFile(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines = dict.fromkeys(_line(problem) for problem in error.errors())
        raise ConfigError("\n".join(lines)) from None
    except (ValueError, OSError) as error:
        raise ConfigError(f"--config: {config}: {error}") from None


def _line(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{name}: missing: give --{name.replace('_', '-')} or set {variable(name)}"
    if problem["type"] == "extra_forbidden":
        return unknown_key(name)
    return f"{name}: {message}"


def unknown_key(name: str) -> str:
    """What is said of a key of the file that is no setting."""
    close = nearest(name)
    return f"{name}: there is no such setting" + (f"; the nearest is {close}" if close else "")


def nearest(name: str) -> str | None:
    """The setting whose name is spelled most like another one."""
    return next(iter(difflib.get_close_matches(name, Settings.model_fields, n=1)), None)


def handed_over(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, secrets included, from which a worker makes them again."""
    values = settings.model_dump()
    return {
        name: value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        if isinstance(value, Path)
        else value
        for name, value in values.items()
    }


def rules_of(settings: Settings, secret: bytes) -> Rules:
    """The settings that decide about requests. Raises ConfigError for an MWT secret that is too short."""
    keyring = None
    if settings.mwt_secret is not None:
        try:
            keyring = Keyring.parse(settings.mwt_secret.get_secret_value())
        except SecretError as error:
            raise ConfigError(str(error)) from None
    return Rules(
        secret=secret,
        identity=IdentityRules(
            settings.identity_cookies,
            settings.ignored_cookies,
            tuple(normal_name(name) for name in settings.identity_headers),
        ),
        keyring=keyring,
        allowed_hosts=tuple(host.lower() for host in settings.allowed_hosts),
        trusted_proxies=Trusted.parse(settings.trusted_proxies),
        languages=settings.languages,
        forward_mizan_headers=settings.forward_mizan_headers,
        client_revalidation=settings.client_revalidation,
        max_entry_bytes=settings.max_entry_bytes,
        compress=settings.compress,
        max_call_bytes=64 * 1024,
        shadow=settings.shadow,
    )


def limits_of(settings: Settings) -> Limits:
    """The settings that keep clients from taking too much."""
    return Limits(
        head_bytes=settings.max_head_bytes,
        target_bytes=settings.max_target_bytes,
        fields=settings.max_fields,
        body_bytes=settings.max_body_bytes,
        connections=settings.max_connections,
        connections_per_address=settings.max_connections_per_address,
        head_s=settings.head_timeout,
        idle_s=settings.idle_timeout,
        body_s=settings.body_timeout,
        write_s=settings.write_timeout,
    )
