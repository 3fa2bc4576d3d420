"""The emulator for unittest."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

from lambda_provider.testing.emulator import Emulator


class LambdaTestCase(unittest.TestCase):
    """Tests with `self.emulator`: one a class, as new for each test, with AWS's environment variables leading there.

    `emulator_options` are the arguments of `Emulator`.
    """

    emulator_options: ClassVar[Mapping[str, Any]] = {}
    emulator: ClassVar[Emulator]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.emulator = cls.enterClassContext(Emulator(**cls.emulator_options))

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(self.emulator.in_environment())
        self.addCleanup(self.emulator.reset)
