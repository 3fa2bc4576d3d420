"""What AWS's JSON parser says about a payload that is not JSON.

The front end of Lambda reads payloads with Jackson, and its words are in the answer: two recordings
(test_lambda_invoke_payload_encoding_error) show them with their positions, the others are those of Jackson's documented
messages. This reader is for explaining, not for speed: it runs only for payloads that were already refused.
"""

from __future__ import annotations

from dataclasses import dataclass

_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {}, column: {}]"
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_MAX_DEPTH = 1000
_MAX_TOKEN = 256
_NO_CHARACTER = -1
_CONTINUATIONS = {0xC: 1, 0xD: 1, 0xE: 2, 0xF: 3}
"""How many bytes follow the first of a character in UTF-8, by its upper four bits."""


class _Invalid(Exception):
    """What is wrong, with the byte offset that the message points at."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclass(slots=True)
class _Scope:
    """An open object or array. `key` says that an object waits for a field name."""

    kind: str
    start: int
    empty: bool = True

    @property
    def closer(self) -> str:
        return "}" if self.kind == "Object" else "]"


def find_error(payload: bytes) -> str | None:
    """The parser's message for the first thing that is wrong, or None if `payload` is one JSON value."""
    reader = _Reader(payload)
    try:
        reader.read()
    except _Invalid as invalid:
        return f"{invalid.message}\n at {reader.location(invalid.offset)}"
    return None


class _Reader:
    """Reads one document. `_at` is the offset of the next byte; positions in messages count it from 1."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._scopes: list[_Scope] = []

    def location(self, offset: int) -> str:
        """The position of a byte as Jackson prints it: columns count bytes."""
        line_start = self._data.rfind(b"\n", 0, offset) + 1
        return _SOURCE.format(self._data.count(b"\n", 0, offset) + 1, offset - line_start + 1)

    def read(self) -> None:
        """Raise _Invalid at the first thing that is wrong."""
        if self._skip_space() == _NO_CHARACTER:
            raise _Invalid("No content to map due to end-of-input", self._at)
        self._value()
        while self._scopes:
            self._next_in(self._scopes[-1])
        if self._skip_space() != _NO_CHARACTER:
            self._value()
            raise _Invalid(
                "Trailing token found after value: not allowed as per `DeserializationFeature.FAIL_ON_TRAILING_TOKENS`",
                self._at,
            )

    def _next_in(self, scope: _Scope) -> None:
        """One step inside an open scope: its end, or the next entry."""
        character = self._skip_space()
        if character == _NO_CHARACTER:
            raise _Invalid(
                f"Unexpected end-of-input: expected close marker for {scope.kind} "
                f"(start marker at {self.location(scope.start)})",
                self._at,
            )
        if character in b"]}":
            self._close(scope, character)
            return
        if not scope.empty:
            if character != ord(","):
                raise self._unexpected(character, f"was expecting comma to separate {scope.kind} entries")
            self._at += 1
            character = self._need_character(scope)
        scope.empty = False
        if scope.kind == "Object":
            self._field_name(character)
            if self._need_character(scope) != ord(":"):
                raise self._unexpected(self._peek(), "was expecting a colon to separate field name and value")
            self._at += 1
            self._need_character(scope)
        self._value()

    def _close(self, scope: _Scope, character: int) -> None:
        if chr(character) != scope.closer:
            raise _Invalid(
                f"Unexpected close marker '{chr(character)}': expected '{scope.closer}' "
                f"(for {scope.kind} starting at {self.location(scope.start)})",
                self._at + 1,
            )
        self._at += 1
        self._scopes.pop()

    def _value(self) -> None:
        """Read a value, or open its scope. The next byte is its first."""
        character = self._peek()
        if character == ord('"'):
            self._at += 1
            self._string("VALUE_STRING", "string value")
        elif character in b"{[":
            self._scopes.append(_Scope("Object" if character == ord("{") else "Array", self._at))
            self._at += 1
            if len(self._scopes) > _MAX_DEPTH:
                raise _Invalid(
                    f"Document nesting depth ({len(self._scopes)}) exceeds the maximum allowed ({_MAX_DEPTH}, "
                    "from `StreamReadConstraints.getMaxNestingDepth()`)",
                    self._at,
                )
        elif character == ord("-") or (chr(character).isascii() and chr(character).isdigit()):
            self._number()
        elif character in b"tfn":
            self._word({"t": b"true", "f": b"false", "n": b"null"}[chr(character)])
        elif character == ord(",") or (character in b"]}" and (self._scopes or character == ord("}"))):
            raise self._unexpected(character, "expected a value")
        elif _starts_identifier(character):
            self._at += 1
            raise self._unrecognized(chr(character))
        else:
            raise self._unexpected(character, f"expected a valid value {_VALUES}")

    def _word(self, word: bytes) -> None:
        for index, expected in enumerate(word):
            if self._peek() != expected:
                raise self._unrecognized(word[:index].decode())
            self._at += 1
        following = self._peek()
        if following >= ord("0") and chr(following) not in "]}":
            start = self._at
            if _continues_identifier(self._decode_character()):
                self._at = start
                raise self._unrecognized(word.decode())
            self._at = start

    def _unrecognized(self, matched: str) -> _Invalid:
        while self._at < len(self._data):
            character = self._decode_character()
            if not _continues_identifier(character):
                break
            matched += character
            if len(matched) >= _MAX_TOKEN:
                matched += "..."
                break
        return _Invalid(f"Unrecognized token '{matched}': was expecting {_VALUES}", self._at)

    def _number(self) -> None:
        if self._peek() == ord("-"):
            self._at += 1
            self._digits("expected digit (0-9) to follow minus sign, for valid numeric value", leading=True)
        else:
            self._digits("", leading=True)
        if self._peek() == ord("."):
            self._at += 1
            self._digits("Decimal point not followed by a digit")
        if self._peek() in (ord("e"), ord("E")):
            self._at += 1
            if self._peek() in (ord("+"), ord("-")):
                self._at += 1
            self._digits("Exponent indicator not followed by a digit")
        following = self._peek()
        if not self._scopes and following != _NO_CHARACTER and following not in b" \t\r\n":
            raise self._unexpected(following, "Expected space separating root-level values")

    def _digits(self, complaint: str, *, leading: bool = False) -> None:
        start = self._at
        while ord("0") <= self._peek() <= ord("9"):
            self._at += 1
        if self._at == start:
            if self._peek() == _NO_CHARACTER:
                raise _Invalid("Unexpected end-of-input in VALUE_NUMBER_INT", self._at)
            raise _Invalid(f"Unexpected character ({_name(self._peek())}) in numeric value: {complaint}", self._at)
        if leading and self._at - start > 1 and self._data[start] == ord("0"):
            raise _Invalid("Invalid numeric value: Leading zeroes not allowed", start + 1)

    def _field_name(self, character: int) -> None:
        if character != ord('"'):
            raise self._unexpected(character, "was expecting double-quote to start field name")
        self._at += 1
        self._string("field name", "name")

    def _string(self, token: str, context: str) -> None:
        while True:
            character = self._peek()
            if character == _NO_CHARACTER:
                raise _Invalid(f"Unexpected end-of-input in {token}", self._at)
            if character == ord('"'):
                self._at += 1
                return
            if character == ord("\\"):
                self._escape(token)
            elif character < 32:
                raise _Invalid(
                    f"Illegal unquoted character ({_name(character)}): "
                    f"has to be escaped using backslash to be included in {context}",
                    self._at,
                )
            else:
                self._decode_character()

    def _escape(self, token: str) -> None:
        self._at += 1
        character = self._peek()
        if character == _NO_CHARACTER:
            raise _Invalid("Unexpected end-of-input in character escape sequence", self._at)
        if character == ord("u"):
            for _ in range(4):
                self._at += 1
                digit = self._peek()
                if digit == _NO_CHARACTER:
                    raise _Invalid("Unexpected end-of-input in character escape sequence", self._at)
                if digit not in b"0123456789abcdefABCDEF":
                    raise self._unexpected(digit, "expected a hex-digit for character escape sequence")
        elif character not in b'"\\/bfnrt':
            raise _Invalid(f"Unrecognized character escape {_name(character)}", self._at)
        self._at += 1

    def _decode_character(self) -> str:
        """Read one character of UTF-8."""
        first = self._data[self._at]
        self._at += 1
        if first < 0x80:
            return chr(first)
        count = _CONTINUATIONS.get(first >> 4, 0) if first < 0xF8 else 0
        if count == 0:
            raise _Invalid(f"Invalid UTF-8 start byte 0x{first:x}", self._at)
        code = first & (0x3F >> count)
        for _ in range(count):
            if self._at >= len(self._data):
                raise _Invalid("Unexpected end-of-input in VALUE_STRING", self._at)
            following = self._data[self._at]
            self._at += 1
            if following & 0xC0 != 0x80:
                raise _Invalid(f"Invalid UTF-8 middle byte 0x{following:x}", self._at)
            code = code << 6 | following & 0x3F
        shortest = (0x80, 0x800, 0x10000)[count - 1]
        if code < shortest or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise _Invalid(f"Invalid UTF-8 start byte 0x{first:x}", self._at - count)
        return chr(code)

    def _need_character(self, scope: _Scope) -> int:
        character = self._skip_space()
        if character == _NO_CHARACTER:
            raise _Invalid(f"Unexpected end-of-input within/between {scope.kind} entries", self._at)
        return character

    def _skip_space(self) -> int:
        while (character := self._peek()) in (32, 9, 10, 13):
            self._at += 1
        return character

    def _peek(self) -> int:
        return self._data[self._at] if self._at < len(self._data) else _NO_CHARACTER

    def _unexpected(self, character: int, comment: str) -> _Invalid:
        return _Invalid(f"Unexpected character ({_name(character)}): {comment}", self._at)


def _name(character: int) -> str:
    if character < 32 or 127 <= character < 160:
        return f"(CTRL-CHAR, code {character})"
    return f"'{chr(character)}' (code {character})"


def _starts_identifier(character: int) -> bool:
    return chr(character).isidentifier() or chr(character) in "$¢£¤¥"


def _continues_identifier(character: str) -> bool:
    return f"a{character}".isidentifier() or character in "$¢£¤¥"
