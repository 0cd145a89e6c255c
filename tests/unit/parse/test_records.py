"""Raw records → columns: what fits, what does not, and that both ways of reading agree."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import ABSENT, IP_TRUNK, TRUNK, raw, trunk
from tests.support.consistency import reads_back
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.parse.records import Columns, read_records
from trunk_transforms.schema.tables import API_COLUMNS, DRIFT_KINDS, ColumnType, arrow_type


def values(columns: Columns, name: str) -> list[Any]:
    return list(columns.table[name].to_pylist())


def drift(columns: Columns) -> set[tuple[str, str, int]]:
    return {(entry.column_name, entry.kind, entry.row_count) for entry in columns.drift}


@pytest.mark.parametrize("beside", [{}, {"zz_any": {"a": 1}}], ids=["fitting", "value by value"])
@pytest.mark.parametrize("nickname", [ABSENT, None])
def test_a_response_without_nicknames_is_no_drift(nickname: Any, beside: dict[str, Any]) -> None:
    columns = read_records(raw(trunk(nickname=nickname, **beside), trunk(id=2)))
    assert columns.table["nickname"].to_pylist() == [None, TRUNK["nickname"]]
    assert not any(kind == "missing_column" or name == "nickname" for name, kind, _ in drift(columns))


def test_documented_records_are_typed_and_no_drift() -> None:
    columns = read_records(raw(TRUNK, IP_TRUNK))
    assert columns.table.column_names == [column.name for column in API_COLUMNS]
    assert columns.table.schema.types == [arrow_type(column.type) for column in API_COLUMNS]
    assert values(columns, "id") == [42, 43]
    assert values(columns, "phone_number") == ["1000", "+14155551234"]
    assert values(columns, "outbound_proxy") == [False, True]
    assert values(columns, "allowed_inbound_ips") == [None, ["203.0.113.10", "198.51.100.20"]]
    assert values(columns, "created_at")[0] == datetime(2026, 3, 31, 10, tzinfo=UTC)
    assert columns.drift == ()


def test_no_records_have_every_declared_column() -> None:
    columns = read_records([])
    assert columns.table.schema.types == [arrow_type(column.type) for column in API_COLUMNS]
    assert columns.table.num_rows == 0


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-31T10:00:00.000001Z", datetime(2026, 3, 31, 10, 0, 0, 1, tzinfo=UTC)),
        ("2024-01-10T08:00:00Z", datetime(2024, 1, 10, 8, tzinfo=UTC)),
        ("2025-06-30 11:18:04", datetime(2025, 6, 30, 11, 18, 4, tzinfo=UTC)),
        ("2025-06-30T13:18:04+02:00", datetime(2025, 6, 30, 11, 18, 4, tzinfo=UTC)),
    ],
)
def test_every_spelling_of_an_instant_is_read_as_utc(text: str, instant: datetime) -> None:
    together = read_records(raw(trunk(created_at=text), trunk(created_at="2026-03-31T10:00:00Z")))
    assert values(together, "created_at")[0] == instant
    assert together.drift == ()


BEYOND_THE_YEARS = ("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-12:00", "9999-12-31 23:59:59-23:59")


@pytest.mark.parametrize(
    "text", ["soon", "", "2026-02-30T10:00:00Z", "2026-03-31", "0000-01-01T00:00:00Z", *BEYOND_THE_YEARS]
)
def test_a_text_that_is_not_a_timestamp_is_kept_as_text(text: str) -> None:
    columns = read_records(raw(trunk(updated_at=text), trunk()))
    assert values(columns, "updated_at") == [None, datetime(2026, 3, 31, 10, tzinfo=UTC)]
    assert values(columns, "updated_at__v_text") == [text, None]
    assert drift(columns) == {("updated_at", "type_mismatch", 1)}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("outbound_proxy", "yes", "yes"),
        ("outbound_proxy", 1, "1"),
        ("phone_number", 1000, "1000"),
        ("sip_username", True, "true"),
        ("sip_address", {"host": "a", "also": [1]}, '{"also":[1],"host":"a"}'),
        ("country_code", ["US"], '["US"]'),
        ("allowed_inbound_ips", "203.0.113.10", "203.0.113.10"),
        ("allowed_inbound_ips", [1], "[1]"),
        ("created_at", 1774951200, "1774951200"),
        ("sip_username", "\ud800", '"\\ud800"'),
        ("phone_number", 1.5, "1.5"),
    ],
)
def test_a_value_that_does_not_fit_is_null_and_kept_as_text(name: str, value: Any, text: str) -> None:
    columns = read_records(raw(trunk(**{name: value}), trunk()))
    assert values(columns, name)[0] is None
    assert values(columns, f"{name}__v_text") == [text, None]
    assert drift(columns) == {(name, "type_mismatch", 1)}


@pytest.mark.parametrize(
    ("identity", "seen"),
    [
        (ABSENT, "null"),
        (None, "null"),
        ("42", "a string"),
        (1.5, "a number"),
        (2**63, "a number"),
        (True, "a boolean"),
        ([1], "an array"),
    ],
)
def test_an_id_that_is_not_an_integer_is_refused(identity: Any, seen: str) -> None:
    with pytest.raises(InvalidResponseError, match=rf"integer `id` .*\(the first has {seen}\)"):
        read_records(raw(trunk(), trunk(id=identity)))


def test_an_integer_may_be_spelled_as_a_number_with_a_fraction_of_zero() -> None:
    record = json.dumps(trunk()).replace('"id": 42', '"id": 4.2e1').encode()
    assert values(read_records([record]), "id") == [42]


def test_a_missing_field_is_null_and_reported_per_record() -> None:
    columns = read_records(raw(trunk(country_code=ABSENT), trunk(), trunk(allowed_inbound_ips=ABSENT)))
    assert values(columns, "country_code") == [None, "US", "US"]
    assert drift(columns) == {("country_code", "missing_column", 1), ("allowed_inbound_ips", "missing_column", 1)}


def test_null_where_none_is_documented_is_drift_and_null_in_an_allowlist_column_is_not() -> None:
    columns = read_records(raw(trunk(sip_address=None, allowed_inbound_ips=None)))
    assert drift(columns) == {("sip_address", "type_mismatch", 1)}
    assert "sip_address__v_text" not in columns.table.column_names


def test_an_unknown_value_is_stored_as_it_is_and_reported() -> None:
    columns = read_records(raw(trunk(sip_calling_format="E.164"), trunk(inbound_authorization_type="cert")))
    assert values(columns, "sip_calling_format") == ["E.164", "+e164"]
    assert drift(columns) == {
        ("sip_calling_format", "unknown_value", 1),
        ("inbound_authorization_type", "unknown_value", 1),
    }


@pytest.mark.parametrize(
    ("seen", "column_type", "stored"),
    [
        (["premium", None], "text", ["premium", None]),
        ([7, None], "bigint", [7, None]),
        ([1.5, 2], "double", [1.5, 2.0]),
        ([True, False], "bool", [True, False]),
        ([{"b": 1, "a": [None]}, None], "json", ['{"a":[null],"b":1}', None]),
        ([["PCMA"], ["PCMU"]], "json", ['["PCMA"]', '["PCMU"]']),
        ([2**64, None], "double", [float(2**64), None]),
        ([2**64 + 1, None], "json", ["18446744073709551617", None]),
        (["2026-03-31T10:00:00Z", None], "text", ["2026-03-31T10:00:00Z", None]),
    ],
)
def test_a_new_field_becomes_a_column_of_its_own_type(seen: list[Any], column_type: str, stored: list[Any]) -> None:
    columns = read_records(raw(*(trunk(zz_field=value) for value in seen)))
    assert columns.types["zz_field"] == column_type
    assert values(columns, "zz_field") == stored
    assert {(name, kind) for name, kind, _ in drift(columns)} == {("zz_field", "new_column")}


def test_a_new_field_that_is_only_null_makes_no_column_and_no_drift() -> None:
    columns = read_records(raw(trunk(zz_field=None), trunk()))
    assert "zz_field" not in columns.table.column_names
    assert columns.drift == ()


def test_a_stored_type_stays_and_values_that_do_not_fit_are_kept_as_text() -> None:
    columns = read_records(raw(trunk(zz_field="late"), trunk(zz_field=3)), {"zz_field": "bigint"})
    assert values(columns, "zz_field") == [None, 3]
    assert values(columns, "zz_field__v_text") == ["late", None]


def test_a_large_integer_in_a_column_of_doubles_is_not_rounded() -> None:
    columns = read_records(raw(trunk(zz_ratio=0.5), trunk(zz_ratio=2**53 + 1)), {"zz_ratio": "double"})
    assert values(columns, "zz_ratio") == [0.5, None]
    assert values(columns, "zz_ratio__v_text") == [None, str(2**53 + 1)]


def test_fields_with_secret_names_are_dropped_at_any_depth_and_reported() -> None:
    sent = trunk(
        sip_password="hunter2",
        zz_extra={"auth": [{"apiKey": "hunter3", "realm": "a"}]},
        sip_address={"token": "hunter4"},
    )
    columns = read_records(raw(sent, trunk()))
    assert "hunter" not in str(columns.table.to_pylist())
    assert values(columns, "zz_extra")[0] == '{"auth":[{"realm":"a"}]}'
    secret = {(name, count) for name, kind, count in drift(columns) if kind == "secret_dropped"}
    assert secret == {("sip_password", 1), ("zz_extra", 1), ("sip_address", 1)}


SECRET_NAMES = (
    "password passWord pass_word sip_pass Passwort kennwort api_tokens apiKey api-key otp clientSecret clientsecret "
    "token1 pwd2 sippass pincode tokenvalue Authorization sshKey hmac_key recovery_codes Passwörter Zugangscode "
    "sip_psw pswd passw a1_hash clave dsn consumer_key пароли "
    "PSK ha1 outbound_trunk_voice_infrastructure_provisioning_sip_password authpwd userpwd trunkpw trunkPW regpass "
    "pwhash pw_hash passHash ha1b md5_cred creds sipCreds SIP-CREDENTIALS auth_string authString digest_hash totp "
    "totpSeed passkey pass-keys mdp motdepasse motDePasse mot_de_passe contraseña CONTRASEÑA contrasenya senha senhas "
    "wachtwoord hasło HASŁO heslo zugangsdaten Zugangs-Daten kms_key kmsKeys srtp_key srtpKey sdes-key api_key_id "
    "cryptoKey key_material contrasenia "
    "connection_string connectionString conn_str lösenord şifre parola jelszó salasana basicAuth backup_codes "
    "пароль ПАРОЛЬ sip_пароль парола токен 密码 密碼 SIP密码 口令 パスワード ﾊﾟｽﾜｰﾄﾞ 비밀번호 كلمة_المرور סיסמה "
    "συνθηματικό ΣΥΝΘΗΜΑΤΙΚΌ पासवर्ड รหัสผ่าน ｐａｓｓｗｏｒｄ pass\u200bword"
)


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_name_that_says_secret_is_recognised_however_it_is_written(name: str) -> None:
    columns = read_records(raw(trunk(**{name: "hunter2"}, zz_nested={"list": [{name: "hunter3"}]})))
    assert "hunter" not in str(columns.table.to_pylist())


NO_SECRET_NAMES = (
    "alpha1 sha1_fingerprint secretary bypass compass pinned keys authentication_type auth_type authorization_mode "
    "password_updated_at has_password is_token_set credentials_count "
    "token_count max_tokens prompt_tokens tokens_used tokenizer passthrough pass_through dtmf_pass_through passenger "
    "pass_caller_id public_key backup_codec photo_tpl api_keyboard session_keywords "
    "webhook_url hash digest sip_username upward spinner "
    "encryption session access shared credit accredited opinion private секретарь 암호화"
)


@pytest.mark.parametrize("name", [*NO_SECRET_NAMES.split(), *(c.name for c in API_COLUMNS if c.name != "id")])
def test_a_name_that_only_looks_secret_is_kept(name: str) -> None:
    columns = read_records(raw(trunk(**{name: "kept"}, zz_nested=[{name: "kept too"}])))
    assert "kept" in str(columns.table.to_pylist()[0])
    assert "kept too" in str(columns.table.to_pylist()[0])
    assert "secret_dropped" not in {kind for _, kind, _ in drift(columns)}


@pytest.mark.parametrize(
    "pair",
    [
        {"name": "password", "value": "hunter2"},
        {"Key": "SIP_PASSWORD", "Value": "hunter2", "type": "string"},
        {"key": "apiKey", "value": {"current": ["hunter2"]}},
        {"field": "密码", "stringValue": "hunter2"},
        {"paramName": "auth-token", "defaultValue": "hunter2"},
        {"type": "password", "label": "Mot de passe", "content": "hunter2"},
        {"header": "Authorization", "values": ["hunter2"]},
        {"attr": "password", "value": "hunter2"},
        {"prop": "pwd", "value": "hunter2"},
        {"item": "sip_secret", "value": "hunter2"},
        {"entry": "token", "value": "hunter2"},
    ],
)
def test_a_value_that_is_named_beside_it_as_a_secret_is_dropped(pair: dict[str, Any]) -> None:
    for nested in (pair, [pair], {"settings": [{"deep": [pair, {"name": "realm", "value": "kept"}]}]}):
        columns = read_records(raw(trunk(zz_settings=nested, sip_address=nested)))
        assert "hunter" not in str(columns.table.to_pylist())
        assert {name for name, kind, _ in drift(columns) if kind == "secret_dropped"} == {"zz_settings", "sip_address"}
        assert ("kept" in str(columns.table.to_pylist())) is ("kept" in str(nested))


def test_a_secret_that_an_earlier_release_stored_is_stored_no_more() -> None:
    columns = read_records(raw(trunk(api_key="hunter2")), {"api_key": "text"})
    assert "hunter2" not in str(columns.table.to_pylist())


def test_a_lone_surrogate_within_json_is_kept_as_text() -> None:
    columns = read_records(raw(trunk(zz_note={"a": "\ud800"}), trunk(zz_note={"a": 1})))
    assert values(columns, "zz_note") == [None, '{"a":1}']
    assert values(columns, "zz_note__v_text") == ['{"a":"\\ud800"}', None]


def test_a_missing_field_is_not_hidden_by_its_name_in_a_value() -> None:
    columns = read_records(raw(trunk(sip_address=ABSENT), trunk(sip_username="sip_address")))
    assert drift(columns) == {("sip_address", "missing_column", 1)}


def test_the_type_found_in_one_batch_holds_in_the_next() -> None:
    records = raw(trunk(id=1), trunk(id=2, zz_field=5), trunk(id=3, zz_field="x"), trunk(id=4, zz_field=6))
    columns = read_records(records, batch_records=1)
    assert values(columns, "zz_field") == [None, 5, None, 6]
    assert values(columns, "zz_field__v_text") == [None, None, "x", None]


def test_invalid_utf8_in_a_record_is_refused() -> None:
    with pytest.raises(InvalidResponseError, match="UTF-8"):
        read_records([b'{"id": 1, "sip_username": "\xff"}'])


@pytest.mark.parametrize("depth", [500, 900, 990, 100_000])
def test_deep_nesting_is_read_or_refused_and_no_bug(depth: int) -> None:
    record = b'{"id": 1, "zz_deep": ' + b"[" * depth + b"]" * depth + b"}"
    with suppress(InvalidResponseError):
        assert values(read_records([record]), "id") == [1]


def test_an_integer_of_thousands_of_digits_is_kept_as_text() -> None:
    record = json.dumps(trunk(country_code=0)).replace('"country_code": 0', '"country_code": ' + "1" * 5000).encode()
    assert values(read_records([record]), "country_code__v_text") == ["1" * 5000]
    with pytest.raises(InvalidResponseError):
        read_records([b'{"id":' + b"1" * 5000 + b"}"])


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("1e1000000000000000000", "1e1000000000000000000"),
        ("-1.5E+999999999999999999999", "-1.5E+999999999999999999999"),
        ("1e400", "1E+400"),
        ("-" + "1" * 100_000, "-" + "1" * 100_000),
        ("1" * 100_000 + ".5", "1" * 100_000 + ".5"),
        ("1e" + "9" * 100_000, "1e" + "9" * 100_000),
    ],
    ids=lambda text: text[:12],
)
def test_a_number_that_no_double_holds_is_kept_as_text(sent: str, text: str) -> None:
    record = json.dumps(trunk(country_code="?", zz_field="?", zz_list=["?"])).replace('"?"', sent)
    types: tuple[ColumnType | None, ...] = (None, "bigint", "double", "text")
    for known in types:
        columns = read_records([record.encode(), *raw(trunk(id=43))], {"zz_field": known} if known else None)
        assert values(columns, "country_code__v_text") == [text, None]
        assert values(columns, "zz_field__v_text" if known else "zz_field") == [text, None]
        assert values(columns, "zz_list") == [f'["{text}"]', None]


def test_drift_kinds_are_declared() -> None:
    columns = read_records(
        raw(trunk(sip_calling_format=1, password="x", zz_field=1, account=2), trunk(country_code=ABSENT))
    )
    assert {entry.kind for entry in columns.drift} <= set(DRIFT_KINDS)


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcß", max_size=4), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(-(2**63), 2**63 - 1)},
        optional={name: JSON_VALUES for name in TRUNK if name != "id"} | {"zz_field": JSON_VALUES, "zz_other": SCALARS},
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(RECORDS)
def test_every_value_can_be_read_back(records: list[dict[str, Any]]) -> None:
    columns = read_records(raw(*records), batch_records=4)
    rows = columns.table.to_pylist()
    for record, row in zip(records, rows, strict=True):
        for name, value in record.items():
            assert value is None or reads_back(value, row.get(name), row.get(f"{name}__v_text"))


@settings(max_examples=100)
@given(
    st.lists(
        st.fixed_dictionaries({name: st.just(value) | st.none() for name, value in IP_TRUNK.items() if name != "id"}),
        min_size=1,
        max_size=5,
    )
)
def test_reading_at_once_and_value_by_value_agree(records: list[dict[str, Any]]) -> None:
    numbered = [{"id": index, **record} for index, record in enumerate(records)]
    quick = read_records(raw(*numbered))
    # A new zz_nested field can only be read value by value; without it the columns must be the same.
    slow = read_records(raw(*({**record, "zz_nested": {}} for record in numbered)))
    assert slow.table.drop_columns(["zz_nested"]).equals(quick.table)
    assert [entry for entry in slow.drift if entry.column_name != "zz_nested"] == list(quick.drift)


def test_a_batch_is_bounded_in_bytes_too() -> None:
    columns = read_records(raw(*(trunk(id=index, sip_username="u" * 400) for index in range(7))), batch_bytes=1000)
    assert values(columns, "id") == list(range(7))
    assert pa.types.is_string(columns.table.schema.field("sip_username").type)


def test_large_records_are_read_within_the_memory_of_a_batch() -> None:
    record = json.dumps(trunk(sip_username="x" * 20_000)).encode()
    tracemalloc.start()
    try:
        read_records([record] * 500, batch_bytes=10 * len(record))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(record)
