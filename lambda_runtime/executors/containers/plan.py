"""What all environments of a version have in common, and what a container of AWS's may do and use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from lambda_runtime.executors.code import LAYERS, TASK
from lambda_runtime.executors.containers.settings import Flags
from lambda_runtime.executors.process.host import LIMITS, PROCESS_LIMIT

USER = "993:990"
"""sbx_user1051, as whom functions run on AWS (recorded: TestLambdaBehavior::test_runtime_introspection_x86)."""
PROCESSES = PROCESS_LIMIT["RLIMIT_NPROC"][0]
"""So many processes and threads may be inside."""
SHARE_MIB = 1769
"""With so much memory a function has one processor (lambda/latest/dg/configuration-memory.md)."""
EXTENSIONS = f"{LAYERS}/extensions"
SHELL = "/bin/sh"
_OF_THE_ENGINE = ("HOSTNAME", "HOME")
"""Variables that an engine adds; functions on AWS have none of them."""

P = TypeVar("P", bound="ContainerPlan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """How environments of a version are made into containers, as far as that is the same for all engines.

    An executor has a plan of its own below it: the image as its engine names it, mounts as it writes them, and so on.
    """

    program: tuple[str, ...] = ()
    """What is executed: the program and its arguments."""
    working_directory: str = TASK
    memory_mib: int = 0
    """The function's MemorySize."""
    storage_mib: int = 0
    """The function's EphemeralStorage: what /tmp may hold."""
    dns: tuple[str, ...] = ()
    """Addresses of name servers; none leaves them to the engine."""
    flags: Flags = field(default_factory=Flags)
    labels: Mapping[str, str] = field(default_factory=dict)
    """By which a container is known as ours; they have to be on everything that could be left behind."""
    shell: bool = True
    """The image has /bin/sh."""
    extensions: tuple[str, ...] = ()
    """Names of the files in /opt/extensions, each an external extension."""
    image_variables: tuple[str, ...] = ()
    """Names of the variables that the image sets, and that extensions do not see."""

    def extended(self, kind: type[P], **own: Any) -> P:
        """The plan of an engine that has these fields, and its own."""
        return kind(**({each.name: getattr(self, each.name) for each in fields(self)} | own))


def hidden(variables: Iterable[str], image_variables: Iterable[str] = ()) -> list[str]:
    """Names that the engine or the image would add to these variables: a shell has to unset them."""
    names = dict.fromkeys((*_OF_THE_ENGINE, *image_variables))
    wanted = set(variables)
    return [each for each in names if each not in wanted]


def ulimits(flags: Flags) -> list[dict[str, Any]]:
    """Limits of every process, in Docker's words; those of LAMBDA_DOCKER_FLAGS win."""
    found = {
        name.removeprefix("RLIMIT_").lower(): {"Soft": soft, "Hard": hard} for name, (soft, hard) in LIMITS.items()
    }
    found |= {each["Name"]: {"Soft": each["Soft"], "Hard": each["Hard"]} for each in flags.ulimits}
    return [{"Name": name, **limits} for name, limits in found.items()]
