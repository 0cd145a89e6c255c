"""The envelope of an answer: what is a page of trunks, what is not, and what may be printed of it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import IP_TRUNK, TRUNK, body, raw
from trunk_transforms.parse.envelope import InvalidResponseError, Page, TruncatedResponseError, json_type, read_page
from trunk_transforms.text import printable

GOOD = body(TRUNK, IP_TRUNK)
NOT_TO_BE_QUOTED = "content-of-the-answer"


def records(page: Page) -> list[bytes]:
    return [bytes(record) for record in page.records]


def complaint(content: bytes) -> str:
    """Why the answer is unusable, in one line that can be printed and quotes no content."""
    with pytest.raises(InvalidResponseError) as caught:
        read_page(content)
    message = str(caught.value)
    assert message.startswith("expected ")
    assert message.isprintable()
    assert NOT_TO_BE_QUOTED not in message
    return message


def answer_with(record: bytes, rest: bytes = b"") -> bytes:
    """An answer with this one record, and after `data` whatever `rest` says."""
    return b'{"data": [' + record + b"]" + rest + b"}"


# Something that only the lenient parser accepts, outside the records.
LENIENT = rb', "meta": {"note": "\ud800"}'


# Records


def test_records_are_the_bytes_that_were_sent() -> None:
    sent = [
        b'{"id":1}',
        b'{ "id" : 1 ,\r\n\t"name" : "caf\xc3\xa9 \\u00e9 \\/ \\n" }',
        b'{"price": 1.50, "big": 1E5, "exact": 0.1000000000000000055511151231257827}',
        b"{}",
    ]
    page = read_page(b'\n{"data" : [ ' + b" ,\n ".join(sent) + b" ] }\n")
    assert records(page) == sent
    assert page.envelope == {}


@given(st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text())), st.booleans())
def test_any_objects_come_out_as_they_went_in(objects: list[dict[str, Any]], is_ascii: bool) -> None:
    sent = [json.dumps(record, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass") for record in objects]
    assert [json.loads(record) for record in records(read_page(b'{"data": [' + b",".join(sent) + b"]}"))] == objects


def test_a_body_may_be_bytes_or_a_view_of_memory() -> None:
    assert records(read_page(memoryview(GOOD))) == records(read_page(GOOD)) == raw(TRUNK, IP_TRUNK)


def test_an_empty_list_is_a_response() -> None:
    assert records(read_page(b'{"data": []}')) == []


@pytest.mark.parametrize("is_lenient", [False, True])
def test_the_keys_beside_data_are_the_envelope(is_lenient: bool) -> None:
    envelope = {"success": True, "meta": {"a": [1.5, None, {}]}, "\ud800" if is_lenient else "x": 1}
    page = read_page(body(TRUNK, **envelope))
    assert records(page) == raw(TRUNK)
    assert page.envelope == envelope


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert records(read_page(b'{"data": [{"id": 1}], "data": [{"id": 2}]}')) == [b'{"id": 2}']
    assert complaint(b'{"data": [{"id": 1}], "data": null}') == "expected a list under `data`, got null"


def test_keys_given_twice_in_a_record_are_left_to_its_reader() -> None:
    assert records(read_page(answer_with(b'{"id": 1, "id": 2}'))) == [b'{"id": 1, "id": 2}']


def test_an_integer_of_any_size_keeps_its_digits() -> None:
    record = b'{"id": ' + b"9" * 5000 + b"}"
    assert records(read_page(answer_with(record))) == [record]


def test_a_number_beyond_every_float_keeps_its_digits() -> None:
    assert records(read_page(answer_with(b'{"price": 1e999}'))) == [b'{"price": 1e999}']


@pytest.mark.parametrize("record", [rb'{"name": "a\ud800b"}', rb'{"\udfff": 1}', rb'{"name": "\ude00\ud83d"}'])
@pytest.mark.parametrize("rest", [b"", LENIENT])
def test_a_lone_surrogate_survives_as_an_escape(record: bytes, rest: bytes) -> None:
    assert records(read_page(answer_with(record, rest))) == [record]


def test_a_lone_surrogate_elsewhere_does_not_change_the_records() -> None:
    assert records(read_page(answer_with(raw(TRUNK)[0], LENIENT))) == raw(TRUNK)


@pytest.mark.parametrize("number", ["1E+999", "-1E+999", "1e1000000000000000000", "9" * 5000, "0.1", "-7", "9" * 30])
@pytest.mark.parametrize("rest", [b"", LENIENT])
def test_a_lone_surrogate_does_not_change_any_number(number: str, rest: bytes) -> None:
    sent = rb'{"name": "\ud800", "price": ?, "deep": [{"a": ?}, null, true, "\"?"]}'.replace(b"?", number.encode())
    (record,) = records(read_page(answer_with(sent, rest)))
    assert record == sent


# Encodings


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_every_encoding_that_json_may_have_is_read(encoding: str) -> None:
    content = '{"data": [{"name": "Café 😀"}], "total": 1}'.encode(encoding)
    for given_as in (content, memoryview(content)):
        page = read_page(given_as)
        assert [json.loads(record) for record in records(page)] == [{"name": "Café 😀"}]
        assert page.envelope == {"total": 1}


def test_a_byte_order_mark_does_not_change_the_records() -> None:
    assert records(read_page(b"\xef\xbb\xbf" + GOOD)) == raw(TRUNK, IP_TRUNK)


def test_a_byte_order_mark_alone_is_an_empty_response() -> None:
    assert complaint(b"\xef\xbb\xbf") == "expected JSON, got an empty response"


@pytest.mark.parametrize(
    ("content", "offset"),
    [
        (b"\xff", 0),
        (b'{"\xff"}', 2),
        (b'{"data": [{"name": "\xff"}]' + LENIENT + b"}", 20),
        (b'{"error": "\xe9"}', 11),
    ],
)
def test_invalid_utf_8_is_refused_with_its_offset(content: bytes, offset: int) -> None:
    says = complaint(content)
    assert f"expected JSON in UTF-8, got an invalid byte at offset {offset} of {len(content)}" in says


# What is no answer


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "form", ['{{"data": [{{"price": {0}}}]}}', '{{"data": [{0}]}}', '{{"data": [], "total": {0}}}']
)
def test_numbers_that_json_has_not_are_refused(constant: str, form: str) -> None:
    assert complaint(form.format(constant).encode()) == f"expected JSON, got {constant}, which is not valid in JSON"


DEEP = 100_000


@pytest.mark.parametrize(
    "content",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"data":' * DEEP,
        b'{"data":' + b"[" * DEEP + b"]" * DEEP + b"}",
        answer_with(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
        answer_with(b'{"a":' * DEEP + b"1" + b"}" * DEEP, LENIENT),
        answer_with(b"{}", b', "unknown": ' + b"[" * DEEP + b"]" * DEEP),
        answer_with(b"{}", b', "meta": ' + b"[" * DEEP + b"]" * DEEP),
    ],
    ids=["open", "closed", "data in data", "data", "record", "record read leniently", "unknown key", "paging key"],
)
def test_nesting_without_end_is_refused(content: bytes) -> None:
    assert complaint(content) == "expected a list of trunks, got JSON that is nested too deeply"


def test_nesting_that_is_merely_unusual_is_read() -> None:
    record = b'{"a":' * 100 + b"1" + b"}" * 100
    assert records(read_page(answer_with(record))) == [record]


EVERY_KIND = r"""
    {"data": [{"n": null, "t": true, "f": false, "i": -12, "x": 1.5e+10, "y": 1E-5}, {},
              {"s": "a\n\"\\\u00e9 é€😀", "l": [1, [2], {}]}], "total": 3 }
"""


@pytest.mark.parametrize(("encoding", "least"), [("utf-8", 0), ("utf-8-sig", 3), ("utf-16-le", 4), ("utf-32-be", 8)])
def test_every_beginning_of_a_response_is_recognised_as_one(encoding: str, least: int) -> None:
    content = EVERY_KIND.strip().encode(encoding)
    assert len(read_page(content).records) == 3
    for length in range(least, len(content)):
        with pytest.raises(TruncatedResponseError):
            read_page(content[:length])


def test_any_single_wrong_byte_makes_at_most_an_unusable_response() -> None:
    content = b'{"data": [{"id": 1, "n": "a\\n"}], "x": 1}'
    outcomes = set()
    for place in range(len(content)):
        for byte in range(256):
            wrong = content[:place] + bytes([byte]) + content[place + 1 :]
            try:
                outcomes.add(len(read_page(wrong).records))
            except InvalidResponseError as error:
                assert str(error).isprintable()  # noqa: PT017 - most of them are fine
                outcomes.add(-1)
    assert outcomes == {-1, 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected JSON, got an empty response"),
        (b" \r\n\t ", "expected JSON, got an empty response"),
        (b"\n\n<!DOCTYPE html><p>content-of-the-answer", "expected JSON, got a page of HTML or XML (41 bytes)"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "expected JSON, got a page of HTML or XML"),
        (b"content-of-the-answer", "expected JSON, got a syntax error at character 0"),
        (b"{'data': []}", "expected JSON, got a syntax error at character 1"),
        (b'{"data": [],}', "expected JSON, got a syntax error at character "),
        (b'{"data": [{"id": 01}]}', "expected JSON, got a syntax error at character 18"),
        (b'{"data": []} content-of-the-answer', "expected JSON, got a syntax error at character 13"),
        (b'{"data": []}\x00', "expected JSON, got a syntax error at character 12"),
        (b'{"data": [{"name": "\x1b"}]}', "expected JSON, got a syntax error at character 20"),
        (b'{"data": [{"name": "\\q"}]}', "expected JSON, got a syntax error at character 20"),
        (b"[]", "expected an object with a list under `data`, got an array"),
        (b"null", "expected an object with a list under `data`, got null"),
        (b"true", "expected an object with a list under `data`, got a boolean"),
        (b"42", "expected an object with a list under `data`, got a number"),
        (b'"content-of-the-answer"', "expected an object with a list under `data`, got a string"),
        (b"{}", "expected an object with a list under `data`, got an object with no keys"),
        (b'{"error": "content-of-the-answer"}', "got an object with the keys error"),
        (b'{"Data": []}', "got an object with the keys Data"),
        (b'{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7}', "with the keys a, b, c, d, e and 2 more"),
        (b'{"data": null}', "expected a list under `data`, got null"),
        (b'{"data": {"id": {}}}', "expected a list under `data`, got an object"),
        (b'{"data": {}}', "expected a list under `data`, got an object"),
        (b'{"data": {"0": {}, "2": {}}}', "got an object with numbers as keys: a PHP array with gaps"),
        (b'{"data": "content-of-the-answer"}', "expected a list under `data`, got a string"),
        (b'{"data": [null]}', "expected objects in `data`, got null at index 0"),
        (b'{"data": [{}, true]}', "expected objects in `data`, got a boolean at index 1"),
        (b'{"data": [{}, -1.5]}', "expected objects in `data`, got a number at index 1"),
        (b'{"data": [{}, {}, "content-of-the-answer"]}', "expected objects in `data`, got a string at index 2"),
        (b'{"data": [[]]}', "expected objects in `data`, got an array at index 0"),
        (b'{"data": ["\\ud800"]}', "expected objects in `data`, got a string at index 0"),
        (answer_with(b"[]", LENIENT), "expected objects in `data`, got an array at index 0"),
    ],
)
def test_a_response_that_is_not_a_list_of_trunks_is_named(content: bytes, says: str) -> None:
    assert says in complaint(content)


def test_keys_that_would_move_the_cursor_are_named_harmlessly() -> None:
    says = complaint(json.dumps({"\x1b[2J\r\n": 1, "\u202egpj": 2, "\ud800": 3, "k" * 1000: 4}).encode())
    assert says.endswith(f"the keys \\x1b[2J\\r\\n, \\u202egpj, \\ud800, {'k' * 39}…")


# Text from the API on a terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sip.provider.com", "sip.provider.com"),
        ("Büro 字 😀", "Büro 字 😀"),
        ("", ""),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31mred", "\\x9b31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x00\x08\x7f\x85", "\\x00\\x08\\x7f\\x85"),
        ("\u202efdp.exe", "\\u202efdp.exe"),
        ("\u200e\u200f\u202a\u2066\u2069", "\\u200e\\u200f\\u202a\\u2066\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("no\u00a0break", "no\\xa0break"),
        ("\ud800", "\\ud800"),
        ("\udfff\U000e0041", "\\udfff\\U000e0041"),
    ],
)
def test_only_harmless_characters_are_printed_as_they_are(text: str, shown: str) -> None:
    assert printable(text, 40) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("x" * 10**6, 5, "xxxx…"), ("😀😀😀", 2, "😀…")],
)
def test_long_text_is_cut_and_says_so(text: str, limit: int, shown: str) -> None:
    assert printable(text, limit) == shown


@given(st.text(st.characters()), st.integers(1, 50))
def test_any_text_fits_on_one_line_of_a_terminal(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    shown.encode()
    if text.isprintable():
        assert len(shown) <= limit


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_types_are_called_what_json_calls_them(value: object, name: str) -> None:
    assert json_type(value) == name


@pytest.mark.parametrize(
    "answer",
    [
        b'{"data":[],"meta":"\xff"}',
        b'{"data":["\xff"]}',
        b'{"data":[' + b"1" * 5000 + b"]}",
        b'{"data":[{"a":"\\ud800"}],"total":' + b"1" * 5000 + b"}",
        b'{"data":[' + b"[" * 995 + b"]" * 995 + b"]}",
        b'{"data":[{"a":"\\ud800","b":' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
)
def test_a_response_that_python_cannot_read_is_unusable(answer: bytes) -> None:
    with suppress(InvalidResponseError):
        read_page(answer)


def test_printable_counts_what_is_printed() -> None:
    assert len(printable("\u202e" * 100, 40)) <= 40
    assert printable("abc", 3) == "abc"
    assert printable("abcd", 3) == "ab…"
