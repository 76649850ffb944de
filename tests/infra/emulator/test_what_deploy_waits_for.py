"""What the emulator answers to the steps of `deploy` after Terraform: as if they were done, and refused as on AWS."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import pytest

from millrace_infra.traffic_shift import appspec, takes_all_traffic
from tests.infra.emulator.conftest import Client
from tests.infra.emulator.test_additions import refused, role

CLUSTER, PORT = "runs", 8443


@pytest.fixture(scope="module")
def subnet(client: Client) -> str:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.1.0/24")["Subnet"]["SubnetId"])


@pytest.fixture(scope="module")
def revision(client: Client) -> Any:
    """(family) -> the next revision of it."""
    ecs = client("ecs")
    ecs.create_cluster(clusterName=CLUSTER)

    def made(family: str) -> str:
        container = {"name": family, "image": "i", "portMappings": [{"containerPort": PORT}]}
        answer = ecs.register_task_definition(
            family=family, containerDefinitions=[container], networkMode="awsvpc", cpu="256", memory="512",
            requiresCompatibilities=["FARGATE"],
        )  # fmt: skip
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    return made


def test_a_task_of_its_own_has_ended_well_when_it_is_looked_at(
    client: Client, revision: Any, subnet: str
) -> None:
    ecs = client("ecs")
    started = ecs.run_task(
        cluster=CLUSTER, taskDefinition=revision("once"), launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}},
    )["tasks"][0]  # fmt: skip
    (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[started["taskArn"]])["tasks"]
    assert task["lastStatus"] == "STOPPED"
    assert [(one["name"], one["exitCode"]) for one in task["containers"]] == [("once", 0)]


def test_a_service_has_the_tasks_that_it_wants_of_the_revision_that_it_was_told(
    client: Client, revision: Any
) -> None:
    ecs = client("ecs")
    ecs.create_service(
        cluster=CLUSTER, serviceName="w", taskDefinition=revision("w"), desiredCount=3, launchType="FARGATE"
    )
    newest = revision("w")
    ecs.update_service(cluster=CLUSTER, service="w", taskDefinition=newest, forceNewDeployment=True)
    (found,) = ecs.describe_services(cluster=CLUSTER, services=["w"])["services"]
    (deployment,) = found["deployments"]
    assert (found["taskDefinition"], found["runningCount"]) == (newest, 3)
    assert (deployment["taskDefinition"], deployment["rolloutState"]) == (newest, "COMPLETED")


@pytest.fixture
def group(client: Client, revision: Any) -> dict[str, str]:
    """A deployment group over a service that CodeDeploy moves."""
    deploy = client("codedeploy")
    client("ecs").create_service(
        cluster=CLUSTER, serviceName="api", taskDefinition=revision("api"), desiredCount=1,
        deploymentController={"type": "CODE_DEPLOY"},
    )  # fmt: skip
    deploy.create_application(applicationName="moves", computePlatform="ECS")
    deploy.create_deployment_group(
        applicationName="moves", deploymentGroupName="api", serviceRoleArn=role(client, "moves"),
        deploymentStyle={"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        ecsServices=[{"clusterName": CLUSTER, "serviceName": "api"}],
    )  # fmt: skip
    return {"applicationName": "moves", "deploymentGroupName": "api"}


def told(spec: str, digest: str = "") -> dict[str, Any]:
    content = {"content": spec, "sha256": digest or hashlib.sha256(spec.encode()).hexdigest()}
    return {"revisionType": "AppSpecContent", "appSpecContent": content}


def test_a_deployment_moves_all_traffic_and_holds_its_group_until_the_old_tasks_may_go(
    client: Client, revision: Any, group: dict[str, str]
) -> None:
    deploy, newest = client("codedeploy"), revision("api")
    spec = appspec("api", newest, PORT)
    for wrong in (
        told(spec, "0" * 64),
        told(appspec("api", newest, 1)),
        told(appspec("other", newest, PORT)),
    ):
        assert refused(deploy.create_deployment, **group, revision=wrong) == "InvalidRevisionException"
    first = deploy.create_deployment(**group, revision=told(spec))["deploymentId"]
    (running,) = client("ecs").describe_services(cluster=CLUSTER, services=["api"])["services"]
    assert running["taskDefinition"] == newest
    (target,) = deploy.list_deployment_targets(deploymentId=first)["targetIds"]
    found = deploy.get_deployment_target(deploymentId=first, targetId=target)["deploymentTarget"]["ecsTarget"]
    assert takes_all_traffic(found)
    assert deploy.list_deployments(**group, includeOnlyStatuses=["InProgress"])["deployments"] == [first]
    again = {**group, "revision": told(spec)}
    assert refused(deploy.create_deployment, **again) == "DeploymentLimitExceededException"
    deploy.continue_deployment(deploymentId=first, deploymentWaitType="TERMINATION_WAIT")
    assert deploy.get_deployment(deploymentId=first)["deploymentInfo"]["status"] == "Succeeded"
    assert deploy.list_deployments(**group, includeOnlyStatuses=["InProgress"])["deployments"] == []
    assert deploy.create_deployment(**again)["deploymentId"] != first
    assert refused(deploy.get_deployment, deploymentId="d-NONE") == "DeploymentDoesNotExistException"


def test_a_rotation_that_is_set_up_is_none_yet_and_one_that_is_asked_for_is_in_force(client: Client) -> None:
    manager, functions = client("secretsmanager"), client("lambda")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("f.py", "")
    function = functions.create_function(
        FunctionName="f", Runtime="python3.12", Handler="f.f", Role=role(client, "rotates"),
        Code={"ZipFile": packed.getvalue()},
    )["FunctionArn"]  # fmt: skip
    secret = manager.create_secret(Name="s", SecretString="value")["ARN"]
    first = manager.get_secret_value(SecretId=secret)["VersionId"]
    manager.rotate_secret(
        SecretId=secret, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 30},
        RotateImmediately=False,
    )  # fmt: skip
    found = manager.describe_secret(SecretId=secret)
    assert found["VersionIdsToStages"] == {first: ["AWSCURRENT"]}
    assert "LastRotatedDate" not in found
    second = manager.rotate_secret(SecretId=secret, RotateImmediately=True)["VersionId"]
    found = manager.describe_secret(SecretId=secret)
    assert found["VersionIdsToStages"] == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}
    assert (found["RotationLambdaARN"], "LastRotatedDate" in found) == (function, True)
    assert manager.get_secret_value(SecretId=secret)["SecretString"] == "value"


def test_a_service_linked_role_has_the_name_that_aws_gives_it_and_is_made_once(client: Client) -> None:
    iam = client("iam")
    made = iam.create_service_linked_role(AWSServiceName="ops.apigateway.amazonaws.com")["Role"]
    assert made["RoleName"] == "AWSServiceRoleForAPIGateway"
    assert iam.get_role(RoleName=made["RoleName"])["Role"]["RoleId"] == made["RoleId"]
    again = {"AWSServiceName": "ops.apigateway.amazonaws.com"}
    assert refused(iam.create_service_linked_role, **again) == "InvalidInput"


def test_a_bucket_s_policy_refuses_what_it_refuses_to_all_and_nothing_by_a_condition(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="judged", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    everything = ["arn:aws:s3:::judged", "arn:aws:s3:::judged/*"]
    denial = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": everything}
    plain_http = {**denial, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    for statement, codes in ((plain_http, []), ({**denial, "Action": "s3:PutObject"}, ["403"])):
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        s3.put_bucket_policy(Bucket="judged", Policy=json.dumps(policy))
        put = {"Bucket": "judged", "Key": "k", "Body": b""}
        assert ([refused(s3.put_object, **put)] if codes else s3.put_object(**put) and []) == codes
