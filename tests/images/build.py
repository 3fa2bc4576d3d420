"""Build images with the layout of AWS's from what this machine has, for where no registry can be reached.

    python tests/images/build.py        builds what is missing, prints the images' names
    python tests/images/build.py --rm   removes them

There are four root file systems: `bare` (a shell, coreutils and curl, for provided.al2), `provided` (that, and the interpreter
that runs this script), `python` (that, awslambdaric and a small AWS SDK) and `nodejs` (if the machine has Node.js). Each is
imported once and gets the names of the images that it stands in for; its own name has a hash of its content, so a second run
finds nothing to do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
REGISTRY = "public.ecr.aws/lambda"
LABEL = "lambda-provider.stand-in"
# fmt: off
COMMANDS = [
    "bash", "sh", "cat", "chmod", "cp", "curl", "cut", "date", "dd", "df", "echo", "env", "expr", "false", "find",
    "grep", "head", "id", "kill", "ls", "ln", "mkdir", "mktemp", "mount", "mv", "nproc", "printenv", "ps", "pwd", "rm",
    "sed", "seq",
    "setsid", "sleep", "sort", "stat", "tail", "tee", "test", "timeout", "touch", "tr", "true", "uname", "unshare", "wc",
    "which", "whoami",
]
# fmt: on
PYTHON_VERSIONS = [f"3.{minor}" for minor in range(9, 15)]
NODE_VERSIONS = ["18", "20", "22", "24"]
SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client")
SDK_SERVICES = ("dynamodb", "events", "iam", "kinesis", "lambda", "logs", "s3", "sns", "sqs", "ssm", "sts")
SKIPPED = re.compile(
    r"/(__pycache__|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|site-packages|dist-packages)(/|$)|\.a$"
)
SEARCH_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"
LIBRARY_PATH = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
# As AWS's images have them.
ENVIRONMENT = {
    "LANG": "en_US.UTF-8",
    "TZ": ":/etc/localtime",
    "PATH": SEARCH_PATH,
    "LD_LIBRARY_PATH": LIBRARY_PATH,
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
}


class Tree:
    """A root file system in the making: path inside -> path on this machine, or text with a mode."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.texts: dict[str, tuple[str, int]] = {}
        self.links: dict[str, str] = {}
        self.directories = {"/tmp": 0o1777, "/proc": 0o755, "/dev": 0o755, "/sys": 0o755, "/var/task": 0o755}
        self.directories |= {"/opt": 0o755, "/root": 0o700, "/home/sbx_user1051": 0o755, "/var/runtime": 0o755}

    def program(self, path: Path, inside: str) -> None:
        """A program with the libraries that it is linked with, where they are on this machine."""
        self.files[inside] = path
        for library in libraries(path):
            # Those of an interpreter in somebody's home directory, where the function's user may not look.
            place = str(library) if str(library).startswith(("/lib", "/usr/lib")) else f"/var/lang/lib/{library.name}"
            self.files.setdefault(place, library)

    def directory(self, path: Path, inside: str, skipped: re.Pattern[str] = SKIPPED) -> None:
        """All files below a directory, with what those are linked with."""
        for found in sorted(path.rglob("*")):
            relative = f"/{found.relative_to(path)}"
            if skipped.search(relative) or found.is_dir():
                continue
            if found.suffix == ".so" or ".so." in found.name:
                self.program(found, inside + relative)
            else:
                self.files[inside + relative] = found

    def package(self, name: str) -> None:
        """An installed Python package, in /var/runtime."""
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise SystemExit(f"the Python package {name} is not installed: pip install -e '.[test]'")
        path = Path(spec.origin)
        if path.name != "__init__.py":
            self.program(path, f"/var/runtime/{path.name}")
        else:
            self.directory(path.parent, f"/var/runtime/{name}", _unused_part_of(name))

    def digest(self) -> str:
        """Of all that the image will be; files of this machine by what they are, not by what is in them."""
        parts = [
            repr(sorted(self.texts.items())),
            repr(sorted(self.links.items())),
            repr(sorted(self.directories.items())),
        ]
        for inside, path in sorted(self.files.items()):
            status = path.stat()
            parts.append(f"{inside} {path} {status.st_size} {status.st_mtime_ns}")
        parts.append(Path(__file__).read_text())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def write(self, tar: Path) -> None:
        """Make the archive that `docker import` takes."""
        placed = {self._real(inside): path for inside, path in self.files.items()}
        # What an archive does not name, an engine makes as it likes: one that loads the image later, for root alone.
        parents = {str(parent): 0o755 for name in (*placed, *self.texts, *self.links) for parent in Path(name).parents}
        with tarfile.open(tar, "w") as archive:
            for name, mode in sorted((parents | self.directories).items()):
                if name in ("/", *self.links):
                    continue
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, mode
                archive.addfile(entry)
            for name, target in sorted(self.links.items()):
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
            for inside, path in sorted(placed.items()):
                entry = tarfile.TarInfo(inside.lstrip("/"))
                status = path.stat()
                entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & 0o111 else 0o644
                with path.open("rb") as source:
                    archive.addfile(entry, source)
            for name, (text, mode) in sorted(self.texts.items()):
                content = text.encode()
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))

    def _real(self, inside: str) -> str:
        """Where a file goes if its first directory is a link: /lib/x in usr/lib/x."""
        first, _, rest = inside.lstrip("/").partition("/")
        return f"/{self.links[f'/{first}']}/{rest}" if f"/{first}" in self.links else inside


def libraries(program: Path) -> Iterable[Path]:
    """The shared libraries of a program, its loader among them."""
    found = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+)", found, re.MULTILINE)]


def _unused_part_of(package: str) -> re.Pattern[str]:
    if package != "botocore":
        return re.compile(r"/(__pycache__|tests)(/|$)")
    kept = "|".join(SDK_SERVICES)
    return re.compile(rf"/__pycache__(/|$)|^/data/(?!({kept})/)[^/]+/")


def provided() -> Tree:
    """What every image has."""
    tree = Tree()
    for name in COMMANDS:
        path = shutil.which(name, path="/usr/bin:/bin")
        if path is None:
            continue
        real = Path(path).resolve()
        tree.program(real, f"/usr/bin/{name}")
    tree.links |= {"/bin": "usr/bin"} if Path("/bin").is_symlink() else {}
    tree.links |= {name: os.readlink(name) for name in ("/lib", "/lib64") if Path(name).is_symlink()}  # noqa: PTH115
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.is_file():
        tree.files[str(certificates)] = certificates
    tree.texts["/etc/passwd"] = (
        "root:x:0:0:root:/root:/bin/sh\nsbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n",
        0o644,
    )
    tree.texts["/etc/group"] = ("root:x:0:\nsbx_user1051:x:990:\n", 0o644)
    tree.texts["/etc/nsswitch.conf"] = ("hosts: files dns\n", 0o644)
    tree.texts["/lambda-entrypoint.sh"] = ((HERE / "runtime" / "lambda-entrypoint.sh").read_text(), 0o755)
    return tree


def provided_with_python() -> Tree:
    """`provided.al2023`, with the interpreter that runs this script: the tests' bootstraps are written in Python."""
    tree = provided()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = Path(sys.base_prefix)
    tree.program((prefix / "bin" / version).resolve(), f"/var/lang/bin/{version}")
    tree.links |= {"/var/lang/bin/python3": version, "/var/lang/bin/python": version}
    tree.links["/usr/bin/python3"] = f"/var/lang/bin/{version}"
    tree.directory(prefix / "lib" / version, f"/var/lang/lib/{version}")
    return tree


def python() -> Tree:
    """AWS's client on the interpreter that runs this script."""
    tree = provided_with_python()
    tree.texts["/var/runtime/bootstrap"] = ((HERE / "runtime" / "bootstrap-python").read_text(), 0o755)
    tree.texts["/var/runtime/bootstrap.py"] = ((HERE / "runtime" / "bootstrap.py").read_text(), 0o644)
    for name in (*CLIENT, *SDK):
        tree.package(name)
    return tree


def nodejs() -> Tree | None:
    """A client for Node.js on the Node.js of this machine; None if it has none."""
    node = shutil.which("node")
    if node is None:
        return None
    tree = provided()
    tree.program(Path(node).resolve(), "/var/lang/bin/node")
    tree.texts["/var/runtime/bootstrap"] = ((HERE / "runtime" / "bootstrap-nodejs").read_text(), 0o755)
    for path in (ROOT / "lambda_runtime" / "executors" / "process" / "runtimes" / "nodejs").iterdir():
        tree.files[f"/var/runtime/{path.name}"] = path
    return tree


def images() -> dict[str, tuple[Tree, list[str]]]:
    """Stand-ins by family: what is in them, and the names that they get."""
    suffix = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"

    def names(family: str, versions: Iterable[str]) -> list[str]:
        return [f"{REGISTRY}/{family}:{version}{end}" for version in versions for end in ("", f"-{suffix}")]

    found = {
        "bare": (provided(), names("provided", ["al2"])),
        "provided": (provided_with_python(), names("provided", ["al2023"])),
        "python": (python(), names("python", PYTHON_VERSIONS)),
    }
    if (node := nodejs()) is not None:
        found["nodejs"] = (node, names("nodejs", NODE_VERSIONS))
    return found


def build(client: Any) -> list[str]:
    """Import what is missing into the engine of a `docker.DockerClient`; the names of all images."""
    made = []
    for family, (tree, names) in images().items():
        # Not found by its label, which images that are built from it have, too.
        own = (f"lambda-provider/stand-in-{family}", tree.digest())
        if not client.images.list(name=":".join(own)):
            with tempfile.TemporaryDirectory() as directory:
                tar = Path(directory, "root.tar")
                tree.write(tar)
                variables = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
                changes = [f"ENV {variables}", 'ENTRYPOINT ["/lambda-entrypoint.sh"]', "WORKDIR /var/task"]
                client.api.import_image_from_file(str(tar), *own, changes=[*changes, f"LABEL {LABEL}="])
        image = client.images.get(":".join(own))
        for name in names:
            image.tag(*name.rsplit(":", 1))
        made += names
    return made


def main() -> None:
    import docker

    client = docker.from_env()
    if "--rm" in sys.argv:
        for image in client.images.list(filters={"label": LABEL}):
            client.images.remove(image.id, force=True)
    else:
        print("\n".join(build(client)))


if __name__ == "__main__":
    main()
