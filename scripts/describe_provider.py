"""Write what the proofs need of the AWS provider's schema: which kinds take tags, and which name a key.

    terraform providers schema -json | python scripts/describe_provider.py > tests/infra/proofs/provider.json

Run it in a folder that is initialized with the provider's version; the schema itself is 13 MB.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any


def key_attributes(block: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted paths of the attributes that name a KMS key and can be set."""
    for name, attribute in block.get("attributes", {}).items():
        may_be_set = attribute.get("optional") or attribute.get("required")
        if "kms" in name and name.endswith(("key", "key_id", "key_arn")) and may_be_set:
            yield ".".join((*path, name))
    for name, nested in block.get("block_types", {}).items():
        yield from key_attributes(nested["block"], (*path, name))


def described(schema: Mapping[str, Any]) -> dict[str, Any]:
    (provider,) = schema["provider_schemas"].values()
    blocks = {kind: one["block"] for kind, one in sorted(provider["resource_schemas"].items())}
    keyed = {kind: sorted(key_attributes(block)) for kind, block in blocks.items()}
    return {
        "taggable": [kind for kind, block in blocks.items() if "tags" in block.get("attributes", {})],
        "keyed": {kind: paths for kind, paths in keyed.items() if paths},
    }


if __name__ == "__main__":
    json.dump(described(json.load(sys.stdin)), sys.stdout, indent=1)
    print()
