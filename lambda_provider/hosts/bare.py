"""The host `bare`: a gateway with Lambda alone."""

from __future__ import annotations

from lambda_provider.host import HostBase


class BareHost(HostBase):
    """No other services; functions reach Lambda at the gateway itself."""

    _url = ""

    async def start(self, url: str) -> None:
        """The gateway listens at `url`."""
        self._url = url

    async def reachable_at(self, url: str) -> None:
        """The gateway's URL, if `start` was not told it."""
        self._url = url

    def function_endpoint_url(self) -> str | None:
        """The gateway, or `LAMBDA_FUNCTION_ENDPOINT_URL`."""
        return super().function_endpoint_url() or self._url or None
