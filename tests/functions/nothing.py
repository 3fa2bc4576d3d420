"""Answers nothing."""


def handler(event, context):
    pass
