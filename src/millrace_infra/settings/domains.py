"""Domains: `api-{suffix}.dev.example.com` gives each suffix one of its own, under one wildcard certificate.

API Gateway takes a domain once in a region. One without `{suffix}` is the domain of a single deployment.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from millrace_infra.naming import SUFFIX_LENGTH_MAX
from millrace_infra.settings.section import Impossible

PLACE: Final = "{suffix}"
DOMAIN_LENGTH_MAX: Final = 128
"""What a load balancer's rule takes of a host. Source: Application Load Balancers, listener rules."""
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TOP: Final = re.compile(r"[a-z]{2,63}")


def check_domain(domain: str) -> str:
    """The domain as it was written, or Impossible if it is none under the longest suffix."""
    if PLACE in domain.partition(".")[2]:
        raise Impossible(
            domain, f"{PLACE} in the first label: a certificate's wildcard stands for that one alone"
        )
    longest = domain.replace(PLACE, "x" * SUFFIX_LENGTH_MAX)
    *labels, top = longest.split(".")
    if not labels or not all(map(_LABEL.fullmatch, labels)) or not _TOP.fullmatch(top):
        raise Impossible(domain, f"a domain in small letters such as api-{PLACE}.dev.example.com")
    if len(longest) > DOMAIN_LENGTH_MAX:
        raise Impossible(domain, f"{DOMAIN_LENGTH_MAX} characters at most, under the longest suffix")
    return domain


Domain = Annotated[str, AfterValidator(check_domain)]


def of_suffix(domain: str, suffix: str) -> str:
    return domain.replace(PLACE, suffix)
