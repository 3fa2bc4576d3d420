from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.model.documents import dump, load
from lambda_provider.model.policy import Policy, allow, principal_of


def statement(sid: str = "s", **members):
    parts = {"statement_id": sid, "principal": "*", "action": "lambda:InvokeFunction", "resource": "arn:f"} | members
    return allow(**parts)


@pytest.mark.parametrize(
    ("text", "principal"),
    [
        ("*", "*"),
        ("222222222222", {"AWS": "arn:aws:iam::222222222222:root"}),
        ("arn:aws:iam::222222222222:root", {"AWS": "arn:aws:iam::222222222222:root"}),
        ("arn:aws:iam::222222222222:role/path/r", {"AWS": "arn:aws:iam::222222222222:role/path/r"}),
        ("arn:aws:sts::222222222222:assumed-role/r/s", {"AWS": "arn:aws:sts::222222222222:assumed-role/r/s"}),
        ("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}),
        ("logs.eu-west-1.amazonaws.com", {"Service": "logs.eu-west-1.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
    ],
)
def test_the_forms_of_a_principal(text, principal):
    assert principal_of(text, "eu-west-1") == principal


@pytest.mark.parametrize(
    "text",
    [
        "invalid.nonaws.com",
        "amazonaws.com",
        "22222222222",
        "arn:aws:iam::222222222222:group/g",
        "arn:aws:iam:222222222222:role/r",
        "arn:aws-cn:iam::222222222222:root",
        "arn:aws:s3:::bucket",
        "",
    ],
)
def test_what_cannot_be_a_principal(text):
    assert principal_of(text, "eu-west-1") is None


def test_an_accounts_root_is_in_the_partition_of_the_region():
    assert principal_of("222222222222", "cn-north-1") == {"AWS": "arn:aws-cn:iam::222222222222:root"}


def test_a_statement_has_its_members_in_the_recorded_order():
    made = statement(conditions={"StringEquals": {"AWS:SourceAccount": "1"}, "Bool": {}, "ArnLike": {}})
    assert list(made) == ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    assert made["Condition"] == {"StringEquals": {"AWS:SourceAccount": "1"}}
    assert "Condition" not in statement(conditions={"StringEquals": {}})


def test_the_text_is_compact_json_in_the_recorded_order():
    policy = Policy(revision_id="r", statements=(statement("ü"),))
    assert policy.text.startswith('{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"ü","Effect":"Allow",')
    assert policy.size == len(policy.text) + 1
    assert json.loads(Policy(revision_id="r", statements=(), version=None, id=None).text) == {"Statement": []}


def test_statements_are_added_behind_and_removed_by_id():
    policy = Policy(revision_id="1", statements=()).adding(statement("a"), "2").adding(statement("b"), "3")
    assert [each["Sid"] for each in policy.statements] == ["a", "b"]
    left = policy.without("a", "4")
    assert (left.find("a"), left.find("b"), left.revision_id) == (None, statement("b"), "4")


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.booleans() | st.lists(st.text())), max_size=3),
    st.none() | st.text(),
    st.none() | st.text(),
)
def test_a_policy_survives_the_journal(statements, version, policy_id):
    policy = Policy(revision_id="r", statements=tuple(statements), version=version, id=policy_id)
    assert load(Policy, dump(policy)).text == policy.text
