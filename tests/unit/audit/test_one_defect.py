"""Trunks with one defect: each has one finding, by the rule that knows the most about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from tests.support.frames import rows, trunks
from tests.unit.audit.rules.cases import EASYBELL, EU, TWILIO, auth, host, ips, number
from trunk_transforms.audit.engine import audit_trunks
from trunk_transforms.audit.rules import RULES
from trunk_transforms.enrich.providers import default_providers

PBX = {"sip_address": "pbx.kunde.de", "allowed_inbound_ips": json.dumps(["88.1.2.3"])}
TWILIO_TRUNK = host("acme.pstn.twilio.com") | ips(*TWILIO)
EASYBELL_TRUNK = host("voip.easybell.de", sip_username="004930231252") | ips(*EASYBELL)
ONE_DEFECT: list[tuple[dict[str, Any], str]] = [
    (ips(), "allowlist-empty critical"),
    (ips(" "), "allowlist-invalid critical"),
    (ips("junk"), "allowlist-invalid high"),
    (ips(*EU, "localhost"), "allowlist-invalid high"),
    (ips(EU[0], f"{EU[1]}:5060"), "allowlist-invalid high"),
    (ips(f"::ffff:{EU[0]}", EU[1]), "allowlist-invalid high"),
    (ips("10.0.0.1"), "allowlist-private high"),
    (ips("::/0"), "allowlist-open critical"),
    (ips(*EU, "0.0.0.0/0"), "allowlist-open critical"),
    (ips(*EU, "153.57.128.0/18"), "allowlist-platform medium"),
    (ips(*EU, "8.0.0.0/8"), "allowlist-wide high"),
    (ips("185.246.41.0/24"), "provider-ips-other medium"),
    (ips("64.16.250.10"), "provider-ips-missing high"),
    (auth(), "exposure-password high"),
    (auth() | ips(*EU), "exposure-password high"),
    (auth(sip_username=None), "exposure-username-blank critical"),
    (auth(sip_username=" ") | ips(*EU), "exposure-username-blank critical"),
    (TWILIO_TRUNK | auth(), "inbound-auth-unsupported high"),
    (TWILIO_TRUNK | auth() | ips(*TWILIO), "inbound-auth-unsupported high"),
    (TWILIO_TRUNK | auth(sip_username="\t"), "exposure-username-blank critical"),
    (PBX | auth() | ips("88.1.2.3"), "allowlist-unused medium"),
    ({"sip_username": ""}, "exposure-username-blank medium"),
    (host("sip.nl.didlogic.net", sip_username=None) | ips("89.149.192.7"), "provider-outbound-proxy high"),
    (number("4930231252"), "number-without-plus medium"),
    (number("4915112345678"), "number-without-plus medium"),
    (number("030231252"), "number-without-plus medium"),
    (number("(030) 231252"), "number-malformed high"),
    (number("49 (0)30 231252"), "number-malformed high"),
    (number("0049 30 231252"), "number-malformed high"),
    (number("+49 30"), "number-invalid high"),
    (number("12", sip_username="12"), "exposure-username-number medium"),
    (host("api.telnyx.com"), "provider-host high"),
    (host("sip.telnyx.com:5060"), "host-malformed high"),
    (EASYBELL_TRUNK | host("voip.easybell.de:5060"), "host-malformed high"),
    (PBX | host("pbx.local:5060"), "host-private high"),
    (PBX | host("sip:a@x.sip.livekit.cloud"), "host-platform high"),
    (PBX | host("foo.test"), "host-private high"),
    ({"sip_calling_format": "national"}, "provider-calling-format high"),
]


def test_a_trunk_with_one_defect_has_one_finding() -> None:
    made = trunks(*({"id": place, "account": str(place)} | row for place, (row, _) in enumerate(ONE_DEFECT)))
    rules = [rule for rule in RULES.values() if not rule.is_cross_account]
    found = audit_trunks(made, providers=default_providers(), as_of=datetime(2026, 12, 1, tzinfo=UTC), rules=rules)
    codes: dict[int, list[str]] = {place: [] for place in range(len(ONE_DEFECT))}
    for place, rule, severity in rows(found, "trunk_id", "rule", "severity"):
        codes[place].append(f"{rule} {severity}")
    assert codes == {place: [code] for place, (_, code) in enumerate(ONE_DEFECT)}
