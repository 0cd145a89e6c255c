"""Recognise fields that contain secrets by their names, in many spellings and languages, and drop them."""

import re
from collections import Counter
from functools import lru_cache
from typing import Any
from unicodedata import combining, normalize

from trunk_transforms.parse.column_names import snake_case

# Words of a name: sip_pass, sipPass and sip-pass have the word pass, bypass has not.
_WORDS = (
    "pass pw psk pin puk otp totp hotp secret token cred bearer jwt cookie ha1b? cvv cvc psw pswd passw clave dsn "
    "privkey geheim geheimnis mdp senha haslo heslo geslo sifre parola passord"
)
# Names, or parts of them, without any separator.
_PARTS = (
    "password passwort kennwort passwd passphrase passcode passkey passhash pwd pwhash credential creds$ "
    "(secret|token|cookie)s?$ (secret|token)value secret(word|phrase|hash|string) "
    "(auth|pin|otp|mfa|recovery|backup|security|verification|login|zugangs)code(?!c) "
    "(sip|user|auth|trunk|reg|login|account|admin|client|peer|proxy)(pass|pw)$ ^authorization$ (auth|digest)hash "
    "(auth|conn|connection)string connstr$ basicauth authheader "
    "(ha1|a1)hash (consumer|subscription|account)key keymaterial "
    "(api|private|access|secret|auth|crypto|encryption|signing|shared|ssh|hmac|master|certificate|kms|srtp|sdes|aes"
    "|tls|session|webhook)key(?!board|word|pad) "
    "motdepasse contrasen([iy]?a|ha) contrasinal wachtwoord zugangsdaten anmeldedaten logindaten losenord "
    "adgangskode salasana jelszo lozinka parool slaptazodis matkhau katasandi"
)
_OTHER_SCRIPTS = (
    "парол секретн токен лозинка συνθηματικό κωδικόςπρόσβασης 密码 密碼 口令 密钥 密鑰 令牌 凭据 "
    "パスワード 暗証番号 비밀번호 كلمةالمرور كلمةالسر رمزعبور گذرواژه סיסמה סיסמא पासवर्ड รหัสผ่าน"
)
_HARMLESS = re.compile(
    r"pass_(through|thru|along|fail|rate|count|caller|header)|tokens?_(count|limit|type|usage|used)"
    r"|(max|min|prompt|completion|input|output|total)_tokens"
)
_ABOUT_A_SECRET = re.compile(
    r"(has|is)_\w+|\w+_(count|enabled|length|policy|required|(updated|changed|created|rotated|expires|set)_at)"
)
_NAMING = re.compile(
    r"^(name|key|k|field|param|parameter|prop|property|setting|attr|attribute|label|option|header|variable|type|id|code"
    r"|title|slug|item|entry|(field|param|parameter|property|setting|attribute|option|header|variable)_name)$"
)
_NAMED = re.compile(r"(^|_)(values?|val|v|content|data|text|default)$")
_LONGEST_NAME = 100


def _fold(text: str) -> str:
    """Return a text without accents, full-width forms and invisible characters."""
    plain = "".join(c for c in normalize("NFKD", text) if c.isascii() or not (combining(c) or not c.isprintable()))
    return plain.translate({ord("ł"): "l", ord("Ł"): "L", ord("ı"): "i"})


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", _fold(text).lower())


_WORD = re.compile(rf"(^|_)({'|'.join(_WORDS.split())})s?\d*(_|$)")
_PART = re.compile("|".join([*_PARTS.split(), *map(_letters, _OTHER_SCRIPTS.split())]))


@lru_cache(maxsize=10_000)
def says_secret(field: str) -> bool:
    """Return whether the name of a field, in any spelling, says that its value is a secret."""
    name = _HARMLESS.sub("", snake_case(_fold(field)))
    if _ABOUT_A_SECRET.fullmatch(name):
        return False
    joined = name.replace("_", "") if field.isascii() else _letters(field)
    return bool(_WORD.search(name) or _PART.search(joined))


def drop_secrets(value: Any, dropped: Counter[str]) -> Any:
    """Return the value without secret members at any depth. `dropped` counts them by name.

    The value in `{"name": "password", "value": …}` is a secret, too.
    """
    if isinstance(value, list):
        return [drop_secrets(item, dropped) for item in value]
    if not isinstance(value, dict):
        return value
    is_named = any(_names_secret(name, member) for name, member in value.items())
    secret = [
        name
        for name, member in value.items()
        if member is not None and (says_secret(name) or (is_named and _NAMED.search(snake_case(name))))
    ]
    dropped.update(secret)
    return {name: drop_secrets(member, dropped) for name, member in value.items() if name not in secret}


def _names_secret(name: str, member: Any) -> bool:
    is_name = isinstance(member, str) and len(member) <= _LONGEST_NAME and _NAMING.search(snake_case(name))
    return bool(is_name and says_secret(member))
