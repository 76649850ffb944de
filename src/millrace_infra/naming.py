"""Names: `{resource}-{suffix}`; where one must be unique in the account or the world, the resource says the region.

AWS bounds names by kind. The tightest bound decides how long a suffix may be, and it is checked before
anything is synthesized.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from millrace.errors import SettingError
from millrace.names import PROJECT

SUFFIX_LENGTH_MAX: Final = 12
"""`mr-dashboard-green-` takes 19 of a target group's 32 characters: one is left over."""
_SUFFIX: Final = re.compile(r"[a-z][a-z0-9]*")
"""One word. With a hyphen in it, the platform of `registry-b` would be the registry of `b`, and whoever looks for
what ends in `-b` would find what is `a-b`'s."""
RESERVED: Final = {"account": f"{PROJECT}-account is the stack of what the account has once"}
"""Suffix -> why no deployment may have it."""

LENGTH_MAX: Final = {
    "load_balancer": 32,
    "target_group": 32,
    "cache": 40,
    "bucket": 63,
    "role": 64,
    "database": 63,
    "stream": 128,
    "function": 64,
    "secret": 512,
    "alarm": 255,
    "other": 128,
}
"""Characters of a name by kind of resource; source: the AWS documentation of each service's quotas."""
_SHORT: Final = frozenset({"load_balancer", "target_group"})


def check_suffix(suffix: str) -> str:
    """The suffix itself, or SettingError."""
    if not _SUFFIX.fullmatch(suffix):
        raise SettingError(
            "ENVIRONMENT_SUFFIX",
            got=suffix,
            want="small letters and digits, a letter first: AWS takes no capitals in buckets, "
            "and a hyphen parts the suffix from the rest of a name",
        )
    if suffix in RESERVED:
        raise SettingError("ENVIRONMENT_SUFFIX", got=suffix, want=f"another word: {RESERVED[suffix]}")
    if len(suffix) > SUFFIX_LENGTH_MAX:
        raise SettingError(
            "ENVIRONMENT_SUFFIX",
            got=f"{suffix} ({len(suffix)} characters)",
            want=f"{SUFFIX_LENGTH_MAX} at most: a target group's name has {LENGTH_MAX['target_group']} in all",
        )
    return suffix


@dataclass(frozen=True)
class Names:
    """The names of one deployment."""

    suffix: str
    region: str
    account_id: str

    def of(self, resource: str, kind: str = "other") -> str:
        """Unique in its region, for example `millrace-stream-pr42`."""
        project = "mr" if kind in _SHORT else PROJECT
        return self._bounded(f"{project}-{resource}-{self.suffix}", kind)

    def in_account(self, resource: str, kind: str = "role") -> str:
        """Unique in the account: IAM knows no region."""
        return self._bounded(f"{PROJECT}-{resource}-{self.region}-{self.suffix}", kind)

    def in_world(self, resource: str, kind: str = "bucket") -> str:
        """Unique in the world: buckets."""
        return self._bounded(f"{PROJECT}-{resource}-{self.account_id}-{self.region}-{self.suffix}", kind)

    @property
    def role_boundary(self) -> str:
        """The account's, without a suffix: what every role of a suffix has for its boundary."""
        return self._bounded(f"{PROJECT}-role-boundary-{self.region}", "role")

    @property
    def role_boundary_arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:policy/{self.role_boundary}"

    @staticmethod
    def _bounded(name: str, kind: str) -> str:
        if len(name) > LENGTH_MAX[kind]:
            raise SettingError(name, got=f"{len(name)} characters", want=f"{LENGTH_MAX[kind]} for a {kind}")
        return name
