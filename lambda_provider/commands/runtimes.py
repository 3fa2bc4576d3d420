"""`lambda-provider runtimes`: get what functions of a language need on this machine."""

from __future__ import annotations

import argparse
import os

from lambda_provider.commands import CommandError
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.interpreters import Interpreters
from lambda_runtime.executors.process.languages import java_archive, java_client
from lambda_runtime.executors.process.languages.java import Java


def run(options: argparse.Namespace) -> int:
    """`install java`: AWS's runtime client, and an archive of its classes for each virtual machine."""
    assert (options.action, options.language) == ("install", "java")
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
