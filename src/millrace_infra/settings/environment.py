"""One environment: the file `environments/{name}.yaml`, the suffix and what both together decide.

`load` refuses what cannot work before anything is synthesized, with the number that is wanted and why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from millrace.errors import SettingError, nearest
from millrace.names import PROJECT
from millrace_infra.naming import Names, check_suffix
from millrace_infra.settings import content
from millrace_infra.settings.mistakes import mistake
from millrace_infra.settings.places import (
    CiSettings,
    EdgeSettings,
    Email,
    NetworkSettings,
    ProducerTrust,
    SecretNames,
    StateSettings,
)
from millrace_infra.settings.regions import check_region, check_zones
from millrace_infra.settings.section import Impossible, Section, each_once, shaped
from millrace_infra.settings.sizes import (
    ON_DEMAND_BYTES_PER_S,
    ON_DEMAND_RECORDS_PER_S,
    CacheSize,
    DatabaseSize,
    Load,
    StreamSize,
    TaskSize,
)

FOLDER: Final = Path("environments")
RETENTION_DAYS_MIN: Final = 2557
"""Seven years, leap days included: the least that a critical reading is kept."""
RETENTION_DAYS_MAX: Final = 36_500
"""What an Object Lock and a plan of AWS Backup take. Source: S3 and AWS Backup API references."""
Tag = Annotated[
    str, shaped(r"(?=.*\S)[\w .:/=+@-]{1,256}", "1 to 256 letters, digits, spaces and .:/=+@-_: it is a tag")
]


class Settings(Section):
    """The content of one file."""

    region: str
    """AWS calls it so: eu-central-1. The file decides; AWS_REGION must agree."""
    account_id: Annotated[str, shaped(r"\d{12}", "the twelve digits of the account")]
    """Every verb refuses the credentials of another."""
    zone_ids: Annotated[tuple[str, ...], Field(min_length=2, max_length=3)]
    """Availability zones by id: a zone's name means another place in each account."""
    owner: Tag
    """A tag on everything: whom to ask. The same in all environments of an account and region."""
    cost_centre: Tag
    """A tag on everything: who pays."""
    profile: Literal["ephemeral", "records"] = "ephemeral"
    """`ephemeral`: everything can be destroyed. `records`: Object Lock, and `destroy` is guarded."""
    architecture: Literal["ARM64", "X86_64"] = "ARM64"
    """What the tasks run on; the images must be there for it."""
    load: Load
    network: NetworkSettings
    stream: StreamSize
    producers: ProducerTrust = ProducerTrust()
    worker: TaskSize
    api: TaskSize
    dashboard: TaskSize
    database: DatabaseSize
    cache: CacheSize
    critical_days: Annotated[int, Field(le=RETENTION_DAYS_MAX)] = RETENTION_DAYS_MIN
    """How long the archive keeps critical readings: that is the least, seven years."""
    standard_days: Annotated[int, Field(ge=31, le=RETENTION_DAYS_MAX)] = 365
    """How long the archive keeps the readings of standard tags; after 30 days they are in a colder class of S3."""
    second_archive_copy: bool = False
    """A copy of the archive in a second bucket, for the day on which the first one is gone."""
    log_days: Literal[30, 60, 90, 180, 365, 731, 1096, 1827, 2557] = 365
    """How long CloudWatch keeps every log group."""
    edge: EdgeSettings
    secrets: SecretNames = SecretNames()
    alarm_recipients: Annotated[tuple[Email, ...], Field(min_length=1)]
    """Addresses of mail; each confirms its subscription once."""
    budget_usd_per_month: Annotated[int, Field(ge=1)]
    """People are told at 80 % of it, and as soon as the month is expected to cost more."""
    state: StateSettings = StateSettings()
    ci: CiSettings = CiSettings()

    @field_validator("region")
    @classmethod
    def _known_region(cls, region: str) -> str:
        return check_region(region)

    @field_validator("critical_days")
    @classmethod
    def _seven_years(cls, days: int) -> int:
        if days < RETENTION_DAYS_MIN:
            raise Impossible(
                days, f"{RETENTION_DAYS_MIN} at least: critical readings are kept for seven years"
            )
        return days

    @field_validator("alarm_recipients")
    @classmethod
    def _told_once(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return each_once(addresses, "address")

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        check_zones(self.zone_ids, self.region)
        wanted = f"arn:aws:acm:{self.region}:{self.account_id}:certificate/"
        if not re.fullmatch(rf"{wanted}[A-Za-z0-9-]+", self.edge.certificate_arn):
            raise Impossible(
                self.edge.certificate_arn,
                f"{wanted}…: a certificate of this region and account, no other is taken",
                key="edge.certificate_arn",
            )
        self.producers.check_place(self.region, self.account_id)
        return self

    @model_validator(mode="after")
    def _stream_carries_the_load(self) -> Self:
        wanted, found = self.load.shards_wanted, self.stream.shards
        if self.stream.mode == "provisioned" and found < wanted:
            raise Impossible(
                found,
                f"{wanted} at least: {self.load.events_per_s} events/s of {self.load.event_bytes} B with a headroom "
                f"of {self.load.headroom}, and a shard takes 1 MB/s and 1,000 records/s",
                key="stream.shards",
            )
        load = self.load
        if self.stream.mode == "on_demand" and (
            load.bytes_per_s > ON_DEMAND_BYTES_PER_S or load.records_per_s > ON_DEMAND_RECORDS_PER_S
        ):
            raise Impossible(
                self.stream.mode,
                f"provisioned, with {wanted} shards: a fresh on-demand stream takes {ON_DEMAND_BYTES_PER_S} B/s and "
                f"{ON_DEMAND_RECORDS_PER_S} records/s; the load is {load.bytes_per_s:.0f} and {load.records_per_s:.0f}",
                key="stream.mode",
            )
        return self

    @model_validator(mode="after")
    def _each_worker_has_a_shard(self) -> Self:
        if self.stream.mode == "provisioned" and self.worker.count_min > self.stream.shards:
            raise Impossible(
                self.worker.count_min,
                f"{self.stream.shards} at most, as stream.shards says: a worker without a shard has nothing to do",
                key="worker.count_min",
            )
        return self


@dataclass(frozen=True)
class Environment:
    """One deployment: a file's settings under a suffix."""

    name: str
    suffix: str
    settings: Settings

    @property
    def region(self) -> str:
        return self.settings.region

    @cached_property
    def names(self) -> Names:
        return Names(self.suffix, self.region, self.settings.account_id)

    @cached_property
    def secrets(self) -> SecretNames:
        return self.settings.secrets.of(self.suffix)

    @cached_property
    def edge(self) -> EdgeSettings:
        return self.settings.edge.of(self.suffix)

    @property
    def tags(self) -> dict[str, str]:
        """On every resource that takes tags."""
        return {
            "project": PROJECT,
            "environment": self.name,
            "suffix": self.suffix,
            "owner": self.settings.owner,
            "cost-centre": self.settings.cost_centre,
            "data-class": "standard",
        }


def load(name: str, suffix: str, *, folder: Path = FOLDER, region: str = "") -> Environment:
    """The environment of that name; SettingError says which key is wrong. `region` must agree, if given."""
    check_suffix(suffix)
    file = f"{folder / name}.yaml"
    settings = _parse(_read(folder, name), file)
    if region and region != settings.region:
        raise SettingError("AWS_REGION", got=region, want=f"{settings.region}, as {name}.yaml says, or unset")
    environment = Environment(name, suffix, settings)
    domains = {"domain": environment.edge.domain, "internal_domain": environment.edge.internal_domain}
    _check_apart(f"{file} edge", domains, "each leads to a door of its own")
    _check_apart(f"{file} secrets", environment.secrets.names, "a rotation of one would write over the other")
    return environment


def _check_apart(section: str, names: Mapping[str, str], why: str) -> None:
    """SettingError where two of them are one under this suffix, however each was written."""
    first: dict[str, str] = {}
    for key, name in names.items():
        if first.setdefault(name, key) != key:
            raise SettingError(f"{section}.{key}", got=name, want=f"another than {first[name]}: {why}")


def known(folder: Path = FOLDER) -> list[str]:
    """Names of the environments that have a file."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _read(folder: Path, name: str) -> Mapping[str, Any]:
    if not known(folder):
        want = f"a file of {folder}/ here, and there is none: call it from the project's folder"
        raise SettingError("ENV", got=name, want=want)
    if name not in known(folder):
        raise SettingError("ENV", got=name, want=f"one of {', '.join(known(folder))}" + nearest(name, known(folder)))
    return content.read(folder / f"{name}.yaml")


def _parse(said: Mapping[str, Any], file: str) -> Settings:
    try:
        return Settings.model_validate(said)
    except ValidationError as error:
        raise mistake(error, Settings, file) from None
