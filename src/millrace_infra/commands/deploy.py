"""`deploy`: preflight, registry, images, platform, migration, rotation, traffic, outputs: one command, repeatable."""

from __future__ import annotations

import typer

from millrace_infra.commands.options import EnvOption, SuffixOption, chosen


def deploy(env: EnvOption = "dev", suffix: SuffixOption = "dev") -> None:
    """Deploy an environment: migrate its database, rotate its secrets once, move traffic.

    Writes cfn-outputs/flat-outputs.json.
    The images are named by MILLRACE_IMAGE_WORKER, _API, _DASHBOARD and _COLLECTOR, each by digest.
    """
    from millrace_infra.first_rotation import FirstRotation
    from millrace_infra.images import chosen_sources, copy_all, need_docker
    from millrace_infra.preflight import Account, require
    from millrace_infra.revision import VARIABLE, commit_here
    from millrace_infra.rollout import Rollout
    from millrace_infra.session import client_of
    from millrace_infra.workspace import workspace, write_outputs

    environment = chosen(env, suffix)
    chosen_sources()  # a missing image is found before anything is made
    place = workspace(environment)
    client = client_of(environment)
    require(Account(environment, client))  # so is whatever else would stop it half way
    need_docker(environment, client("ecr"))
    place.synthesize()
    with place.terraform(place.registry) as terraform:
        terraform.apply()
    images = copy_all(environment, client("ecr"), typer.echo)
    with place.terraform(place.platform, variables={**images, VARIABLE: commit_here()}) as terraform:
        terraform.apply()
        outputs = terraform.outputs()
    rollout = Rollout(outputs, client, typer.echo)
    rollout.migrate()
    FirstRotation(outputs, client, typer.echo).run()
    rollout.roll_out()
    typer.echo(f"outputs: {write_outputs(outputs)}")
