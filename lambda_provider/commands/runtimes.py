"""`lambda-provider runtimes`: get what functions of a language need on this machine."""

from __future__ import annotations

import argparse
import os

from lambda_provider.commands import CommandError
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.interpreters import Interpreters
from lambda_runtime.executors.process.languages import java_archive, java_client, nodejs_sdk
from lambda_runtime.executors.process.languages.java import Java


def run(options: argparse.Namespace) -> int:
    """`install LANGUAGE`."""
    assert options.action == "install"
    if options.language == "nodejs":
        return _install_nodejs(options.packages)
    if options.packages:
        raise CommandError("Only `install nodejs` takes packages.")
    return _install_java()


def _install_nodejs(packages: list[str]) -> int:
    """The AWS SDK, which AWS's Node.js runtimes include."""
    try:
        place = nodejs_sdk.install(packages)
    except (nodejs_sdk.NotFetched, OSError) as error:
        raise CommandError(error) from error
    print(f"AWS SDK for JavaScript in {place}; a gateway that is running uses it when it is started again")
    return 0


def _install_java() -> int:
    """AWS's runtime client, and an archive of its classes for each virtual machine."""
    try:
        client = java_client.install(os.environ)
    except (java_client.NotFetched, VersionFailed) as error:
        raise CommandError(error) from error
    print(f"{client.name} in {client.directory}")
    interpreters = Interpreters(os.environ)
    machines = set()
    for runtime in Java.runtimes:
        try:
            machines.add(interpreters.find(runtime)[0])
        except VersionFailed as error:
            raise CommandError(error) from error
    for machine in sorted(machines, key=lambda machine: machine.version):
        archive = java_archive.of(machine, client)
        print(f"{machine}: {'the classes of the client are archived' if archive else 'keeps no archive of classes'}")
    return 0
