"""What the zygote keeps of environments that were reset."""

from __future__ import annotations

import os

import pytest

from lambda_runtime.executors.process.zygote.estates import Estate, Estates


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_it_is_taken_once_and_closed_by_whoever_gives_it_back() -> None:
    estates, mounts = Estates([7]), os.open("/", os.O_RDONLY)
    estates.keep("first", Estate(mounts, estates.new_host_id()))
    assert estates.descriptors() == [mounts]
    taken = estates.take("first")
    assert taken is not None
    assert (taken.mounts, taken.host_id) == (mounts, 7)
    assert estates.take("first") is estates.take("another") is estates.take(None) is None
    assert estates.descriptors() == []
    assert is_open(mounts)
    estates.give_back(taken)
    assert not is_open(mounts)
    assert estates.new_host_id() == 7


def test_what_is_forgotten_is_closed_and_its_user_is_free() -> None:
    estates, mounts = Estates([7]), os.open("/", os.O_RDONLY)
    estates.keep("first", Estate(mounts, estates.new_host_id()))
    estates.forget("first")
    estates.forget("first")
    assert not is_open(mounts)
    assert estates.new_host_id() == 7


def test_an_environment_that_starts_is_worth_more_than_one_that_is_kept() -> None:
    estates, mounts = Estates([8, 7]), [os.open("/", os.O_RDONLY) for _ in range(2)]
    for number, each in enumerate(mounts):
        estates.keep(str(number), Estate(each, estates.new_host_id()))
    assert estates.new_host_id() == 7, "that of the oldest"
    assert [is_open(each) for each in mounts] == [False, True]
    assert estates.new_host_id() == 8
    with pytest.raises(OSError, match="all user ids"):
        estates.new_host_id()


def test_where_all_have_one_user_there_is_none_to_give() -> None:
    estates = Estates(None)
    assert estates.new_host_id() is None
    estates.keep("first", Estate(-1, None))
    estates.forget("first")
