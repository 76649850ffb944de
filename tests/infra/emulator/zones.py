"""Route 53: a zone that is made for a network is private. moto wants a field for that which callers need not send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moto.route53.models import route53_backends

from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, answers


@answers("route53", "CreateHostedZone")
def create_zone(call: Call) -> dict[str, Any]:
    if not call.get("VPC"):
        raise PassOn
    network = call["VPC"]
    comment = (call.get("HostedZoneConfig") or {}).get("Comment") or ""
    zone = route53_backends[ACCOUNT_ID]["aws"].create_hosted_zone(
        call["Name"].rstrip(".") + ".",
        private_zone=True,
        caller_reference=call["CallerReference"],
        vpcid=network["VPCId"],
        vpcregion=network["VPCRegion"],
        comment=comment,
    )
    zone_id = zone.id.rpartition("/")[2]
    return {
        "HostedZone": {
            "Id": f"/hostedzone/{zone_id}",
            "Name": zone.name,
            "CallerReference": call["CallerReference"],
            "Config": {"PrivateZone": True, "Comment": comment},
            "ResourceRecordSetCount": 2,
        },
        "ChangeInfo": {"Id": "/change/C1", "Status": "INSYNC", "SubmittedAt": datetime.now(UTC)},
        "VPC": network,
        "Location": f"https://route53.amazonaws.com/2013-04-01/hostedzone/{zone_id}",
    }
