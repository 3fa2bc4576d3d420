"""Rules of EventBridge whose targets are functions: patterns, input of targets, events as EventBridge makes them.

https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html,
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html and .../eb-transform-target-input.html
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from lambda_provider.event_sources.filters import Filter, InvalidPattern
from lambda_provider.hosts.services import schedules
from lambda_provider.hosts.services.link import Origin, dump, link
from lambda_provider.hosts.services.patches import View, replace

PRINCIPAL = "events.amazonaws.com"
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.-]+)>")
_MISSING: Any = object()


def install() -> None:
    """Have moto's EventBridge run our functions, on events and by schedule."""
    from moto.events import models

    def _with_functions(send: Any) -> Any:
        def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
            functions = [target for target in self.targets if is_function(target["Arn"])]
            others = [target for target in self.targets if not is_function(target["Arn"])]
            if functions and self.state == "ENABLED" and _matches(self.event_pattern, event_of(original_event)):
                for target in functions:
                    run_target(target, event_of(original_event), self.arn, self.account_id)
            if others:
                send(View(self, targets=others), original_event, transform_input)

        return send_to_targets

    def _noticed(change: Any) -> Any:
        def changed(self: Any, *arguments: Any, **more: Any) -> Any:
            answer = change(self, *arguments, **more)
            timetable.look_again()
            return answer

        return changed

    timetable = schedules.Timetable(lambda: _scheduled_rules(models.events_backends))
    replace(models.Rule, "send_to_targets", "self original_event transform_input", _with_functions)
    replace(models.EventsBackend, "put_rule", "self name", _noticed)
    replace(models.EventsBackend, "enable_rule", "self name", _noticed)
    timetable.start()


def is_function(arn: str) -> bool:
    """Whether a target is a function, a version or an alias."""
    return arn.split(":")[2:3] == ["lambda"]


def event_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The event for targets, of moto's: its time is a number, and members that EventBridge keeps to itself are there."""
    moment = message.get("time")
    if not isinstance(moment, str) or not moment.endswith("Z"):
        try:
            moment = _text_of_time(float(moment)) if moment else _text_of_time(time.time())
        except ValueError:
            moment = str(moment)
    return {
        "version": message.get("version", "0"),
        "id": message["id"],
        "detail-type": message["detail-type"],
        "source": message["source"],
        "account": message["account"],
        "time": moment,
        "region": message["region"],
        "resources": message.get("resources", []),
        "detail": message["detail"],
    }


def _text_of_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _matches(pattern: Any, event: Mapping[str, Any]) -> bool:
    document = pattern.get_pattern()
    if not document:
        # A rule with a schedule only: no event is for it.
        return False
    try:
        return Filter(json.dumps(document)).matches(event)
    except InvalidPattern:
        # An operator that only EventBridge has.
        return bool(pattern.matches_event(event))


def run_target(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str, account_id: str) -> None:
    """Hand an event over to the function of a target, changed as the target says; or to its dead-letter queue."""
    payload = input_of(target, event, rule_arn)
    if link().send(target["Arn"], payload, Origin(account_id=account_id, service=PRINCIPAL, arn=rule_arn)):
        return
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if queue_arn:
        _, _, _, region, account, name = queue_arn.split(":")
        client = link().client("sqs", account, region)
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=payload.decode())


def input_of(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> bytes:
    """What a target gets: `Input`, the part that `InputPath` names, what `InputTransformer` makes, or the event."""
    if target.get("Input") is not None:
        return str(target["Input"]).encode()
    if target.get("InputPath"):
        value = _at(event, target["InputPath"])
        return dump(None if value is _MISSING else value)
    transformer = target.get("InputTransformer")
    if not transformer:
        return dump(event)
    values = {name: _at(event, path) for name, path in (transformer.get("InputPathsMap") or {}).items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_arn.rpartition("/")[2],
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
        "aws.events.event.json": event,
    }
    return fill_in(transformer["InputTemplate"], values).encode()


def fill_in(template: str, values: Mapping[str, Any]) -> str:
    """A template with its `<name>`s replaced.

    Within quotes the value stands as text, escaped where it would end the quotes; elsewhere as JSON. A name whose path leads
    nowhere is left out (eb-transform-target-input.html, "Common issues with transforming input").
    """
    filled: list[str] = []
    quoted = False
    position = 0
    for match in _PLACEHOLDER.finditer(template):
        before = template[position : match.start()]
        filled.append(before)
        quoted ^= before.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1
        position = match.end()
        value = values.get(match.group(1), _MISSING)
        if value is _MISSING:
            filled.append("" if quoted or match.group(1) in values else match.group())
        elif quoted:
            text = value if isinstance(value, str) else dump(value).decode()
            filled.append(json.dumps(text, ensure_ascii=False)[1:-1] if isinstance(value, str) else text)
        else:
            filled.append(dump(value).decode())
    return "".join([*filled, template[position:]])


def _at(event: Any, path: str) -> Any:
    """What a JSON path leads to: `$`, `$.detail.key`, `$.resources[0]`, `$.detail['a key']`."""
    value = event
    for name, index, quoted in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]|\[['\"]([^'\"]*)['\"]\]", path.removeprefix("$")):
        key: Any = int(index) if index else name or quoted
        known = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if key not in known:
            return _MISSING
        value = value[key]
    return value


def _scheduled_rules(backends: Any) -> dict[str, schedules.Job]:
    """Rules with a schedule that have a function to run, by ARN."""
    jobs = {}
    for account in list(backends.values()):
        for backend in list(account.values()):
            for bus in list(backend.event_buses.values()):
                for rule in list(bus.rules.values()):
                    if rule.scheduled_expression and rule.state == "ENABLED":
                        jobs[rule.arn] = schedules.Job(rule.scheduled_expression, partial(_run_rule, rule))
    return jobs


def _run_rule(rule: Any) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/services-cloudwatchevents.html"""
    event = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": rule.account_id,
        "time": _text_of_time(time.time()),
        "region": rule.region_name,
        "resources": [rule.arn],
        "detail": {},
    }
    for target in list(rule.targets):
        if is_function(target["Arn"]):
            run_target(target, event, rule.arn, rule.account_id)
