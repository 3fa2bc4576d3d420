"""Java: where its virtual machines are, and how one is started with AWS's runtime client.

A newer virtual machine runs what was compiled for an older one, so that the nearest is the oldest that is new enough.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_runtime.executors.process.languages import java_archive, java_client
from lambda_runtime.executors.process.languages.base import (
    Interpreter,
    Language,
    RuntimeFiles,
    Start,
    answer_of,
    search_path,
)

_PROPERTY = re.compile(r"^\s+(java\.version|java\.home) = (.+)$", re.MULTILINE)
_COLLECTOR = re.compile(r"-XX:\+Use\w+GC\b")
_HEAP = re.compile(r"-Xmx|-XX:MaxHeapSize=|-XX:MaxRAMPercentage=")
_COMPILATION = re.compile(r"-XX:[+-]TieredCompilation\b|-XX:TieredStopAtLevel=|-Xint\b|-Xcomp\b")
_SHARING = re.compile(
    r"-Xshare:|-XX:SharedArchiveFile=|-XX:ArchiveClassesAtExit=|-XX:AOT|-XX:\+AutoCreateSharedArchive"
)
_HEAP_SHARE = 0.85
_FIRST_STOPPED_AT_LEVEL_1 = 17


class Java(Language):
    """`java8.al2` and newer."""

    name = "java"
    runtimes = ("java8.al2", "java8.al2023", "java11", "java11.al2023", "java17", "java17.al2023", "java21", "java25")
    needs = "virtual machine"
    _pattern = re.compile(r"java(\d+)(?:\.al2|\.al2023)?")

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """JAVA_HOME, what distributions and version managers install, and PATH."""
        number = str(wanted[0]) if wanted else ""
        if home := os.environ.get("JAVA_HOME"):
            yield f"{home}/bin/java"
        for directory in (
            f"/usr/lib/jvm/*{number}*/bin",
            f"/usr/lib/jvm/*{number}*/jre/bin",
            f"~/.sdkman/candidates/java/{number}*/bin",
            f"~/.jdks/*{number}*/bin",
            f"~/.asdf/installs/java/*{number}*/bin",
            f"~/.local/share/mise/installs/java/*{number}*/bin",
            f"/opt/hostedtoolcache/Java_*/{number}*/*/bin",
            "/opt/*/bin",
            "/usr/local/bin",
            "/usr/bin",
            *search_path(),
        ):
            yield f"{directory}/java"

    def ask(self, path: str) -> Interpreter | None:
        """Its version, `8.0.…` for what calls itself 1.8, and its home."""
        answer = answer_of([path, "-XshowSettings:properties", "-version"], stderr=True)
        found = dict(_PROPERTY.findall(answer or ""))
        numbers = tuple(int(part) for part in re.findall(r"\d+", found.get("java.version", "")))
        if not numbers or "java.home" not in found:
            return None
        home = Path(found["java.home"].strip())
        return Interpreter("java", (numbers[1:] if numbers[0] == 1 else numbers)[:3], home / "bin" / "java", home)

    def distance(self, wanted: tuple[int, ...], version: tuple[int, ...]) -> tuple[int, ...]:
        """What is too old comes last: it cannot read the classes."""
        return (int(version[0] < wanted[0]), *super().distance(wanted, version))

    def files(self, interpreter: Interpreter, settings: Mapping[str, str]) -> RuntimeFiles:
        """AWS's client, with the archive of its classes that makes a start three times as fast."""
        client = java_client.find(settings)
        archive = java_archive.of(interpreter, client)
        options = [f"-D{java_client.NATIVE_PROPERTY}={{runtime}}/lib/{client.native}"] if client.native else []
        if archive is not None:
            # An archive that does not fit after all is passed over, as without these options, but with a warning each time.
            options += [f"-XX:SharedArchiveFile={{runtime}}/lib/{archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        # Before Java 19, the archive holds the paths that the jars had when it was made.
        links = {} if client.directory.is_relative_to("/tmp") else {str(client.directory): "/var/runtime/lib"}
        return RuntimeFiles({"lib": client.directory}, links=links, class_path=client.jars, options=tuple(options))

    def program(self, start: Start) -> list[str]:
        """The virtual machine with AWS's client, which looks for classes in the function and in `java/lib` of layers itself."""
        own = start.version.environment.get("JAVA_TOOL_OPTIONS", "")
        class_path = [f"{start.runtime}/lib/{name}" for name in start.files.class_path]
        if start.layers != "/opt":
            class_path.append(f"{start.layers}/java/lib/*")
        return [
            start.executable,
            *machine_options(
                start.interpreter, self.wanted(start.version.runtime or "") or (), start.version.memory_mib, own
            ),
            *(
                option.format(runtime=start.runtime)
                for option in start.files.options
                if not (_SHARING.search(own) and _SHARING.match(option))
            ),
            "-cp",
            ":".join(class_path),
            java_client.MAIN_CLASS,
            start.version.handler or "",
        ]

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """AWS's, and whether its classes are archived."""
        found = java_client.find(settings)
        archived = java_archive.existing(interpreter, found) is not None
        return f"{found.name}{', its classes archived' if archived else ''}"


def machine_options(interpreter: Interpreter, wanted: tuple[int, ...], memory_mib: int, own: str) -> list[str]:
    """What AWS starts a virtual machine with, unless the function's JAVA_TOOL_OPTIONS (`own`) say something about it.

    The serial collector, and from Java 17 compilation that stops at level 1
    (https://docs.aws.amazon.com/lambda/latest/dg/java-customization.html); the heap may take 85 % of the memory (445,645 KiB
    of 512 MiB, as functions see there). Options of a command line would win over those of the variable, and two collectors
    are an error.
    """
    options = []
    if not _HEAP.search(own):
        options.append(f"-XX:MaxHeapSize={round(memory_mib * 1024 * _HEAP_SHARE)}k")
    if not _COLLECTOR.search(own):
        options.append("-XX:+UseSerialGC")
    if not _COMPILATION.search(own) and wanted and wanted[0] >= _FIRST_STOPPED_AT_LEVEL_1:
        options += ["-XX:+TieredCompilation", "-XX:TieredStopAtLevel=1"]
    if not _SHARING.search(own):
        options.append("-Xshare:auto")
    if interpreter.version[0] >= 9:
        # The client writes to a file descriptor by number.
        options.append("--add-opens=java.base/java.io=ALL-UNNAMED")
    if interpreter.version[0] >= 22:
        options.append("--enable-native-access=ALL-UNNAMED")
    return options
