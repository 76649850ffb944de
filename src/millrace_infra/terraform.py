"""The only file that imports the CDK: what is named here is what is loaded (`engine.py` says why).

A class that ends in `A` is the resource, where a block of another resource has its plain name. Blocks are
always their own classes: a dict inside a list of blocks synthesizes to an empty block without a word.
"""
# ruff: noqa: E402, I001

from __future__ import annotations

from millrace_infra import engine

engine.load()

from cdktf import App as App
from cdktf import Fn as Fn
from cdktf import LocalBackend as LocalBackend
from cdktf import S3Backend as S3Backend
from cdktf import TerraformOutput as TerraformOutput
from cdktf import TerraformResourceLifecycle as TerraformResourceLifecycle
from cdktf import TerraformStack as TerraformStack
from cdktf import TerraformVariable as TerraformVariable
from cdktf import Token as Token
from constructs import Construct as Construct
from constructs import IDependable as IDependable

# --- provider and what it knows
from cdktf_cdktf_provider_aws.provider import AwsProvider as AwsProvider
from cdktf_cdktf_provider_aws.provider import AwsProviderDefaultTags as AwsProviderDefaultTags
from cdktf_cdktf_provider_aws.data_aws_secretsmanager_secret import (
    DataAwsSecretsmanagerSecret as DataAwsSecretsmanagerSecret,
)

# --- identity
from cdktf_cdktf_provider_aws.iam_role import IamRole as IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy as IamRolePolicy
from cdktf_cdktf_provider_aws.kms_alias import KmsAlias as KmsAlias
from cdktf_cdktf_provider_aws.kms_key import KmsKey as KmsKey
