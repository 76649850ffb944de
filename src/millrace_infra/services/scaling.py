"""How many tasks: workers by the stream, the API by its requests, the dashboard by its processor.

Up at once and by much, down by one and slowly: a worker that leaves hands its shards over, and a backlog
costs latency while a spare task costs cents.
"""

from __future__ import annotations

from typing import Final

from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace_infra.entry import Entry
from millrace_infra.services import scaling_metrics as metrics
from millrace_infra.services.api import ApiService
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.dashboard import DashboardService
from millrace_infra.services.worker import WorkerService
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    AppautoscalingPolicy,
    AppautoscalingPolicyStepScalingPolicyConfiguration,
    AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecification,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification,
    AppautoscalingTarget,
    CloudwatchMetricAlarm,
    CloudwatchMetricAlarmMetricQuery,
    Construct,
)

LAG_UP_MS: Final = 10_000
"""Twenty times the promise of 500 ms: shorter is a hand-over or a failover, which passes by itself."""
LAG_FAR_MS: Final = 60_000
LAG_CALM_MS: Final = 1_000
CALM_SHARE: Final = 0.7
"""One task fewer only if the rest would stay under this share of what makes one more: no swinging."""
UP_COOLDOWN_S: Final = 180
"""A new worker compiles its kernels, reads its snapshots and takes shards over before it counts."""
DOWN_AFTER_MIN: Final = 15
DOWN_COOLDOWN_S: Final = 600
CPU_PERCENT: Final = 60.0
"""Of the dashboard's tasks: sessions stick, so the fullest task has more than the mean."""


def worker_ceiling(environment: Environment) -> int:
    """A worker without a shard does nothing. On demand, Kinesis alone knows how many shards there are."""
    size, stream = environment.settings.worker, environment.settings.stream
    return size.count_max if stream.mode == "on_demand" else min(size.count_max, stream.shards)


def tasks_min(environment: Environment) -> dict[str, int]:
    """Of each service: as many run when nothing happens."""
    settings = environment.settings
    return {
        SERVICE_WORKER: min(settings.worker.count_min, worker_ceiling(environment)),
        SERVICE_API: settings.api.count_min,
        SERVICE_DASHBOARD: settings.dashboard.count_min,
    }


def worker_bytes_per_s(environment: Environment) -> float:
    """What makes a worker too few: at the declared load with its head-room, all that may run do run."""
    return environment.settings.load.bytes_per_s / worker_ceiling(environment)


def api_requests_per_min(environment: Environment) -> float:
    """What a task of the API is for: at the edge's throttle, all that may run do run."""
    return environment.settings.edge.requests_per_s * 60 / environment.settings.api.count_max


class WorkerScaling(Construct):
    """Workers by lag and by incoming bytes. `consumer_name` is the fan-out consumer's; empty means polling."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        worker: WorkerService,
        stream_name: str,
        consumer_name: str = "",
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self._lag = metrics.lag(stream_name, consumer_name)
        self._bytes = metrics.incoming_bytes(stream_name)
        self._running = metrics.running(cluster.name, worker.service_name)
        least, most = tasks_min(environment)[SERVICE_WORKER], worker_ceiling(environment)
        self.target = _target(self, cluster, worker.service_name, least, most)
        self._up_on_lag()
        self._up_on_bytes()
        self._down()

    def _up_on_lag(self) -> None:
        far = LAG_FAR_MS - LAG_UP_MS
        policy = self._steps("up-on-lag", UP_COOLDOWN_S, [_step(25, 0, far), _step(100, far, None)], least=1)
        self._alarm(
            "lag",
            policy,
            [metrics.alone(self._lag)],
            threshold=LAG_UP_MS,
            minutes=2,
            description="The slowest shard is over 10 s behind: add a quarter of the workers, all again at a minute.",
        )

    def _up_on_bytes(self) -> None:
        limit = worker_bytes_per_s(self._environment)
        policy = self._steps(
            "up-on-bytes", UP_COOLDOWN_S, [_step(25, 0, limit), _step(100, limit, None)], least=1
        )
        per_task = metrics.expression("per_task", "incoming / 60 / running", "bytes/s and task")
        self._alarm(
            "bytes",
            policy,
            [metrics.part(self._bytes), metrics.part(self._running), per_task],
            threshold=limit,
            minutes=2,
            description="More bytes/s for each worker than the declared load gives to as many as may run.",
        )

    def _down(self) -> None:
        policy = self._steps("down", DOWN_COOLDOWN_S, [_step(-1, 0, None)], exact=True)
        limit = CALM_SHARE * worker_bytes_per_s(self._environment)
        # without a lag there is no point, and without a point no step: blind is not calm
        calm = metrics.expression(
            "calm",
            f"IF((lag < {LAG_CALM_MS}) AND (FILL(incoming, 0) / 60 < {limit:.0f} * (running - 1)), 1, 0)",
            "one worker fewer would do",
        )
        self._alarm(
            "calm",
            policy,
            [metrics.part(self._lag), metrics.part(self._bytes), metrics.part(self._running), calm],
            threshold=1,
            minutes=DOWN_AFTER_MIN,
            description="For a quarter of an hour one worker fewer would have done.",
        )

    def _steps(
        self,
        id: str,
        cooldown_s: int,
        steps: list[AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment],
        *,
        least: int | None = None,
        exact: bool = False,
    ) -> AppautoscalingPolicy:
        return AppautoscalingPolicy(
            self,
            id,
            name=self._environment.names.of(f"{SERVICE_WORKER}-{id}"),
            policy_type="StepScaling",
            resource_id=self.target.resource_id,
            scalable_dimension=self.target.scalable_dimension,
            service_namespace=self.target.service_namespace,
            step_scaling_policy_configuration=AppautoscalingPolicyStepScalingPolicyConfiguration(
                adjustment_type="ChangeInCapacity" if exact else "PercentChangeInCapacity",
                min_adjustment_magnitude=least,
                metric_aggregation_type="Maximum",
                cooldown=cooldown_s,
                step_adjustment=steps,
            ),
        )

    def _alarm(
        self,
        id: str,
        policy: AppautoscalingPolicy,
        queries: list[CloudwatchMetricAlarmMetricQuery],
        *,
        threshold: float,
        minutes: int,
        description: str,
    ) -> None:
        """It moves the count and tells nobody: people have alarms of their own."""
        name = self._environment.names.of(f"{SERVICE_WORKER}-scaling-{id}", "alarm")
        CloudwatchMetricAlarm(
            self,
            f"{id}-alarm",
            alarm_name=name,
            alarm_description=description,
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=threshold,
            evaluation_periods=minutes,
            datapoints_to_alarm=minutes,
            treat_missing_data="notBreaching",
            metric_query=queries,
            alarm_actions=[policy.arn],
            tags={"Name": name},
        )


class ApiScaling(Construct):
    """The API by its requests: those of both colours, because a deployment serves from both."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        api: ApiService,
        entry: Entry,
    ) -> None:
        super().__init__(scope, id)
        least, most = tasks_min(environment)[SERVICE_API], environment.settings.api.count_max
        target = _target(self, cluster, api.service_name, least, most)
        requests = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecification(
            metrics=metrics.requests_per_task(
                load_balancer=entry.alb_arn_suffix,
                target_groups=[group.arn_suffix for group in entry.target_groups[SERVICE_API]],
                running=metrics.running(cluster.name, api.service_name),
            )
        )
        _track(
            self,
            environment.names.of(f"{SERVICE_API}-requests"),
            target,
            AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration(
                target_value=api_requests_per_min(environment),
                scale_out_cooldown=60,
                scale_in_cooldown=DOWN_COOLDOWN_S,
                customized_metric_specification=requests,
            ),
        )


class DashboardScaling(Construct):
    """The dashboard by its processor: each open page costs a little of it, all the time."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        dashboard: DashboardService,
    ) -> None:
        super().__init__(scope, id)
        least, most = tasks_min(environment)[SERVICE_DASHBOARD], environment.settings.dashboard.count_max
        target = _target(self, cluster, dashboard.service_name, least, most)
        cpu = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification(
            predefined_metric_type="ECSServiceAverageCPUUtilization"
        )
        _track(
            self,
            environment.names.of(f"{SERVICE_DASHBOARD}-cpu"),
            target,
            AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration(
                target_value=CPU_PERCENT,
                scale_out_cooldown=60,
                scale_in_cooldown=DOWN_COOLDOWN_S,
                predefined_metric_specification=cpu,
            ),
        )


def _target(
    scope: Construct, cluster: Cluster, service_name: str, least: int, most: int
) -> AppautoscalingTarget:
    return AppautoscalingTarget(
        scope,
        "target",
        service_namespace="ecs",
        scalable_dimension="ecs:service:DesiredCount",
        resource_id=f"service/{cluster.name}/{service_name}",
        min_capacity=least,
        max_capacity=most,
    )


def _track(
    scope: Construct,
    name: str,
    target: AppautoscalingTarget,
    configuration: AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration,
) -> None:
    AppautoscalingPolicy(
        scope,
        "policy",
        name=name,
        policy_type="TargetTrackingScaling",
        resource_id=target.resource_id,
        scalable_dimension=target.scalable_dimension,
        service_namespace=target.service_namespace,
        target_tracking_scaling_policy_configuration=configuration,
    )


def _step(
    change: int, above: float, below: float | None
) -> AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment:
    """`change` while the metric is that far over the alarm's threshold."""
    return AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment(
        scaling_adjustment=change,
        metric_interval_lower_bound=f"{above:g}",
        metric_interval_upper_bound=None if below is None else f"{below:.0f}",
    )
