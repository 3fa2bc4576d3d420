"""What is asked of Swarm: an environment as a service of one task, and work that every node does once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lambda_runtime.executors.containers.plan import (
    EXTENSIONS,
    PROCESSES,
    SHARE_MIB,
    SHELL,
    USER,
    ContainerPlan,
    hidden,
    ulimits,
)

NODE = "/mnt/node"
"""Where a node's own directory is in the task that fills or cleans it."""
MARK = b"\x1e"
"""Begins what the shell above the runtime says in the function's output; the environment's secret follows."""
_NANO = 1_000_000_000
_GRACE_NS = 2 * _NANO
"""What AWS gives extensions to end (lambda/latest/dg/lambda-runtime-environment.md)."""
_STORAGE = {"Type": "volume", "Target": "/tmp"}
"""Nameless, so it goes with its task. A tmpfs of Swarm's would have a size, but forbids to run what lies there, which functions
on AWS do; and a volume with options of its own (a tmpfs of a size) is made twice by Swarm, and once of these never removed."""

# Above the runtime. It says how the runtime and each extension ended, in the same pipe as their output, so behind the last of it;
# whether the kernel killed something for memory, which Swarm does not tell; and passes SIGTERM on.
_ABOVE = r"""
mark=$1; shift
tell() { printf '\036%s %s\n' "$mark" "$*"; }
out_of_memory() {
    for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
        [ -r $file ] || continue
        while read -r name count; do [ "$name" = oom_kill ] && [ "$count" != 0 ] && return 0; done <$file
    done
    return 1
}
"""
_CHECK = r"""
case "$1" in
    */*) if [ ! -f "$1" ]; then tell missing "$1"; exit 127; elif [ ! -x "$1" ]; then tell denied "$1"; exit 126; fi ;;
    *) command -v "$1" >/dev/null || { tell missing "$1"; exit 127; } ;;
esac
"""
_BELOW = r"""
"$@" </dev/null 2>&1 & runtime=$!
trap 'kill -TERM $runtime 2>/dev/null' TERM
wait $runtime; code=$?
while [ $code -gt 128 ] && kill -0 $runtime 2>/dev/null; do wait $runtime; code=$?; done
if [ $code = 137 ] && out_of_memory; then tell runtime $code memory; else tell runtime $code; fi
wait
exit $code
"""

# On every node, once: what is not there yet is fetched and put in its place when it is whole.
_FILL = r"""
set -eu
umask 022
fetch() {
    if command -v curl >/dev/null; then curl -sSf "http://$GATE$1"
    else bash -c 'exec 3<>"/dev/tcp/${1%:*}/${1#*:}"; printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$1" >&3
        while IFS= read -r line <&3 && [ "${#line}" -gt 1 ]; do :; done; cat <&3' bash "$GATE" "$1"
    fi
}
unpack() {
    while IFS= read -r line; do
        rest=${line#? }
        case "$line" in
            d*) mkdir -p "$rest" ;;
            l*) IFS= read -r target; ln -s "$target" "$rest" ;;
            [fx]*) path=${rest#* }; head -c "${rest%% *}" >"$path"
                case "$line" in x*) chmod 755 "$path" ;; esac ;;
            e) return 0 ;;
        esac
    done
    echo "the code did not arrive whole" >&2
    return 1
}
mkdir -p "$PLACE"
cd "$PLACE"
for name in $NAMES; do
    [ ! -e "$name" ] || continue
    rm -rf ".$name"
    mkdir ".$name"
    if command -v tar >/dev/null; then fetch "/$name.tar" | tar -x -f - -C ".$name"
    else fetch "/$name.list" | (cd ".$name"; unpack); fi
    mv ".$name" "$name"
done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(ContainerPlan):
    """How environments of a version are made into services; the same for all of them."""

    image: str
    mounts: Mapping[str, str] = field(default_factory=dict)
    """Directories of nodes, by where they are in an environment."""
    limit_processors: bool
    network: str
    constraints: tuple[str, ...]


def environment(
    plan: Plan,
    name: str,
    variables: Mapping[str, str],
    extension_variables: Mapping[str, str],
    token: str,
    gate: tuple[str, str],
    avoided: Sequence[str],
) -> dict[str, Any]:
    """A service of one task that is never started again. `gate` is an address and its name; `avoided` are nodes' ids."""
    flags = plan.flags
    container: dict[str, Any] = {
        "Image": plan.image,
        "Labels": {**flags.labels, **plan.labels},
        "Env": [f"{key}={value}" for key, value in variables.items()],
        "Dir": plan.working_directory,
        "User": flags.user or USER,
        # Extensions listen for telemetry on this name; so it is written with the task's own address.
        "Hostname": "sandbox.localdomain",
        "Hosts": [" ".join(gate), *(_host(each) for each in flags.extra_hosts)],
        "Mounts": [dict(_STORAGE), *(_bind(source, target) for target, source in plan.mounts.items())],
        "Init": True,
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": list(flags.cap_add),
        "Ulimits": ulimits(flags),
        "StopSignal": "SIGTERM" if plan.extensions else "SIGKILL",
        "StopGracePeriod": _GRACE_NS if plan.extensions else 0,
    }
    if plan.dns:
        container["DNSConfig"] = {"Nameservers": list(plan.dns)}
    if plan.shell:
        container |= {
            "Command": [SHELL],
            "Args": ["-c", _script(plan, extension_variables, variables), "sh", token],
        }
        container["Args"] += plan.program
    else:
        container |= {"Command": list(plan.program), "Args": []}
    limits = {
        "MemoryBytes": plan.memory_mib << 20,
        "NanoCPUs": max(0 if plan.limit_processors else _NANO, _NANO * plan.memory_mib // SHARE_MIB),
        "Pids": PROCESSES,
    }
    service = _service(name, plan, container, {"Replicated": {"Replicas": 1}}, avoided)
    service["TaskTemplate"]["Resources"] = {"Limits": limits, "Reservations": {"MemoryBytes": plan.memory_mib << 20}}
    return service


def filling(
    plan: Plan, name: str, directory: str, place: str, entries: Sequence[str], gate: tuple[str, str, int]
) -> dict[str, Any]:
    """A task on every node that gets the image, and the entries into `place` below the node's directory."""
    address, host, port = gate
    container = {
        "Image": plan.image,
        "Labels": dict(plan.labels),
        "Env": [f"GATE={host}:{port}", f"PLACE={NODE}/{place}", f"NAMES={' '.join(entries)}"],
        "Hosts": [f"{address} {host}"],
        "Command": [SHELL, "-c", _FILL] if entries else [SHELL, "-c", ":"],
    }
    return _everywhere(name, plan, container, directory)


def cleaning(plan: Plan, name: str, directory: str, paths: Sequence[str]) -> dict[str, Any]:
    """A task on every node that removes these paths below the node's directory."""
    command = "rm -rf " + " ".join(shlex.quote(f"{NODE}/{path}") for path in paths)
    container = {"Image": plan.image, "Labels": dict(plan.labels), "Command": [SHELL, "-c", command]}
    return _everywhere(name, plan, container, directory)


def _script(plan: Plan, extension_variables: Mapping[str, str], variables: Mapping[str, str]) -> str:
    names = hidden(variables, plan.image_variables)
    lines = ["exec 2>/dev/null", f"unset {' '.join(names)}" if names else "", _ABOVE, _CHECK]
    foreign = [each for each in variables if each not in extension_variables]
    for extension in plan.extensions:
        unset = f"unset {' '.join(foreign)}; " if foreign else ""
        quoted = shlex.quote(extension)
        lines.append(f"({unset}{EXTENSIONS}/{quoted} </dev/null 2>&1; tell extension $? {quoted}) &")
    return "\n".join([*lines, _BELOW])


def _everywhere(name: str, plan: Plan, container: dict[str, Any], directory: str) -> dict[str, Any]:
    container |= {"User": "0:0", "ReadOnly": True, "CapabilityDrop": ["ALL"], "StopGracePeriod": 0}
    container["Mounts"] = [{"Type": "bind", "Source": directory, "Target": NODE}]
    return _service(name, plan, container, {"Global": {}}, ())


def _service(
    name: str, plan: Plan, container: dict[str, Any], mode: dict[str, Any], avoided: Sequence[str]
) -> dict[str, Any]:
    template: dict[str, Any] = {
        "ContainerSpec": container,
        # A function's environment that ended is another one's beginning, with other secrets: who starts it is the gateway.
        "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
        "Placement": {"Constraints": [*plan.constraints, *(f"node.id!={node}" for node in avoided)]},
        # The one driver that every node has and whose output the managers can read.
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "20m", "max-file": "2"}},
    }
    if plan.network:
        template["Networks"] = [{"Target": plan.network}]
    return {
        "Name": name,
        "Labels": dict(plan.labels),
        "TaskTemplate": template,
        "Mode": mode,
        # Nobody looks for it by name: no virtual address, and no need of the kernel's IPVS.
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _bind(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def _host(text: str) -> str:
    """`name:address` of `docker run` as a line of /etc/hosts."""
    name, _, address = text.partition(":")
    return f"{address} {name}"
