"""A rotation that is cut short on purpose: at any call, before it is made or after it was, its answer lost."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from millrace_rotation import stages

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class CutShort(Exception):
    """The function was ended here."""


@dataclass
class Faults:
    """Fails once, at the point of that number (none: -1). Points are counted over everything that it watches."""

    at: int = -1
    passed: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) - 1 == self.at:
            raise CutShort(name)

    def call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.point(f"before {name}")
            answer = function(*args, **kwargs)
            self.point(f"after {name}")
            return answer

        return called

    def watch(self, client: Any) -> Any:
        """A client of boto3's whose calls are points."""
        return _Watched(self, client)


class _Watched:
    def __init__(self, faults: Faults, client: Any) -> None:
        self._faults = faults
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "get_paginator":
            return lambda operation: SimpleNamespace(
                paginate=self._faults.call(
                    operation, lambda **given: list(found(operation).paginate(**given))
                )
            )
        return self._faults.call(name, found) if callable(found) and name != "exceptions" else found


class _Heard(logging.Handler):
    """Everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@dataclass
class Secret:
    """One secret in the emulator, and how Secrets Manager would rotate it."""

    manager: Any
    arn: str

    def value(self, stage: str = "AWSCURRENT") -> str:
        return str(self.manager.get_secret_value(SecretId=self.arn, VersionStage=stage)["SecretString"])

    def stages(self) -> Mapping[str, list[str]]:
        found: Mapping[str, list[str]] = self.manager.describe_secret(SecretId=self.arn)["VersionIdsToStages"]
        return found

    def current_version(self) -> str:
        return next(version for version, labels in self.stages().items() if "AWSCURRENT" in labels)

    def step(self, name: str, token: str, subject: stages.Subject, manager: Any = None) -> None:
        event = {"Step": name, "ClientRequestToken": token, "SecretId": self.arn}
        with self._unsaid():
            stages.run(event, manager=manager or self.manager, secret_arn=self.arn, subject=subject)

    @contextmanager
    def _unsaid(self) -> Iterator[None]:
        """What Lambda writes down of a step, its log and the text of its end, holds no value of the secret."""
        heard = _Heard()
        logging.getLogger().addHandler(heard)
        try:
            yield
        except Exception as error:
            heard.said += traceback.format_exception(error)
            raise
        finally:
            logging.getLogger().removeHandler(heard)
            said = "\n".join(heard.said)
            assert [word for word in self._words() if word in said] == [], "a value of the secret was said"

    def _words(self) -> Iterator[str]:
        """The texts in all of its versions that are long enough to stand in no sentence by chance."""
        for version in self.stages():
            try:
                found = self.manager.get_secret_value(SecretId=self.arn, VersionId=version)["SecretString"]
            except self.manager.exceptions.ResourceNotFoundException:
                continue  # a pending version that has no value yet
            yield from re.findall(r'"([^" ]{16,})"', found)

    def rotate(self, token: str, subject: stages.Subject, steps: tuple[str, ...] = STEPS) -> None:
        for name in steps:
            self.step(name, token, subject)
