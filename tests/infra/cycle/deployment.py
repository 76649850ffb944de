"""One environment under one suffix, deployed to the emulator by the same code that deploys to AWS."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace.names import DATABASE_MASTER, PROJECT
from millrace_infra.account_parts import BACKED_UP, SERVICE_LINKED
from millrace_infra.policy import Statement, document
from millrace_infra.settings import Environment, load
from millrace_infra.terraform_run import CHANGES, NO_CHANGES, Terraform, stack
from millrace_infra.workspace import OUTPUTS
from tests.infra.cycle.command_line import CommandLine, Said, ended
from tests.infra.cycle.left_out import without
from tests.infra.emulator.server import CREDENTIALS

DOMAINS = ("domain", "internal_domain")
PLAN = Path("next.plan")
CALLER = "123456789012"
"""The account of all environments, and the emulator's."""


def missing() -> str:
    """What these tests need and this machine lacks, or an empty string."""
    lacking = [program for program in ("terraform", "node") if shutil.which(program) is None]
    return f"needs {' and '.join(lacking)} on PATH" if lacking else ""


@dataclass(frozen=True)
class Aws:
    """The emulator, as the SDK and Terraform reach it."""

    address: str

    def client(self, service: str, region: str) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.address,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def account_stack(self, region: str) -> None:
        """The other things that `make bootstrap` makes, as far as `preflight` looks for them.

        By hand: the verb takes a minute of its own, and test_bootstrap.py has it.
        """
        log_role = f"arn:aws:iam::{CALLER}:role/{PROJECT}-gateway-logs-{region}"
        told = {"op": "replace", "path": "/cloudwatchRoleArn", "value": log_role}
        self.client("apigateway", region).update_account(patchOperations=[told])
        self.client("xray", region).put_encryption_config(Type="KMS", KeyId=f"alias/{PROJECT}-traces")
        opted = dict.fromkeys(BACKED_UP, True)
        self.client("backup", region).update_region_settings(ResourceTypeOptInPreference=opted)
        ours = [{"filter": f"{PROJECT}-*", "filterType": "WILDCARD"}]
        self.client("ecr", region).put_registry_scanning_configuration(
            scanType="BASIC", rules=[{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": ours}]
        )
        for service, name in SERVICE_LINKED.values():
            _service_role(self.client("iam", region), service, name)

    def prepare(self, environment: Environment, secrets: Mapping[str, str]) -> None:
        """What exists before the platform: the state's bucket and key, the secrets."""
        region = environment.region
        bucket = f"{PROJECT}-state-{environment.settings.account_id}-{region}"
        s3, kms = self.client("s3", region), self.client("kms", region)
        if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
            where = (
                {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            )
            s3.create_bucket(Bucket=bucket, **where)
            key = kms.create_key()["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=f"alias/{PROJECT}-state", TargetKeyId=key)
        self.account_stack(region)
        _role_boundary(self.client("iam", region), environment)
        manager = self.client("secretsmanager", region)
        for name, value in secrets.items():
            manager.create_secret(Name=name, SecretString=value)


def _role_boundary(iam: Any, environment: Environment) -> None:
    """moto holds no role to its boundary: that there is one is all that is asked."""
    bound = document(Statement(("xray:*",), ("*",), reason="any will do"))
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_policy(PolicyName=environment.names.role_boundary, PolicyDocument=bound)


def _service_role(iam: Any, service: str, name: str) -> None:
    """Identity has no region: a second environment finds what the first one's account stack made."""
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(Path=f"/aws-service-role/{service}/", RoleName=name, AssumeRolePolicyDocument="{}")


def with_what_exists(aws: Aws, source: Path, place: Path) -> Path:
    """The environments' settings, their certificate exchanged for one that the emulator holds.

    It is a wildcard, as on AWS: the domains' first labels hold the suffix.
    """
    place.mkdir(parents=True, exist_ok=True)
    for file in source.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        domains = sorted({f"*.{content['edge'][name].partition('.')[2]}" for name in DOMAINS})
        certificate, key = self_signed(domains)
        imported = aws.client("acm", content["region"]).import_certificate(
            Certificate=certificate, PrivateKey=key
        )
        content["edge"]["certificate_arn"] = imported["CertificateArn"]
        (place / file.name).write_text(yaml.safe_dump(without(content)))
    return place


def self_signed(domains: Sequence[str]) -> tuple[bytes, bytes]:
    """A certificate that names these domains, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domains[0])])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(domain) for domain in domains])
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(90)
        )
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    unlocked = serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unlocked)


def secrets_of(environment: Environment) -> dict[str, str]:
    """Name of each secret that the environment expects -> a value that must turn up nowhere."""
    names = environment.secrets
    password = {"username": "millrace", "password": f"planted-{environment.suffix}-password"}
    return {
        names.database_master: json.dumps(password | {"username": DATABASE_MASTER}),
        names.database_user: json.dumps(password | {"username": "millrace_a"}),
        names.api_signing: json.dumps({"secret": f"planted-{environment.suffix}-signing"}),
        names.api_keys: json.dumps({"current": f"planted-{environment.suffix}-api-key-value"}),
        names.dashboard_oidc: json.dumps({"client_secret": f"planted-{environment.suffix}-oidc"}),
    }


class Deployment:
    """An environment under a suffix, from `synth` to `destroy` by the command line itself, in `folder`."""

    def __init__(self, aws: Aws, name: str, suffix: str, *, folder: Path, settings: Path) -> None:
        self.aws = aws
        self.command_line = CommandLine(aws.address, name, suffix, folder)
        self.environment = load(name, suffix, folder=settings)
        self.command_line.settle(settings)

    def synthesize(self) -> None:
        self.command_line.synthesize()

    def deploy(self, log: Path | None = None) -> Said:
        """`log`: where Terraform and its provider write down all that they do."""
        traced = {"TF_LOG": "TRACE", "TF_LOG_PATH": str(log)} if log else {}
        return ended(self.command_line("deploy", environ=traced))

    def written_outputs(self) -> dict[str, Any]:
        return dict(json.loads((self.command_line.folder / OUTPUTS).read_text()))

    def outputs(self) -> dict[str, Any]:
        """As the verb of that name writes them, out of the state."""
        (self.command_line.folder / OUTPUTS).unlink()
        said = ended(self.command_line("outputs"))
        assert json.loads(said.out) == self.written_outputs()
        return self.written_outputs()

    def destroy(self) -> Said:
        """An environment of records goes by a person's word alone; there is no copy of what the emulator holds."""
        records = self.environment.settings.profile == "records"
        said_so = ("--abandon-records", "--confirm", self.environment.suffix) if records else ()
        return ended(self.command_line("destroy", *said_so))

    def plan(self) -> tuple[bool, dict[str, Any]]:
        """Whether anything would change, and what, over all stacks."""
        kept = {"TF_CLI_ARGS_plan": f"-out={PLAN}"}
        said = ended(self.command_line("plan", "--exit-code", environ=kept), NO_CHANGES, CHANGES)
        planned = [terraform.planned(PLAN) for terraform in self._each()]
        return said.code == CHANGES, {
            "resource_changes": [one for plan in planned for one in plan.get("resource_changes", ())]
        }

    def _each(self) -> Iterator[Terraform]:
        """Terraform in each stack of the suffix, as the last verb left it: registry, then platform."""
        suffix = self.environment.suffix
        for name in (f"{PROJECT}-registry-{suffix}", f"{PROJECT}-{suffix}"):
            with stack(self.command_line.stacks / name, self.command_line.environ, shown=False) as terraform:
                yield terraform

    def managed(self) -> list[str]:
        return [address for terraform in self._each() for address in terraform.addresses()]

    def everything_written(self) -> str:
        """State and plan as text, to be searched for what must not be there."""
        return "".join(terraform.state() + json.dumps(terraform.planned(PLAN)) for terraform in self._each())

    def with_settings(self, settings: Path) -> Deployment:
        """The same deployment under another settings folder."""
        name, suffix = self.environment.name, self.environment.suffix
        self.environment = load(name, suffix, folder=settings)
        self.command_line.settle(settings)
        return self
