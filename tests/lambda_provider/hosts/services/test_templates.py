"""Templates are read, transformed and ordered."""

from __future__ import annotations

import json

import pytest

from lambda_provider.hosts.services import graph, templates


def process(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(templates.process(text, {}, account_id="000000000000", region="us-east-1"))
    return document


def test_intrinsic_functions_of_yaml() -> None:
    found = templates.parse(
        """
        A: !Ref B
        C: !GetAtt D.E.F
        G: !Sub "x-${H}"
        I: !If [J, !Ref K, {L: !Join ["-", [1, !Ref M]]}]
        N: !Condition O
        P: 2012-10-17
        Q: !Sub
          - "${R}"
          - {R: !GetAtt [S, T]}
        """
    )
    assert found == {
        "A": {"Ref": "B"},
        "C": {"Fn::GetAtt": ["D", "E.F"]},
        "G": {"Fn::Sub": "x-${H}"},
        "I": {"Fn::If": ["J", {"Ref": "K"}, {"L": {"Fn::Join": ["-", [1, {"Ref": "M"}]]}}]},
        "N": {"Condition": "O"},
        "P": "2012-10-17",
        "Q": {"Fn::Sub": ["${R}", {"R": {"Fn::GetAtt": ["S", "T"]}}]},
    }


@pytest.mark.parametrize("text", ["- a\n- b", "{", "a: [", "text"])
def test_what_is_no_template(text: str) -> None:
    with pytest.raises(templates.TemplateError, match="Template format error"):
        templates.parse(text)


def test_a_template_without_transforms_stays_as_it_is() -> None:
    text = "Resources: {A: {Type: 'AWS::SQS::Queue'}}"
    assert templates.process(text, {}, account_id="0", region="us-east-1") is text


def test_a_serverless_function_becomes_a_function_and_its_role() -> None:
    pytest.importorskip("samtranslator")
    resources = process(
        """
        Transform: AWS::Serverless-2016-10-31
        Resources:
          Fn:
            Type: AWS::Serverless::Function
            Properties: {Runtime: python3.12, Handler: a.b, InlineCode: x, Policies: AWSLambdaExecute}
        """
    )["Resources"]
    assert isinstance(resources, dict)
    assert {name: each["Type"] for name, each in resources.items()} == {
        "Fn": "AWS::Lambda::Function",
        "FnRole": "AWS::IAM::Role",
    }
    assert "arn:aws:iam::aws:policy/AWSLambdaExecute" in resources["FnRole"]["Properties"]["ManagedPolicyArns"]


def test_a_transform_that_we_do_not_know() -> None:
    with pytest.raises(templates.TemplateError, match="Transform Own::Macro is not supported"):
        process("{Transform: [Own::Macro], Resources: {}}")


def test_what_is_referred_to_comes_first() -> None:
    resources = {
        "A": {"Properties": {"x": {"Ref": "B"}}},
        "B": {"Properties": {"x": [{"Fn::GetAtt": ["C", "Arn"]}, {"Ref": "AWS::Region"}]}},
        "C": {"Properties": {"x": {"Fn::Sub": "${D.Arn}-${!E}-${AWS::Region}"}}},
        "D": {"DependsOn": ["E"]},
        "E": {},
    }
    assert graph.order(resources) == ["E", "D", "C", "B", "A"]


def test_a_circle_of_references() -> None:
    resources = {"A": {"Properties": {"x": {"Ref": "B"}}}, "B": {"DependsOn": "A"}}
    with pytest.raises(templates.TemplateError, match="Circular dependency between resources"):
        graph.order(resources)
