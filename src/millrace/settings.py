"""Every setting of the data plane: one frozen, checked object, read once at the edge.

Order of precedence: environment (`MILLRACE_…`), then the file named by `MILLRACE_SETTINGS`
(YAML, or `settings.yaml` in the data folder), then the defaults here. An unknown key is refused with the
nearest known one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from millrace.errors import SettingError, nearest
from millrace.names import ENV_PREFIX
from millrace.wanted import in_words

GIB = 1024**3
MIB = 1024**2
CENTURY_S: Final = 100 * 366 * 86_400.0
"""Longest that a reading's time may differ from now: beyond it microseconds leave 64 bits some day."""

# Variables with our prefix that are not settings of a process: where the settings are, where tests find datasets,
# where a tool finds its token.
NOT_SETTINGS = frozenset({"MILLRACE_SETTINGS", "MILLRACE_DATA_DIR", "MILLRACE_TOKEN_FILE"})


_PLACE: Final = re.compile(
    r"https://[^/?#@\s]+(/[^?#\s]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^?#\s]*)?"
)
"""An address over TLS, or on this machine."""
_ROOT: Final = re.compile(r"[a-z]+://[^/@]+/?")
"""The root of a host: the live page's own addresses and cookies begin there."""
_HEADER_WORD: Final = re.compile(r"[\x21-\x7e]*")
_SECRET: Final = frozenset({"api_token", "postgres_url", "stream_url", "cache_url", "oidc_client_secret"})


class Settings(BaseModel):
    """The docstring of a field is its manual; units are last in the name."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    home: Path = Path(".millrace")
    """Data folder: everything that Millrace keeps on this machine."""
    disk_max_bytes: int = Field(20 * GIB, ge=2 * GIB, alias="disk_max")
    """Bound of the data folder; at it ingest stops with a reason, nothing is deleted. Takes 20GB, 512MiB, …"""
    disk_free_min_bytes: int = Field(1 * GIB, ge=64 * MIB, alias="disk_free_min")
    """Free space on the disk below which ingest answers 429: a full disk kills the servers."""

    api_host: str = "127.0.0.1"
    """Address on which the API listens; 0.0.0.0 or :: (everywhere) is yours to ask for."""
    api_port: int = Field(8080, ge=1, le=65535)
    """Port of the REST API and the ingest."""
    api_token: str = Field("", repr=False)
    """Bearer token; empty: made at first start and kept in the data folder."""
    dashboard_port: int = Field(8081, ge=1, le=65535)
    """Port of the live page."""
    dashboard: bool = True
    """Whether `up` starts the live page."""
    dashboard_url: str = ""
    """Address at which people open the live page, for a sign-in to return there; empty: this machine's own."""
    oidc_issuer: str = ""
    """Identity provider (OpenID Connect) that signs people in to the live page; empty: the token does."""
    oidc_client_id: str = ""
    """Of the live page, at the identity provider."""
    oidc_client_secret: str = Field("", repr=False)
    """What the live page shows to the identity provider."""
    secret_dashboard_oidc_arn: str = ""
    """Secret of AWS Secrets Manager with `client_secret`, in the place of `oidc_client_secret`."""

    postgres_url: str = Field("", repr=False)
    """A PostgreSQL of your own (libpq URL); empty: the embedded one. Refused when it is less durable than ours."""
    stream_url: str = Field("", repr=False)
    """A Valkey/Redis of your own for the stream; empty: the embedded one."""
    cache_url: str = Field("", repr=False)
    """A Valkey/Redis of your own for the real-time store; empty: the embedded one."""

    shards: int = Field(8, ge=1, le=256)
    """Shards of the stream: fixed when the data folder is made."""
    workers: int = Field(0, ge=0, le=64)
    """Worker processes; 0: one per core."""
    ownership_s: float = Field(5.0, ge=1.0, le=60.0)
    """How long an owner of a shard may be silent before another takes it over."""

    stream_bytes_max: int = Field(2 * GIB, ge=64 * MIB)
    """Bytes that the stream may hold until trimmed; at the bound ingest answers 429."""
    cache_bytes_max: int = Field(1 * GIB, ge=32 * MIB)
    """Memory of the real-time store."""
    ingest_rate_max: int = Field(0, ge=0)
    """Readings per second that ingest admits over all sources; 0: no limit."""
    body_bytes_max: int = Field(8 * MIB, ge=1024)
    """Largest body of one request, inflated."""
    sources_max: int = Field(10_000, ge=1)
    """Sources that the door lets in."""
    tags_per_source_max: int = Field(20_000, ge=1)
    """Tags of one source; one more is a reject."""
    new_tags_per_source_day_max: int = Field(20_000, ge=1)
    """Unmodelled tags that one source may bring in a day."""
    past_max_s: float = Field(30 * 86_400.0, gt=0, le=CENTURY_S)
    """How old a reading may be when it is received."""
    future_max_s: float = Field(5.0, ge=0, le=CENTURY_S)
    """How far ahead of its receipt a reading's time may be."""
    critical_past_max_s: float | None = Field(None, gt=0, le=CENTURY_S)
    """The same bound for tags of class critical; unset: no other than `past_max_s`."""
    critical_future_max_s: float | None = Field(None, ge=0, le=CENTURY_S)
    """The same bound for tags of class critical; unset: no other than `future_max_s`."""
    rejects_kept_per_minute: int = Field(6_000, ge=0)
    """Rejects kept in PostgreSQL per minute and shard; all are counted, all are in the archive's quarantine files."""

    batch_interval_s: float = Field(0.02, ge=0, le=1.0)
    """Pace of a worker: it looks for new records no more often than this."""
    commit_interval_s: float = Field(0.2, ge=0.01, le=5.0)
    """Pace of the commits to PostgreSQL."""
    segment_age_s: float = Field(60.0, ge=1.0, le=3600.0)
    """Age at which an archive segment closes."""
    segment_rows_max: int = Field(2_000_000, ge=1_000)
    """Rows at which an archive segment closes."""
    rows_ahead_max: int = Field(2_000_000, ge=10_000)
    """Rows that a shard may be ahead of a sink that is away, before it waits."""

    reading_retention_h: int = Field(24, ge=1)
    """How long PostgreSQL keeps raw critical readings; the archive keeps all."""
    rollup_1s_retention_days: int = Field(3, ge=1)
    """How long PostgreSQL keeps rollups of 1 s."""
    rollup_1m_retention_days: int = Field(90, ge=1)
    """How long PostgreSQL keeps rollups of 1 min; those of 1 h stay."""

    asset_model: Path | None = None
    """YAML or CSV file of the asset model, applied at start when it changed."""
    trace_ratio: float = Field(0.001, ge=0, le=1)
    """Share of frames that are traced from ingest to sink."""
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    """Least level of what is logged: debug, info, warning or error."""
    log_json: bool = False
    """JSON lines instead of readable ones."""

    @field_validator("api_host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        if not host.strip():
            raise SettingError("MILLRACE_API_HOST", got=host, want="an address, such as 127.0.0.1 or 0.0.0.0")
        return host

    @field_validator("api_token")
    @classmethod
    def _fits_a_header(cls, token: str) -> str:
        if not _HEADER_WORD.fullmatch(token):
            want = "letters, digits and signs of ASCII, without a space: it is sent in a header"
            raise SettingError("MILLRACE_API_TOKEN", got="(not shown)", want=want)
        return token

    @field_validator("dashboard_url", "oidc_issuer")
    @classmethod
    def _is_a_place(cls, url: str, about: ValidationInfo) -> str:
        if url and not _PLACE.fullmatch(url):
            want = "an address that begins with https:// (http:// on this machine alone), without ?, # and a password"
            raise SettingError(f"{ENV_PREFIX}{str(about.field_name).upper()}", got=url, want=want)
        return url

    @field_validator("dashboard_url")
    @classmethod
    def _is_a_root(cls, url: str) -> str:
        """Below a path nobody would come back: the way back and its cookies are at the root."""
        if url and not _ROOT.fullmatch(url):
            raise SettingError(
                "MILLRACE_DASHBOARD_URL", got=url, want="scheme, host and port alone, without a path"
            )
        return url

    @model_validator(mode="after")
    def _sign_in_is_whole(self) -> Self:
        """Half of it would be found by the first who tries to sign in."""
        if self.oidc_issuer and not self.oidc_client_id:
            raise SettingError(
                "MILLRACE_OIDC_CLIENT_ID", got="", want="the page's name at MILLRACE_OIDC_ISSUER"
            )
        if self.oidc_issuer and not (self.oidc_client_secret or self.secret_dashboard_oidc_arn):
            want = "what MILLRACE_OIDC_ISSUER knows the page by, or MILLRACE_SECRET_DASHBOARD_OIDC_ARN"
            raise SettingError("MILLRACE_OIDC_CLIENT_SECRET", got="", want=want)
        return self

    @property
    def past_s(self) -> tuple[float, float]:
        """How old a reading may be, by `DataClass`."""
        critical = self.critical_past_max_s
        return self.past_max_s, self.past_max_s if critical is None else critical

    @property
    def future_s(self) -> tuple[float, float]:
        """How far ahead of its receipt a reading may be, by `DataClass`."""
        critical = self.critical_future_max_s
        return self.future_max_s, self.future_max_s if critical is None else critical

    @property
    def api_url(self) -> str:
        """Where our own processes find the API: one that listens everywhere, on the machine itself."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.api_host, self.api_host)  # nosec B104
        return f"http://[{host}]:{self.api_port}" if ":" in host else f"http://{host}:{self.api_port}"

    @property
    def logs(self) -> Path:
        return self.home / "logs"


_SIZE = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_FIELDS = {(field.alias or name): name for name, field in Settings.model_fields.items()}


def load(environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings out of the environment and a file; SettingError says what is wrong and what was wanted."""
    named = environ.get("MILLRACE_SETTINGS")
    home = Path(environ.get("MILLRACE_HOME", ".millrace"))
    path = file or (Path(named) if named else home / "settings.yaml")
    values = _from_file(path, must_exist=bool(file or named)) | _from_environment(environ)
    try:
        return Settings(**{key: _sized(value) for key, value in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "settings"
        got = _shown(key, values.get(key, first.get("input")))
        raise SettingError(f"{ENV_PREFIX}{key.upper()}", got=got, want=_wanted(key, first)) from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENV_PREFIX) or name in NOT_SETTINGS:
            continue
        values[_known(name.removeprefix(ENV_PREFIX).lower(), shown=name)] = value
    return values


def _from_file(path: Path, *, must_exist: bool) -> dict[str, Any]:
    if not path.exists():
        if must_exist:
            raise SettingError("MILLRACE_SETTINGS", got=str(path), want="a file that exists")
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingError(str(path), got=error.strerror, want="a YAML file that can be read") from None
    except UnicodeDecodeError as error:
        want = "a YAML file saved as UTF-8"
        raise SettingError(str(path), got=f"bytes that are not UTF-8 at offset {error.start}", want=want) from None
    except yaml.YAMLError as error:
        raise SettingError(str(path), got="unreadable YAML", want=str(error)) from None
    if not isinstance(content, dict):
        raise SettingError(str(path), got=type(content).__name__, want="a mapping of settings")
    return {_known(str(key), shown=str(key)): value for key, value in content.items()}


def _wanted(key: str, fault: Mapping[str, Any]) -> str:
    """A size with its bound as a size: nobody counts the digits of 2147483648."""
    words = in_words(fault)
    if not _FIELDS.get(key, key).endswith(("_bytes", "_bytes_max", "_bytes_min")):
        return words
    bound = (fault.get("ctx") or {}).get("ge")
    return f"at least {_size_text(bound)}" if bound else f"{words} of bytes, or a size such as 20GB or 512MiB"


def _size_text(size_bytes: int) -> str:
    for unit, size in (("GiB", GIB), ("MiB", MIB)):
        if size_bytes % size == 0:
            return f"{size_bytes // size}{unit}"
    return f"{size_bytes} bytes"


def _known(key: str, *, shown: str) -> str:
    if key not in _FIELDS:
        spelled = [ENV_PREFIX + name.upper() if shown.isupper() else name for name in _FIELDS]
        raise SettingError(shown, got="an unknown setting", want="a known one" + nearest(shown, spelled))
    return key


def _sized(value: Any) -> Any:
    """'20GB' -> 20000000000; anything else as it is."""
    if isinstance(value, str):
        text = value.strip().lower()
        for unit in sorted(_SIZE, key=len, reverse=True):
            number = text.removesuffix(unit)
            if number != text and number.strip().replace(".", "", 1).isdigit():
                return int(float(number) * _SIZE[unit])
    return value


def _shown(key: str, value: Any) -> Any:
    """A value as an error may show it: never a secret."""
    return "(hidden)" if key in _SECRET else value
