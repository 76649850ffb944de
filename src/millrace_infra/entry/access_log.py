"""The bucket of the application load balancer's access log: one store that AWS lets no customer key encrypt.

Elastic Load Balancing, "Enable access logs for your Application Load Balancer": the only server-side encryption option
that's supported is Amazon S3-managed keys (SSE-S3).
"""

from __future__ import annotations

from typing import Final

from millrace_infra.bucket import Bucket, Keep, bucket_arn
from millrace_infra.policy import Statement
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct

RESOURCE: Final = "alb-log"
PREFIX: Final = "alb"


def access_log(scope: Construct, id: str, *, environment: Environment) -> Bucket:
    """Written by the load balancer alone, emptied after as many days as the logs in CloudWatch."""
    account = environment.settings.account_id
    deliver = Statement(
        ("s3:PutObject",),
        (f"{bucket_arn(environment, RESOURCE)}/{PREFIX}/AWSLogs/{account}/*",),
        principals={"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
    )
    days = environment.settings.log_days
    return Bucket(
        scope,
        id,
        environment=environment,
        resource=RESOURCE,
        data_class="standard",
        keep=[Keep(f"{PREFIX}/", days=days, noncurrent_days=1)],
        also=[deliver],
    )
