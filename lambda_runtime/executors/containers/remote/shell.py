"""The lines of shell above a runtime on another machine, and what they say of it in its output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.containers.ends import NOT_EXECUTABLE, NOT_FOUND, PROBLEMS, not_executed, status_of
from lambda_runtime.executors.containers.plan import EXTENSIONS, ContainerPlan, hidden

_MARK = b"\x1e"
"""Begins what the shell says; the environment's secret follows, so that no function can say it."""
_NOT_STARTED = {"missing": NOT_FOUND, "denied": NOT_EXECUTABLE}

# Above the runtime. It says how the runtime and each extension ended, in the same pipe as their output, so behind the last of it;
# whether the kernel killed something for memory, which no engine has to tell; and passes SIGTERM on.
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


def script(plan: ContainerPlan, extension_variables: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """For `/bin/sh -c`; its arguments are the secret, and the program of the runtime with its own.

    The runtime and each extension are started; how they end it says in the output, behind the last of theirs.
    """
    names = hidden(variables, plan.image_variables)
    lines = ["exec 2>/dev/null", f"unset {' '.join(names)}" if names else "", _ABOVE, _CHECK]
    foreign = [each for each in variables if each not in extension_variables]
    for extension in plan.extensions:
        unset = f"unset {' '.join(foreign)}; " if foreign else ""
        quoted = shlex.quote(extension)
        lines.append(f"({unset}{EXTENSIONS}/{quoted} </dev/null 2>&1; tell extension $? {quoted}) &")
    return "\n".join([*lines, _BELOW])


class Reader:
    """Takes apart what comes from such a shell: the function's output, and between it what the shell says. On the loop only."""

    def __init__(
        self,
        secret: str,
        on_output: Callable[[bytes], None],
        on_runtime_exit: Callable[[ExitStatus], None],
        on_extension_exit: Callable[[str, ExitStatus], None],
    ) -> None:
        self._mark = _MARK + secret.encode() + b" "
        self._on_output = on_output
        self._on_runtime_exit = on_runtime_exit
        self._on_extension_exit = on_extension_exit
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Hand over what is certainly output or was said to its end; the rest waits for what follows."""
        data, self._held = self._held + data, b""
        while (at := data.find(self._mark)) >= 0:
            end = data.find(b"\n", at)
            if at:
                self._on_output(data[:at])
            if end < 0:
                self._held = data[at:]
                return
            words = data[at + len(self._mark) : end].decode("utf-8", "replace").split(" ")
            data = data[end + 1 :]
            self._said(words)
        keep = next(
            (n for n in range(min(len(self._mark) - 1, len(data)), 0, -1) if self._mark.startswith(data[-n:])), 0
        )
        data, self._held = data[: len(data) - keep], data[len(data) - keep :]
        if data:
            self._on_output(data)

    def end(self) -> None:
        """Nothing follows: what waited was output. May be called twice."""
        if self._held:
            self._on_output(self._held)
            self._held = b""

    def _said(self, words: list[str]) -> None:
        if words[0] == "runtime":
            self._on_runtime_exit(status_of(int(words[1]), out_of_memory="memory" in words))
        elif words[0] in _NOT_STARTED:
            self._on_runtime_exit(not_executed(" ".join(words[1:]), _NOT_STARTED[words[0]]))
        elif words[0] == "extension":
            code, name = int(words[1]), " ".join(words[2:])
            program = f"{EXTENSIONS}/{name}"
            self._on_extension_exit(name, not_executed(program, code) if code in PROBLEMS else status_of(code))
