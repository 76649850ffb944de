"""Write docs/infrastructure.md: the platform as the synthesized program says it is, and what bills by the hour.

    python scripts/draw_infrastructure.py > docs/infrastructure.md

An arrow is a grant, a security group's rule or a reference that the program holds; nothing is drawn by hand.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
SUFFIX: Final = "t1"
STAGES: Final = {
    "edge": ("gateway", "entry"),
    "services": ("worker", "api", "dashboard", "migrate"),
    "stream": ("stream",),
    "stores": ("aurora", "redis", "archive", "shared-storage", "backup"),
    "watch": ("observability",),
}
"""Column -> top-level constructs of the platform, in the order of the flow."""
NO_BOX: Final = {
    "keys": "under everything",
    "logs": "beside everything",
    "network": "under everything; its flow table says who speaks to whom",
    "cluster": "where the services run",
    "api-scaling": "the service's own",
    "dashboard-scaling": "the service's own",
    "worker-scaling": "the service's own",
    "deployment": "moves the services' traffic, carries none",
    "rotation": "comes once a month, beside the flow",
}
"""Top-level constructs that the drawing leaves out -> why. Any other has its column."""
HOURLY: Final = {
    "aws_cloudwatch_composite_alarm": "alarm, a month's price",
    "aws_cloudwatch_dashboard": "dashboard, a month's price",
    "aws_cloudwatch_metric_alarm": "alarm, a month's price",
    "aws_ec2_transit_gateway_vpc_attachment": "attachment",
    "aws_ecs_service": "tasks, the least number",
    "aws_eip": "public address",
    "aws_elasticache_replication_group": "nodes",
    "aws_kinesis_stream": "shards",
    "aws_kinesis_stream_consumer": "consumer x shards",
    "aws_kms_key": "key, a month's price",
    "aws_lb": "load balancer",
    "aws_nat_gateway": "gateway",
    "aws_rds_cluster_instance": "instances",
    "aws_route53_zone": "private zone, a month's price",
    "aws_vpc_endpoint": "interfaces, one a zone",
    "aws_wafv2_web_acl": "web ACL, a month's price",
}
"""Kinds that cost while nothing happens, by the hour -> what is counted. Storage, requests and data bill otherwise."""
_REFERENCE: Final = re.compile(r"\$\{(aws_[a-z0-9_]+)\.([A-Za-z0-9_-]+)\.")

Blocks = Mapping[str, Mapping[str, Mapping[str, Any]]]


def program(environment: str) -> dict[str, Any]:
    """The platform's stack, synthesized."""
    from millrace_infra.app import build
    from millrace_infra.settings import load

    with tempfile.TemporaryDirectory() as folder:
        build(load(environment, SUFFIX, folder=ROOT / "environments"), outdir=folder).synth()
        return dict(json.loads((Path(folder) / "stacks" / f"millrace-{SUFFIX}" / "cdk.tf.json").read_text()))


def noun_of(body: Mapping[str, Any]) -> str:
    """The top-level construct that a resource belongs to."""
    return str(body["//"]["metadata"]["path"]).split("/")[1]


def references(resources: Blocks) -> Iterator[tuple[str, str]]:
    """(noun, noun) for each reference from a resource of one to a resource of another."""
    owner = {f"{kind}.{id_}": noun_of(body) for kind, ids in resources.items() for id_, body in ids.items()}
    for ids in resources.values():
        for body in ids.values():
            for kind, id_ in _REFERENCE.findall(json.dumps(body)):
                other = owner.get(f"{kind}.{id_}")
                if other and other != noun_of(body):
                    yield noun_of(body), other


def diagram(resources: Blocks) -> str:
    there = {noun_of(body) for ids in resources.values() for body in ids.values()}
    shown = [noun for nouns in STAGES.values() for noun in nouns if noun in there]
    lines = ["```mermaid", "flowchart LR"]
    for stage, nouns in STAGES.items():
        lines.append(f'  subgraph column-{stage} ["{stage}"]')  # a column may be called as a part is
        lines += [f"    {noun}" for noun in nouns if noun in there]
        lines.append("  end")
    arrows = {(a, b) for a, b in references(resources) if a in shown and b in shown and a != "observability"}
    return "\n".join([*lines, *(f"  {a} --> {b}" for a, b in sorted(arrows)), "```"])


def hourly(resources: Blocks) -> dict[str, float]:
    """Kind -> how many units of it bill by the hour."""
    found: Counter[str] = Counter()
    shards = sum(int(one.get("shard_count") or 0) for one in resources["aws_kinesis_stream"].values())
    least = {
        _REFERENCE.findall(json.dumps(one["resource_id"]))[-1][1]: one["min_capacity"]
        for one in resources.get("aws_appautoscaling_target", {}).values()
        if _REFERENCE.search(json.dumps(one["resource_id"]))
    }
    for kind in HOURLY:
        for id_, one in resources.get(kind, {}).items():
            if kind == "aws_vpc_endpoint" and one.get("vpc_endpoint_type") != "Interface":
                continue
            units = {
                "aws_kinesis_stream": shards,
                "aws_kinesis_stream_consumer": shards,
                "aws_ecs_service": least.get(id_, one.get("desired_count") or 1),
                "aws_elasticache_replication_group": one.get("num_cache_clusters") or 1,
                "aws_vpc_endpoint": len(one.get("subnet_ids") or ()) or 1,
            }.get(kind, 1)
            found[kind] += int(units)
    return dict(found)


def table(programs: Mapping[str, Blocks]) -> str:
    counts = {name: hourly(resources) for name, resources in programs.items()}
    rows = [
        "| kind | counted | " + " | ".join(programs) + " |",
        "|---|---|" + "---|" * len(programs),
    ]
    for kind, what in HOURLY.items():
        cells = [str(counts[name].get(kind, 0)) for name in programs]
        rows.append(f"| `{kind}` | {what} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def inventory(programs: Mapping[str, Blocks]) -> str:
    """Resources of each top-level construct."""
    per = {
        name: Counter(noun_of(body) for ids in resources.values() for body in ids.values())
        for name, resources in programs.items()
    }
    nouns = sorted({noun for count in per.values() for noun in count})
    rows = ["| construct | " + " | ".join(programs) + " |", "|---|" + "---|" * len(programs)]
    rows += [f"| {noun} | " + " | ".join(str(per[name][noun]) for name in programs) + " |" for noun in nouns]
    total = " | ".join(str(sum(per[name].values())) for name in programs)
    return "\n".join([*rows, f"| **all** | {total} |"])


def largest(programs: Mapping[str, Blocks]) -> str:
    """The environment that has all there is."""
    return max(programs, key=lambda name: sum(len(ids) for ids in programs[name].values()))


def document(programs: Mapping[str, Blocks]) -> str:
    return f"""# The infrastructure, drawn from its program

Written by `make docs`, out of what `make synth` writes for each environment; a test keeps it current.
Why each part is as it is: the docstring of its file in `src/millrace_infra/`.

## Who refers to whom
An arrow is a reference from a resource of one part to a resource of the other: a grant, an address, a key that is
opened through it. `observability` looks at every part, and its arrows are left out. Of {largest(programs)}:

{diagram(programs[largest(programs)])}

## Resources of each part
{inventory(programs)}

## What bills by the hour
Units that cost while nothing happens. Prices are AWS's price list; storage, requests and data come on top. What has a
month's price is billed for the hours that it is there.

{table(programs)}
"""


def main() -> None:
    from millrace_infra.settings import known

    names = known(ROOT / "environments")
    sys.stdout.write(document({name: program(name)["resource"] for name in names}))


if __name__ == "__main__":
    main()
