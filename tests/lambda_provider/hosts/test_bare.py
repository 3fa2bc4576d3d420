"""Lambda alone."""

from __future__ import annotations

from lambda_provider.hosts.bare import BareHost


async def test_functions_reach_lambda_at_the_gateway_unless_a_setting_says_otherwise() -> None:
    for settings, endpoint in (({}, "http://here:1"), ({"LAMBDA_FUNCTION_ENDPOINT_URL": "http://x"}, "http://x")):
        host = BareHost(settings)
        assert host.function_endpoint_url() == (settings.get("LAMBDA_FUNCTION_ENDPOINT_URL"))
        await host.start("http://here:1")
        assert host.function_endpoint_url() == endpoint


async def test_an_application_tells_it_later_where_it_is() -> None:
    host = BareHost({})
    await host.start("")
    await host.reachable_at("http://here:1/aws/")
    assert host.function_endpoint_url() == "http://here:1/aws/"
