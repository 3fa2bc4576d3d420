"""Ruby: where its interpreters are, and a runtime client of ours.

AWS's client is the gem `aws_lambda_ric`. Ours does the same with the standard library alone, and is what runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_runtime.executors.process.languages.base import (
    Interpreter,
    Language,
    RuntimeFiles,
    Start,
    interpreter_that_says,
    search_path,
)

_CLIENT = Path(__file__).parent.parent / "runtimes" / "ruby"
_PROBE = (
    "require 'json'; require 'rbconfig'; e = File.realpath(RbConfig.ruby); "
    "puts JSON.generate([RUBY_VERSION.split('.').map(&:to_i), e, File.realpath(RbConfig::CONFIG['prefix'])])"
)


class Ruby(Language):
    """`ruby3.2` and newer, and what AWS had before."""

    name = "ruby"
    runtimes = ("ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0")
    _pattern = re.compile(r"ruby(\d+)\.(\d+)")

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """What version managers and distributions install."""
        number = ".".join(map(str, wanted)) if wanted else ""
        for directory in (
            f"~/.rbenv/versions/{number}*/bin",
            f"~/.rubies/ruby-{number}*/bin",
            f"/opt/rubies/ruby-{number}*/bin",
            f"~/.rvm/rubies/ruby-{number}*/bin",
            f"~/.asdf/installs/ruby/{number}*/bin",
            f"~/.local/share/mise/installs/ruby/{number}*/bin",
            f"/opt/hostedtoolcache/Ruby/{number}*/*/bin",
            *search_path(),
            "/usr/local/bin",
            "/usr/bin",
        ):
            yield f"{directory}/ruby"
            yield f"{directory}/ruby{number}*[0-9]"

    def ask(self, path: str) -> Interpreter | None:
        """Its exact version and where it is installed."""
        return interpreter_that_says("ruby", [path, "--disable=gems", "-e", _PROBE])

    def files(self, interpreter: Interpreter, settings: Mapping[str, str]) -> RuntimeFiles:
        """Ours, which needs the standard library only."""
        return RuntimeFiles({path.name: path for path in _CLIENT.iterdir()})

    def program(self, start: Start) -> list[str]:
        """Our client finds the handler in `_HANDLER`."""
        return [start.executable, f"{start.runtime}/bootstrap.rb"]

    def variables(self, runtime: str, code: str, layers: str, own: str) -> dict[str, str]:
        """Where functions and layers have gems and libraries.

        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html and ruby-layers.html.
        """
        version = ".".join(map(str, self.wanted(runtime) or ())) + ".0"
        return {
            "GEM_PATH": f"{code}/vendor/bundle/ruby/{version}:{layers}/ruby/gems/{version}",
            "RUBYLIB": f"{code}:{own}/lib:{layers}/ruby/lib",
        }

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """Ours."""
        return "this package's own client"
