"""AWS's runtime client for Java: where it is found, and how it is fetched once.

The jars of one version, known by their hashes, lie in a directory of ours with the native library that the client loads: it would
otherwise unpack that to /tmp at each start. They come from a directory that a setting names, from Maven's local repository, or
from where Maven gets what it has not.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import urllib.request
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lambda_runtime.errors import VersionFailed

SETTING = "LAMBDA_JAVA_RIC"
REPOSITORY_SETTING = "LAMBDA_MAVEN_REPOSITORY"
MAIN_CLASS = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"
NATIVE_PROPERTY = "com.amazonaws.services.lambda.runtime.api.client.runtimeapi.NativeClient.JNI"
_CLIENT = "aws-lambda-java-runtime-interface-client"
_PATIENCE_S = 300
_HOW = "`lambda-provider runtimes install java` fetches it once."


@dataclass(frozen=True, slots=True)
class Artifact:
    """A jar by its Maven coordinates."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.name}-{self.version}.jar"

    @property
    def path(self) -> str:
        """Where a repository has it."""
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file}"


ARTIFACTS = (
    Artifact("com.amazonaws", _CLIENT, "2.8.7", "11e5e8b6ee10c5dc9ffa4bb6e120c7b4091c3f03ff97f6ad81a848351ec14598"),
    Artifact(
        "com.amazonaws",
        "aws-lambda-java-core",
        "1.4.0",
        "575c24393cc1ad645e83e618956eabd89ffe8cc09efae2cb62bc6589154d68ed",
    ),
    Artifact(
        "com.amazonaws",
        "aws-lambda-java-serialization",
        "1.1.6",
        "ccd287af5ce662245773095c86a12a1e24e2e7e644dbe8fd34a998fb4b253bf8",
    ),
    Artifact(
        "software.amazon.awssdk",
        "utils-lite",
        "2.34.0",
        "efaf784f07ae526f0b5c89d71ef21cf16636131c47d44616e3df9bedc3f4f89a",
    ),
    Artifact(
        "software.amazon.awssdk",
        "annotations",
        "2.34.0",
        "fafdcb55f4e5af603f5219f4a2b080aa0decb562a7c0944f7a7eca82dd47e487",
    ),
)
"""The client and all that it needs, in the order of the class path."""


@dataclass(frozen=True, slots=True)
class JavaClient:
    """The client as it lies on this machine."""

    name: str
    directory: Path
    jars: tuple[str, ...]
    """Names in the directory, in the order of the class path."""
    native: str
    """The native library below the directory; "" if there is none for this machine, and the client unpacks what it needs."""


class NotFetched(Exception):
    """Why the client could not be had."""


def find(settings: Mapping[str, str]) -> JavaClient:
    """The client that is on this machine. Raises VersionFailed(InvalidRuntime)."""
    try:
        if place := settings.get(SETTING):
            return _named(Path(place).expanduser())
        name = f"{_CLIENT} {ARTIFACTS[0].version}"
        if (folder := cache() / ARTIFACTS[0].version).is_dir():
            return _described(name, folder)
        local = _local_repository()
        jars = [local / artifact.path for artifact in ARTIFACTS]
        if all(map(_intact, jars, ARTIFACTS)):
            return _described(name, _assemble(jars, ARTIFACTS[0].version))
    except (OSError, zipfile.BadZipFile) as error:
        raise VersionFailed(
            "InvalidRuntime", f"AWS's runtime client for Java cannot be used: {error}. {_HOW}"
        ) from error
    raise VersionFailed("InvalidRuntime", f"AWS's runtime client for Java is not on this machine. {_HOW}")


def install(settings: Mapping[str, str]) -> JavaClient:
    """Have the client in the cache, fetched if it has to be. Raises NotFetched."""
    try:
        return find(settings)
    except VersionFailed as error:
        if settings.get(SETTING):
            raise NotFetched(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="lambda-java-") as name:
        folder = Path(name)
        try:
            if not settings.get(REPOSITORY_SETTING) and (maven := shutil.which("mvn")):
                _by_maven(maven, folder)
            else:
                _by_http(_repository(settings), folder)
        except OSError as error:
            raise NotFetched(f"AWS's runtime client for Java could not be fetched: {error}") from error
        jars = [folder / artifact.file for artifact in ARTIFACTS]
        for jar, artifact in zip(jars, ARTIFACTS, strict=True):
            if not _intact(jar, artifact):
                raise NotFetched(f"What was fetched as {artifact.file} is not what it should be: its SHA-256 differs.")
        return _described(f"{_CLIENT} {ARTIFACTS[0].version}", _assemble(jars, ARTIFACTS[0].version))


def cache() -> Path:
    """Where assembled clients are kept: below XDG_CACHE_HOME."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lambda-provider" / "java"


def _named(place: Path) -> JavaClient:
    folder = place.parent if place.is_file() else place
    jars = sorted(folder.glob("*.jar"))
    own = next((jar for jar in jars if jar.name.startswith(_CLIENT)), None)
    if own is None:
        raise VersionFailed("InvalidRuntime", f"{SETTING}={place} has no {_CLIENT}-*.jar.")
    key = hashlib.sha256(repr([(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars]).encode())
    name = own.stem.replace(f"{_CLIENT}-", f"{_CLIENT} ")
    target = cache() / f"named-{key.hexdigest()[:16]}"
    return _described(name, target if target.is_dir() else _assemble(jars, target.name))


def _assemble(jars: list[Path], name: str) -> Path:
    """A directory with these jars and the native library, complete or not there."""
    root = cache()
    root.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    try:
        draft.chmod(0o755)
        for jar in jars:
            (draft / jar.name).write_bytes(jar.read_bytes())
            if jar.name.startswith(_CLIENT):
                with zipfile.ZipFile(jar) as file:
                    if _native() in file.namelist():
                        file.extract(_native(), draft)
        target = root / name
        if not target.is_dir():  # Else somebody else was as quick.
            draft.rename(target)
        return target
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _described(name: str, folder: Path) -> JavaClient:
    order = {artifact.file: number for number, artifact in enumerate(ARTIFACTS)}
    jars = sorted((path.name for path in folder.glob("*.jar")), key=lambda file: (order.get(file, len(order)), file))
    return JavaClient(name, folder, tuple(jars), _native() if (folder / _native()).is_file() else "")


def _native() -> str:
    machine = {"x86_64": "x86_64", "aarch64": "aarch_64", "arm64": "aarch_64"}.get(
        platform.machine(), platform.machine()
    )
    library = "linux" if platform.libc_ver()[0] == "glibc" else "linux_musl"
    return f"jni/libaws-lambda-jni.{library}-{machine}.so"


def _intact(jar: Path, artifact: Artifact) -> bool:
    return jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == artifact.sha256


def _local_repository() -> Path:
    return _maven_setting("localRepository", Path("~/.m2/repository").expanduser())


def _maven_setting(element: str, otherwise: Path) -> Path:
    found = _maven_settings(element)
    return Path(found.replace("${user.home}", str(Path.home()))) if found else otherwise


def _maven_settings(element: str) -> str:
    path = Path("~/.m2/settings.xml").expanduser()
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return ""
    return next(((each.text or "").strip() for each in root.iter() if each.tag.rpartition("}")[2] == element), "")


def _repository(settings: Mapping[str, str]) -> str:
    if found := settings.get(REPOSITORY_SETTING) or _maven_settings("url"):
        return found.rstrip("/")
    raise NotFetched(
        "AWS's runtime client for Java is fetched by Maven, and there is no `mvn`. Install it, name a Maven repository with "
        f"{REPOSITORY_SETTING}=https://…, or name a directory that has the jars with {SETTING}=/path."
    )


def _by_http(repository: str, folder: Path) -> None:
    for artifact in ARTIFACTS:
        with urllib.request.urlopen(f"{repository}/{artifact.path}", timeout=_PATIENCE_S) as answer:
            (folder / artifact.file).write_bytes(answer.read())


def _by_maven(maven: str, folder: Path) -> None:
    """Let Maven get them, from where it gets everything: mirrors, proxies and credentials are its settings."""
    wanted = "".join(
        f"<dependency><groupId>{each.group}</groupId><artifactId>{each.name}</artifactId><version>{each.version}</version>"
        "</dependency>"
        for each in ARTIFACTS
    )
    project = folder / "pom.xml"
    project.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>client</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{wanted}</dependencies></project>"
    )
    command = [maven, "--quiet", "--batch-mode", "--strict-checksums", "--file", str(project)]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}", "-DexcludeTransitive=true"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotFetched(f"Maven was not done within {_PATIENCE_S} s.") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()
        raise NotFetched(
            f"Maven could not fetch AWS's runtime client for Java: {lines[0] if lines else done.returncode}"
        )
