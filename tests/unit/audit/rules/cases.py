"""Trunks in which a rule of the audit finds something, and trunks that it leaves alone."""

from __future__ import annotations

import json
from typing import Any

Row = dict[str, Any]


def ips(*entries: str, **others: Any) -> Row:
    return {"allowed_inbound_ips": json.dumps(entries)} | others


def host(address: str | None, **others: Any) -> Row:
    return {"sip_address": address} | others


def number(text: str | None, country: str | None = "DE", **others: Any) -> Row:
    return {"phone_number": text, "country_code": country} | others


def auth(**others: Any) -> Row:
    return {"inbound_authorization_type": "auth", "allowed_inbound_ips": None} | others


def pbx(**others: Any) -> Row:
    return {"sip_address": "pbx.example.com", "sip_calling_format": "national"} | others


def same_host(*lists: str, address: str | None = "pbx.example.com", **others: Any) -> tuple[Row, ...]:
    """Return trunks at one host with these allowlists, whose entries are separated by spaces."""
    return tuple(ips(*entries.split(), sip_address=address, **others) for entries in lists)


def sent_as(**values: str) -> Row:
    """Return fields that were sent in the wrong type: null, with what was sent beside it."""
    return dict.fromkeys(values) | {f"{name}__v_text": value for name, value in values.items()}


def proxied(address: str, **others: Any) -> Row:
    return {"sip_address": address, "outbound_proxy": True} | others


US, EU, AU = ["192.76.120.10"], ["185.246.41.140", "185.246.41.141"], ["103.115.244.145", "103.115.244.146"]


TWILIO = [f"54.{place}.{last}" for place in ("172.60", "244.51") for last in range(4)]


DIDWW = [f"46.19.{place}.14" for place in (209, 210, 212, 213, 214, 215)] + ["185.238.173.14"]


def twilio(*entries: str) -> Row:
    return ips(*entries, **host("x.pstn.twilio.com"))


def easybell(name: str, *entries: str, **others: Any) -> Row:
    return ips(*entries, **host(f"{name}.easybell.de"), **others)


EASYBELL = ["195.52.221.151", "195.185.214.173", "195.52.221.142"]


EASYBELL_TLS = ["212.172.204.95", "212.172.58.207"]


EASYBELL_PBX = ["62.144.211.104", "195.52.221.134", "195.52.221.137"]


FIVE = ["8.8.8.8", "8.8.8.9", "1.1.1.1", "9.9.9.0/24", "2a00::1"]


A, B = {"account": "a"}, {"account": "b"}


LOGIN = {"sip_username": "other-02"}


LATEST = {"sip_username": "other-03"}


# rule: [(trunks, how bad it is, what the finding says)]; they differ from a sound trunk. All of them are found, or the
# first ones if their number follows.
POSITIVE: dict[str, list[tuple[tuple[Row, ...], str, str, *tuple[int, ...]]]] = {
    "allowlist-empty": [
        ((ips(),), "critical", "authorized by IP address, but the allowlist is empty"),
        (({"allowed_inbound_ips": None},), "critical", "the allowlist is empty"),
        ((ips(), {"allowed_inbound_ips": ""}), "critical", "the allowlist is empty"),
        # The provider's addresses, and a password only where the provider can send one.
        ((twilio(),), "critical", "empty; add 54.172.60.0/30, 54.244.51.0/30 (US) or 54.171.127.192/30 (IE) or"),
        ((ips(), ips(**host("acme.sip.telnyx.com"))), "critical", "empty; add 192.76.120.10 (US) or 185.246.41.140, "),
        ((ips(**host("sip.xx.didlogic.net")),), "critical", "add the addresses that DIDLogic names for this host to"),
        ((ips(**pbx()), ips(**host("sip.plusnet.de")), ips(**host(None))), "critical", 'authorization_type to "auth"'),
    ],
    "allowlist-invalid": [
        ((ips("8.8.8.8:5060", *EU),), "high", '"8.8.8.8:5060" is an address with a port'),
        ((ips("8.8.8.8:5060"),), "high", "scheme or brackets: matches no call; write 8.8.8.8 instead"),
        ((ips("8.8.8.8/33"),), "high", '"8.8.8.8/33" is not an IP address: matches no call'),
        ((ips("8.8.8.0/024"),), "high", "has leading zeros: matches no call"),
        ((ips("sip.telnyx.com"),), "high", '"sip.telnyx.com" is a host name: a caller can claim this name'),
        *(
            ((ips(name, *EU),), "high", "a caller can claim this name")
            for name in ("localhost", "pbx", "PBX-1", "a.test")
        ),
        (
            (ips("::ffff:8.8.8.8", *EU), ips("::FFFF:8.8.8.8")),
            "high",
            "probably matches no call, because it is compared as IPv6 (inferred); write 8.8.8.8 instead",
        ),
        ((ips("::ffff:8.8.8.0/120"),), "high", "write 8.8.8.0/24 instead"),
        # What the provider sends calls from, if nothing else is clear.
        ((twilio("twilio"),), "high", "replace it with the addresses that Twilio sends calls from: 54.172.60.0/30"),
        ((ips("junk", **pbx()), ips("junk", *EU)), "high", "replace or remove the entry"),
        ((ips("185.246.41.l41", EU[0]),), "high", "replace it with 185.246.41.141, from which Telnyx (EU) sends calls"),
        ((ips(""),), "high", '"" is blank: matches no call'),
        ((ips("2a00::1%eth0"),), "high", "is not an IP address or network"),
        # A range is neither a host name nor harmless.
        ((ips("8.8.8.8-8.8.8.20", *EU),), "high", '"8.8.8.8-8.8.8.20" is a range of addresses: matches no call'),
        ((ips("8.8.8.8-20"),), "high", "write 8.8.8.8/29, 8.8.8.16/30, 8.8.8.20 instead"),
        # The wide part of a range is not dropped silently: then no network is advised.
        ((ips("1.0.0.0-1.1.0.0"),), "high", "replace it with the addresses that Telnyx sends calls from"),
        # Ignored: some are left, or none, and then everybody may call.
        ((ips(" 8.8.8.8", *EU),), "high", '" 8.8.8.8" has spaces around it: ignored; write 8.8.8.8 instead'),
        ((ips("8.8.8.8,8.8.4.4", "8.8.8.8:5060"),), "high", 'is a list of addresses: ignored; "8.8.8.8:5060" is an'),
        ((ips(" 8.8.8.8"),), "critical", "ignored; no other entry is left, so every source is admitted (inferred)"),
        *(
            ((ips(text),), "critical", "no other entry is left")
            for text in (" ", "8.8.8.8\n", "8.8.8.8,", "(8.8.8.8)", "+8.8.8.8", "8.8.8.*", "8.8.8.8;x", "sip://8.8.8.8")
        ),
        ((ips("a b", "c d", "e f", "g h"),), "critical", "and 1 more"),
        # What is no list of texts.
        (({"allowed_inbound_ips": '["8.8.8.8", null]'},), "high", '"null" is not an IP address'),
        (({"allowed_inbound_ips": '"8.8.8.8"'},), "high", '""8.8.8.8"" is not an IP address'),
        (({"allowed_inbound_ips": '{"8.8.8.8": true}'},), "critical", '"{"8.8.8.8": true}" is not an IP address'),
        (({"allowed_inbound_ips": "[8.8.8.8]"},), "high", "write 8.8.8.8 instead"),
    ],
    "allowlist-open": [
        ((ips("0.0.0.0/0"),), "critical", "0.0.0.0/0 allows every address on the internet"),
        ((ips("8.8.8.8/0"),), "critical", "0.0.0.0/0 allows"),
        ((ips("::/0", *EU),), "critical", "::/0 allows"),
        ((ips("0.0.0.0/1", "128.0.0.0/1"),), "critical", "0.0.0.0/1, 128.0.0.0/1 allow every address on the internet"),
        ((ips("0.0.0.0/1", "128.0.0.0/2"),), "critical", "0.0.0.0/1, 128.0.0.0/2 allow 75% of the internet"),
        ((ips(*(f"{first}.0.0.0/7" for first in range(0, 256, 2))),), "critical", "more allow 87% of the internet"),
        ((ips("2000::/4", "3000::/5"), ips("2000::/3")), "critical", "the internet"),
        # All IPv4 addresses in IPv6 notation.
        ((ips("::ffff:0:0/96"), ips("::ffff:0:0/95"), ips("::/64"), ips("::/1")), "critical", "allows every address"),
        ((ips("::ffff:0:0/97", "::ffff:128.0.0.0/97"),), "critical", "allow every address on the internet"),
    ],
    "allowlist-wide": [
        ((ips("8.8.8.0/23"),), "high", "8.8.8.0/23 allows far more addresses"),
        ((ips("0.0.0.0/1"),), "high", "0.0.0.0/1"),
        ((ips("2a00:1450::/63"),), "high", "2a00:1450::/63"),
        ((ips("3.80.16.0/21", **host("x.voiceconnector.chime.aws")),), "high", "3.80.16.0/21"),
        ((ips("3.80.16.0/22"), ips("185.45.152.0/22")), "high", "/22 allows far more addresses"),
        ((ips("0.0.0.0/2", "64.0.0.0/2", "10.0.0.0/8"),), "high", "0.0.0.0/2, 64.0.0.0/2 allow far more"),  # half
        ((ips("153.57.128.0/18", "8.0.0.0/8", **pbx()), ips("153.57.0.0/16", **pbx())), "high", "allows far more"),
        ((ips("203.0.112.0/23"),), "high", "203.0.112.0/23"),  # only half of it is for documentation
    ],
    "allowlist-private": [
        ((ips("10.20.0.5"),), "high", "10.20.0.5 (private) cannot be seen from outside"),
        ((ips("172.31.255.255"),), "high", "(private)"),
        ((ips("192.168.0.0/16"),), "high", "192.168.0.0/16 (private)"),
        ((ips("127.0.0.1"),), "high", "(loopback)"),
        ((ips("169.254.7.7"),), "high", "(link-local)"),
        ((ips("100.64.0.0/10"),), "high", "(CGNAT)"),
        ((ips("100.127.255.255"),), "high", "(CGNAT)"),
        ((ips("fd00::1", "::1", "fe80::1"),), "high", "fd00::1 (private), ::1 (loopback), fe80::1 (link-local)"),
        ((ips("::ffff:10.0.0.1"),), "high", "10.0.0.1 (private)"),
    ],
    "allowlist-reserved": [
        ((ips("192.0.2.0/24"),), "medium", "192.0.2.0/24 (documentation) is not used on the internet"),
        ((ips("203.0.113.10"), ips("198.51.100.1")), "medium", "(documentation)"),
        ((ips("2001:db8::1"),), "medium", "(documentation)"),
        ((ips("0.0.0.0"),), "medium", "0.0.0.0 (reserved)"),
        ((ips("240.0.0.1", "224.0.0.1"),), "medium", "240.0.0.1 (reserved), 224.0.0.1 (reserved)"),
    ],
    "allowlist-duplicate": [
        ((ips("8.8.8.8", "8.8.8.8"),), "low", "8.8.8.8 is listed 2 times"),
        ((ips("8.8.8.8", "8.8.8.8/32", "::ffff:8.8.8.8"),), "low", "8.8.8.8 is listed 3 times"),
        ((ips("8.8.8.1/24", "8.8.8.2/24"),), "low", "8.8.8.0/24 is listed 2 times"),
        ((ips("2a00::1", "2A00:0::1"),), "low", "2a00::1 is listed 2 times"),
    ],
    "allowlist-unused": [
        ((auth(**pbx()) | ips("8.8.8.8"),), "medium", 'but the allowlist has "8.8.8.8"'),
        ((auth(**pbx()) | ips("junk"),), "medium", '"junk"'),
    ],
    "allowlist-platform": [
        ((ips(*EU, "34.195.177.252"),), "medium", "34.195.177.252 belongs to the platform"),
        ((ips("143.223.88.0/24", "161.115.170.1", "8.8.8.8"),), "medium", "143.223.88.0/24, 161.115.170.1 belong to"),
        ((ips("153.57.128.0/18", **pbx()),), "medium", "153.57.128.0/18 belongs"),
    ],
    "allowlist-outlier": [
        # Each of five lists lacks one of five entries, which all others have.
        (
            tuple(ips(*(entry for entry in FIVE if entry != lacking), **host("five.example.com")) for lacking in FIVE),
            "medium",
            'missing on this trunk alone of 5 at "five.example.com"',
        ),
    ],
    "allowlist-shared": [
        ((ips("8.8.8.8") | A, ips("8.8.8.8/32", "8.8.4.4") | B), "info", "8.8.8.8 also in account"),
        ((ips("8.8.8.0/24") | A, ips("8.8.8.1/24") | B, ips("8.8.8.0/24") | A), "info", "8.8.8.0/24 also in account"),
        ((ips("2a00::1") | A, ips("2a00:0::1") | B), "info", "2a00::1 also in account"),
    ],
    "provider-ips-missing": [
        ((ips(EU[0]),), "high", "1 of 2 addresses that Telnyx (EU) sends calls from is missing"),
        ((ips(EU[0]),), "high", "add 185.246.41.141"),
        ((ips(EU[0], "8.8.8.8"),), "high", "1 of 2 addresses"),
        ((ips("8.8.8.8"),), "high", "no address that Telnyx sends calls from is listed"),
        ((ips("8.8.8.8"),), "high", "add 192.76.120.10 (US) or 185.246.41.140, 185.246.41.141 (EU) or 103."),
        ((twilio(*TWILIO[:3]),), "high", "5 of 8 addresses that Twilio (US)"),
        ((twilio(*TWILIO[:4]),), "high", "add 54.244.51.0, 54.244.51.1, 54.244.51.2, 54.244.51.3"),
        ((twilio("8.8.8.8"),), "high", "add 54.172.60.0/30, 54.244.51.0/30 (US) or 54.171.127.192/30 (IE) or"),
        ((twilio("35.156.191.128/31", "35.156.191.131"),), "high", "1 of 4 addresses that Twilio (DE)"),
        ((ips(*DIDWW[1:], **proxied("out.didww.com")),), "high", "add 46.19.209.14"),
        ((ips("46.19.209.14", **proxied("nyc.us.out.didww.com")),), "high", "6 of 7 addresses that DIDWW"),
        (
            (ips("64.16.250.10"),),
            "high",
            "only 64.16.250.10 of Telnyx's addresses is listed, not a complete set of those that it sends calls from",
        ),
        ((ips("5.172.39.25", "64.16.250.10"),), "high", "only 5.172.39.25, 64.16.250.10 of Telnyx's addresses are"),
        (
            (ips("89.149.192.7", **proxied("sip.uk.didlogic.net")),),
            "high",
            "only 89.149.192.7 of DIDLogic's addresses is",
        ),
        ((ips("192.76.120.31", **host("sip.telnyx.ca")),), "high", "add 64.16.250.13"),
        ((easybell("pbx", *EASYBELL), easybell("secure.pbx", *EASYBELL)), "high", "(cloud PBX)"),
        ((easybell("secure.sip", *EASYBELL[1:]),), "high", "1 of 3 addresses that easybell (trunk)"),
        ((ips("89.149.192.7", **proxied("sip.uk.didlogic.net")),), "high", "add 23.19.63.1 (uk)"),
        (
            (ips(*EASYBELL_TLS, **host("voip.easybell.de")),),
            "high",
            "only 212.172.204.95, 212.172.58.207 of easybell's",
        ),
        ((ips(*EASYBELL_PBX[1:], **host("voip.easybell.de")),), "high", "add 62.144.211.104"),
    ],
    "provider-ips-other": [
        ((ips(*EU, "8.8.8.8"),), "medium", "8.8.8.8 not known as Telnyx's"),
        ((ips(EU[0], "8.8.8.0/24", "2a00::1"),), "medium", "remove 8.8.8.0/24, 2a00::1"),
        ((ips(*EASYBELL, "8.8.8.8", **host("voip.easybell.de")),), "medium", "8.8.8.8 not known as easybell's"),
        ((ips("23.19.63.1", "8.8.8.8", **proxied("sip.uk.didlogic.net")),), "medium", "DIDLogic"),
        ((twilio(*TWILIO, "8.8.8.8"),), "medium", "8.8.8.8 not known as Twilio's"),
        # Wider than what the provider has.
        (
            (twilio("54.172.60.0/24", "54.244.51.0/30"),),
            "medium",
            "54.172.60.0/24 has more addresses than Twilio's; write 54.172.60.0/30 in place of 54.172.60.0/24, unless",
        ),
        (
            (ips("185.246.41.0/24"), ips(*EU, "185.246.41.136/29")),
            "medium",
            "write 185.246.41.140, 185.246.41.141 in place",
        ),
        (
            (twilio(*TWILIO, "35.156.191.0/24", "8.8.8.8"),),
            "medium",
            "8.8.8.8 not known as Twilio's and 35.156.191.0/24",
        ),
        ((ips("15.235.128.0/24", **host("pbx.zadarma.com")),), "medium", "write 15.235.128.64/28 in place"),
    ],
    "provider-calling-format": [
        (({"sip_calling_format": "national"},), "high", 'is "national", but Telnyx expects "+e164"'),
        (({"sip_calling_format": "e164"},), "high", 'set sip_calling_format to "+e164"'),
        ((proxied("out.didww.com"),), "high", 'is "+e164", but DIDWW expects "e164"'),
        ((host("sip.nexmo.com", sip_calling_format="national"),), "high", 'Vonage expects "+e164" or "e164"'),
        *(
            ((host(name, sip_calling_format="national"),), "high", 'expects "+e164"')
            for name in (
                "x.pstn.twilio.com",
                "sip.nl.didlogic.net",
                "voip.easybell.de",
                "sip.plusnet.de",
                "sip.sipcall.ch",
                "x.sip.vonage.com",
                "sip-eu.vonage.com",
                "x.pstn.de1-ix.twilio.com",
                "sip.telnyx.eu",
                "pstn.sinch.com",
                "nl.wavix.net",
                "x.zt.plivo.com",
                "sip.ringcentral.com",
                "x.voiceconnector.chime.aws",
                "sbc-nyc.five9.com",
                "x.byoc.usw2.pure.cloud",
            )
        ),
    ],
    "provider-host": [
        ((host("acme.sip.telnyx.com"),), "high", "a subdomain is inbound-only, outbound calls get 404"),
        ((host("acme.sip.telnyx.com"),), "high", 'set sip_address to "sip.telnyx.com"'),
        ((proxied("in.didww.com", sip_calling_format="e164"),), "high", 'set sip_address to "out.didww.com"'),
        ((host("sip10.ringcentral.com"),), "high", 'set sip_address to "sip.ringcentral.com"'),
        ((host("api.telnyx.com"),), "high", '"api.telnyx.com"; a web host: Telnyx takes calls at sip.telnyx.com; set'),
        ((host("telnyx.com"), host("www.didww.com", **LOGIN)), "high", "a web host: "),
        ((host("portal.wavix.net"), host("www.didlogic.net")), "high", "a web host"),
    ],
    "provider-outbound-proxy": [
        ((host("out.didww.com"), host("sip.nl.didlogic.net")), "high", "outbound_proxy is off, but DID"),
    ],
    "provider-unsupported": [
        ((host("acme.nfon.com"),), "high", "NFON is not supported"),
        ((host("sip.peoplefone.ch"), host("peoplefone.de")), "high", "Peoplefone is not supported"),
        ((host("fpbx.placetel.de"),), "high", "Placetel is not supported"),
        ((host("acme.Sipgate.de"),), "high", "Sipgate is not supported"),
        ((host("acme.cloud-cfg.com"), host("sip.nfon.net")), "high", "NFON is not supported"),
        ((host("acme.fpbx.de"),), "high", "Placetel is not supported"),
    ],
    "provider-registration": [
        ((host("reg.sip-trunk.telekom.de"), host("tel.t-online.de")), "high", "Deutsche Telekom needs SIP REGISTER at"),
        ((host("sip.1und1.de"),), "high", '1&1 needs SIP REGISTER at "sip.1und1.de"'),
    ],
    "proxy-unneeded": [
        ((proxied("sip.telnyx.com"),), "low", "outbound_proxy is on, but Telnyx does not need it"),
        ((proxied("acme.sip.vonage.com"), proxied("sip.nexmo.com")), "low", "Vonage does not need it"),
    ],
    "inbound-auth-unsupported": [
        ((auth(**host("x.pstn.twilio.com")),), "high", "Twilio sends inbound calls without one"),
        ((auth(**host("x.pstn.de1.twilio.com")),), "high", 'set inbound_authorization_type to "ip" and allow 54.172.'),
    ],
    "host-malformed": [
        ((host("sip:pbx.example.com"),), "high", "has a scheme"),
        ((host("https://pbx.example.com"),), "high", 'set sip_address to "pbx.example.com"'),
        ((host("pbx.example.com:5060"),), "high", "has a port"),
        # The host in it is wrong as well.
        (
            (host("https://api.telnyx.com/v2"), host("a.sip.telnyx.com:5060")),
            "high",
            'set sip_address to "sip.telnyx.com"',
        ),
        ((host("https://www.wavix.net"),), "high", "set sip_address to the host alone"),
        ((host("sip.telnyx.com:5060"), host("sip:sip.telnyx.com")), "high", 'set sip_address to "sip.telnyx.com"'),
        ((host("8.8.8.8:5060"),), "high", 'set sip_address to "8.8.8.8"'),
        ((host(" pbx.example.com"), host("pbx .example.com")), "high", "has spaces"),
        ((host("pbx.example.com/trunk"), host("pbx.example.com;transport=tls")), "high", "has a path or parameters"),
        ((host("me@pbx.example.com"),), "high", "has a user in it"),
        (
            (host("8.8.8"), host("192.168.1.10-20"), host("8.8.8.8a")),
            "high",
            "resembles an IP address but is not valid",
        ),
        ((host("8.8.8.8-8.8.8.20"), host("8.8.8.300")), "high", "set sip_address to the host alone"),
        ((host("sip.telnyx.123"),), "high", "ends in a part that begins with a digit"),
        ((host("a.example.com.."), host("https://a.example.com.")), "high", 'set sip_address to "a.example.com"'),
        ((host("a\x00b.example"),), "high", r'"a\x00b.example" is not a host name'),
        ((host("x" * 300 + ".example"),), "high", 'x…" is not a host name'),
    ],
    "host-platform": [
        ((host("nordnetz.sip.livekit.cloud"), host("SIP.LiveKit.Cloud.")), "high", "is the platform's own inbound"),
        (
            (host("nordnetz.sip.livekit.cloud:5060"), host("sip:a@x.sip.livekit.cloud..")),
            "high",
            "is the platform's own",
        ),
    ],
    "host-private": [
        ((host("10.0.0.1"),), "high", '"10.0.0.1" is a private address'),
        ((host("127.0.0.1"),), "high", "loopback"),
        ((host("100.64.0.1"),), "high", "CGNAT"),
        ((host("[fd00::1]"),), "high", "private"),
        ((host("192.0.2.1"),), "high", "documentation"),
        ((host("10.0.0.1:5060"), host("sip:pbx@10.0.0.1")), "high", "a private address"),
        ((host("pbx.local"), host("PBX.Lan."), host("a.b.internal")), "high", "exists only inside a network"),
        ((host("pbx.home.arpa"), host("pbx.localdomain:5060")), "high", "exists only inside a network"),
        ((host("localhost"), host("pbx-1"), host("pbx.localhost")), "high", "exists only inside a network"),
        ((host("fritz.box"), host("pbx.fritz.box"), host("speedport.ip")), "high", "exists only inside a network"),
        *(
            ((host(f"pbx.acme.{end}"), host(f"acme.{end}:5060")), "high", "a name that does not exist on the internet")
            for end in ("test", "invalid", "example", "onion")
        ),
    ],
    "host-ip": [
        ((host("8.8.8.8"),), "low", '"8.8.8.8" is a bare IP address'),
        ((host("2a00:1450::1"), host("[2a00:1450::1]")), "low", "is a bare IP address"),
    ],
    "number-missing": [((number(None), number(""), number(" \t")), "high", "phone_number is missing or blank")],
    "number-malformed": [
        ((number("+49 30 231252"),), "high", '"+49 30 231252" has spaces'),
        ((number("+49\u00a030231252"),), "high", "has spaces"),
        ((number("00493023125115"),), "high", "begins with 00 in place of +"),
        ((number("0049 (0) 30 23125115"),), "high", "write digits only; write +49 in place of the leading 00490, if"),
        (
            (number("+49(0)3023125115"),),
            "high",
            "the country; write digits only; write +49 in place of the leading +490",
        ),
        (
            (number("0011 61 2 9374 4000", "AU"),),
            "high",
            "begins with a prefix for calls abroad in place of +; write digits",
        ),
        ((number("001 49 30 231252", "SG"),), "high", "write +49 in place of the leading 00149"),
        ((number("+49 30 231252"),), "high", "has spaces; write digits only: an extension, or a DID in E.164"),
        ((number("(030)23125115"), number("+39 (0)2 12345678", "IT")), "high", "has brackets"),
        ((number("(0)2 12345678", "IT"), number("0039(0)212345678", "IT")), "high", "0"),
        ((number("+49-30-231252"), number("030/231252"), number("+")), "high", "not part of a number"),
        ((number("\u202a+4930231252"), number("+49ABC"), number("\u0661\u0662\u0663")), "high", "not part of a number"),
        ((number("1 " * 40),), "high", "a text of 80 characters has spaces"),
        (
            (number("(030) 23125115"), number("030 / 23125115")),
            "high",
            "digits only; write +49 in place of the leading 0",
        ),
        ((number("49 (0)30 231252"),), "high", "write digits only; write +49 in place of the leading 490, if it is"),
        ((number("39 (0)2 12345678", "IT"),), "high", "write digits only; write a + before it, if it is a DID"),
        ((number("(212) 555-0111", "US"), number("(0)2 12345678", "IT")), "high", "write digits only; write +"),
        (
            (number("49 30 231252"),),
            "high",
            "write digits only; write either a + before it or +49 before it, if it is a",
        ),
    ],
    "number-too-long": [
        ((number("+" + "4" * 16), number("4" * 16), number("a" * 16)), "high", "has 16 digits or characters"),
        ((number("+49 " + "4" * 15), number("0049" + "4" * 15)), "high", "has 17 digits"),
    ],
    "number-invalid": [
        ((number("+4402079460108", "GB"),), "high", "cannot be a number of +44: wrong length, or no such area"),
        ((number("+491"), number("+49 1")), "high", "cannot be a number of +49"),
        ((number("+1212555011", "US"), number("+121255501111", "US")), "high", "cannot be a number of +1"),
        ((number("+999123"),), "high", "does not begin with a calling code"),
        ((number("+1000"),), "high", '"+1000" cannot be a number'),
        ((number("+999" + "1" * 12),), "high", "does not begin with a calling code"),  # 15 digits: not too long
    ],
    "number-without-plus": [
        ((number("498999998432"),), "medium", '"498999998432" appears to be a DID, but lacks the +'),
        ((number("498999998432"),), "medium", "write a + before it, if it is a DID"),
        ((number("498999998432", None),), "medium", "write a + before it"),
        ((number("0741926265", "RO"), number("0741926265")), "medium", "in place of the leading 0, if it is a DID"),
        ((number("0212345678", "IT"), number("3471234567", "it")), "medium", "write +39 before it"),
        # Both are valid: the number of Berlin, and one of the area 4930.
        (
            (number("4930231252"), number("4915112345678"), number("62812345678", "ID")),
            "medium",
            "write either a + before it or +",
        ),
        ((number("4930231252", "de"),), "medium", "or +49 before it, if it is a DID"),
        (
            (number("33142685300", "FR"), number("442079460108", "GB"), number("41445550117", "CH")),
            "medium",
            "a + before",
        ),
        ((number("89161234567", "RU"),), "medium", "write +7 in place of the leading 8"),
        ((number("0612345678", "HU"),), "medium", "write +36 in place of the leading 06"),
        ((number("01149301234567", "US"),), "medium", "write +49 in place of the leading 01149"),
        ((number("13123456789", "CN"),), "medium", "write +86 before it"),
        ((number("2125550111", "us"),), "medium", "write +1 before it"),
        # The 15 before a mobile number of Argentina becomes a 9.
        ((number("0111523456789", "AR"),), "medium", "write it in E.164, such as +14155551234, if it is a DID"),
        ((number("0741926265", None), number("0741926265", "ZZ")), "medium", "write it in E.164, such as"),
    ],
    "number-country": [
        ((number("+12125550111"),), "medium", "appears to be a DID of +1 (United States and others)"),
        ((number("+4930231252", "US"),), "medium", "appears to be a DID of +49 (Germany), but country_code is US (+1)"),
        ((number("+38328012345", "RS"), number("+383 28 012345", "rs")), "medium", "country_code is RS (+381)"),
        ((number("+441481960194", "FR"), number("00441481960194", "FR")), "medium", "+44 (United Kingdom and others)"),
        ((number("+77272501234", "UZ"),), "medium", "+7 (Russia and others), but country_code is UZ (+998)"),
        ((number("00498999998432", "AT"),), "medium", "appears to be a DID of +49"),
    ],
    "country-unknown": [
        ((number("1000", "ZZ"), number("1000", "DEU"), number("1000", "49")), "medium", "which is not a country code"),
        ((number("1000", "de"), number("1000", " DE")), "medium", "set country_code to DE"),
        ((number("1000", "UK"), number("1000", "uk")), "medium", "an alias: United Kingdom is GB"),
        ((number("1000", "xk"),), "medium", "Kosovo is XK"),
        ((number("1000", None), number("1000", ""), number("1000", " ")), "medium", "country_code is missing or blank"),
    ],
    "duplicate-trunk": [
        (({}, {}), "critical", "same number, username and SIP address as trunk"),
        ((host(None, sip_username=None), host(None, sip_username="")), "critical", "same number, username"),
        ((number("+49 ABC"), number("+49 ABC")), "critical", "same number, username"),
    ],
    "duplicate-number": [
        (({}, number("+49 30 231252"), number("004930231252"), number("+49 (0) 30 231252")), "high", "same number as"),
        (({}, number("004930231252", **host("x.pstn.twilio.com"))), "high", "same number as trunk"),
        ((number("1000"), number("10.00")), "high", "same number as trunk"),
        ((number("0212345678", "IT"), number("+39 (0)2 12345678", "IT")), "high", "same number as trunk"),
        ((number("13123456789", "CN"), number("+8613123456789", "US")), "high", "same number as trunk"),
    ],
    "duplicate-across-accounts": [
        ((A, B), "high", "same number as trunk"),
        ((A, B | number("+49 30 231252")), "high", "of account"),
        (({"account": "x" * 70 + "1"}, {"account": "x" * 70 + "2"}), "high", 'x…"'),  # alike only where they are cut
        ((A | number("498999998432"), B | number("+498999998432")), "high", "same number as trunk"),
        ((A | number("4930231252"), B), "high", "same number as trunk"),  # by the likelier of two readings
    ],
    "inbound-number-conflict": [
        (({}, LOGIN), "high", "same inbound number as trunk"),
        (({}, host("x.pstn.twilio.com")), "high", "and several of them admit the same callers"),
        # A caller can claim a name that both lists have.
        (
            (ips("pbx.acme.com"), ips("PBX.acme.com", "8.8.8.8") | LOGIN),
            "high",
            "several of them admit the same callers",
        ),
        ((ips("pbx", "8.8.4.4"), ips("pbx", "8.8.8.8") | LOGIN), "high", "several of them admit the same callers"),
        ((ips("pbx.acme.com"), ips("sip.acme.com") | LOGIN), "info", "none of them admits the callers of this one"),
        ((number("1000"), number("+1000"), number("10-00"), number("(10 00)")), "high", "same inbound number as trunk"),
        ((ips("8.8.8.0/24"), ips("8.8.8.8") | LOGIN), "high", "several of them admit the same callers"),
        # One trunk admits everybody: by password, without an allowlist or entry that counts, or by a type nobody knows.
        *(
            ((ips("8.8.8.8"), row | LOGIN), "high", "several of them admit the same callers")
            for row in (
                auth(),
                ips(),
                ips(" 8.8.4.4"),
                ips("0.0.0.0/0"),
                ips("::/0"),
                {"inbound_authorization_type": None},
            )
        ),
        ((auth(), auth() | LOGIN), "high", "several of them admit the same callers"),
        ((ips("8.8.8.8"), ips("8.8.4.4") | LOGIN), "info", "but none of them admits the callers of this one"),
        (
            (ips("8.8.8.8"), ips("2a00::1", "8.8.8.8:5060") | LOGIN),
            "info",
            "but none of them admits the callers of this one",
        ),
    ],
    "exposure-password": [
        ((auth(),), "high", "authorized by password, but Telnyx sends calls from fixed addresses"),
        ((auth(),), "high", "allow 192.76.120.10 (US) or 185.246.41.140, 185.246.41.141 (EU) or"),
        ((auth(**proxied("sip.uk.didlogic.net")),), "high", "allow 23.19.63.1 (uk)"),
        ((auth(**proxied("sip.xx.didlogic.net")),), "high", "allow the addresses that DIDLogic names for this host"),
        ((auth(**host("voip.easybell.de")),), "medium", "easybell"),
    ],
    "exposure-username-blank": [
        (
            (auth(sip_username=None, **pbx()), auth(sip_username=" ", **host(None)), auth(sip_username="", **pbx())),
            "critical",
            "there is no username, so every source is admitted (inferred); set sip_username and a password",
        ),
        # A password only where the provider can send one.
        ((auth(sip_username=None, **host("x.pstn.twilio.com")),), "critical", 'to "ip" and allow 54.172.60.0/30'),
        ((auth(sip_username=None), auth(sip_username="\t")), "critical", 'to "ip" and allow 192.76.120.10 (US) or'),
        ((auth(sip_username=None, **host("out.didww.com")),), "critical", "set sip_username and a password"),
        (({"sip_username": ""},), "medium", "outbound calls come without a username"),
    ],
    "exposure-username-number": [
        (({"sip_username": "+4930231252"}, {"sip_username": "4930231252"}), "medium", "is the number itself"),
        (({"sip_username": "+49 30 231252"}, {"sip_username": "004930231252"}), "medium", "is the number itself"),
        ((number("030231252", sip_username="4930231252"),), "medium", "is the number itself"),
        ((number("1000", sip_username="1000"),), "medium", "is the number itself"),
        # Whatever the number is: a name, or nothing that can be called.
        ((number("admin", sip_username="admin"),), "medium", "is the number itself"),
        ((number("+49 ABC", sip_username="+49 ABC"),), "medium", "is the number itself"),
    ],
    "exposure-username-default": [
        (({"sip_username": "admin"},), "high", 'sip_username is "admin"'),
        (({"sip_username": "ADMIN"}, {"sip_username": "Test"}, {"sip_username": "1234"}), "high", "sip_username is "),
        ((number(None, sip_username="asterisk"),), "high", "asterisk"),
    ],
    "exposure-shared-credential": [
        ((number("1"), number("2"), number("3")), "low", "same username at the same host as trunk"),
        ((host("SIP.Telnyx.com"), host("sip.telnyx.com."), {}), "low", "same username at the same host"),
        ((host(None), host(None, **number("1")), host("", **number("2"))), "low", "same username at the same host"),
    ],
    "username-length": [
        (({"sip_username": "ab"},), "medium", "sip_username has a length of 2"),
        (({"sip_username": "7"}, {"sip_username": "é"}), "medium", "a length of 1"),
        ((auth(sip_username="x" * 129),), "medium", "choose a username of 3 to 128 characters"),
    ],
    "format-outlier": [
        (
            (pbx(), *[pbx(sip_calling_format="+e164")] * 3),
            "medium",
            '3 of 4 trunks at "pbx.example.com" have "+e164"',
            1,
        ),
        ((pbx(sip_calling_format="e164"), pbx(sip_calling_format="+e164"), *[pbx()] * 6), "medium", "6 of 8 trunks", 2),
        ((host("A.PBX.example.", sip_calling_format="e164"), *[host("a.pbx.example")] * 3), "medium", 'to "+e164"', 1),
        ((pbx(**host("pbx.zadarma.com")), *[host("pbx.zadarma.com")] * 3), "medium", "3 of 4 trunks", 1),
        ((pbx(), pbx(country_code="FR"), *[pbx(sip_calling_format="+e164")] * 6), "medium", "6 of 8 trunks", 2),
    ],
    "format-national-countries": [
        ((pbx(), pbx(country_code="FR")), "medium", '"pbx.example.com" gets national numbers of Germany, France'),
        ((pbx(country_code="uk"), pbx(country_code="de")), "medium", "of Germany, United Kingdom"),
        ((pbx(**host("PBX.example.com.")), pbx(country_code="AT"), pbx(country_code="XK")), "medium", "Kosovo"),
    ],
    "value-unknown": [
        (({"sip_calling_format": "E164"},), "medium", 'sip_calling_format is "E164", not +e164 or e164 or national'),
        (({"sip_calling_format": None}, {"sip_calling_format": " "}), "medium", "sip_calling_format is missing"),
        (({"inbound_authorization_type": "IP"},), "medium", 'inbound_authorization_type is "IP", not auth or ip'),
        (({"inbound_authorization_type": None},), "medium", "inbound_authorization_type is missing"),
        (({"outbound_proxy": None},), "medium", "outbound_proxy is missing"),
        (({"sip_calling_format": "x", "outbound_proxy": None},), "medium", '"x", not +e164 or e164 or national; out'),
    ],
    "value-unreadable": [
        *(
            ((sent_as(allowed_inbound_ips=text),), "high", f'allowed_inbound_ips cannot be read: "{text}" was not sent')
            for text in ('{"0":"8.8.8.8"}', "8.8.8.8", '["0.0.0.0/0"]', "", "[1]")
        ),
        (
            (sent_as(phone_number="4930231252"),),
            "high",
            'phone_number cannot be read: "4930231252" was not sent as text',
        ),
        ((sent_as(inbound_authorization_type="1"),), "high", "inbound_authorization_type cannot be read"),
        ((sent_as(country_code="49"),), "medium", 'country_code cannot be read: "49" was not sent as text'),
        ((sent_as(outbound_proxy="1"), sent_as(outbound_proxy="")), "medium", "was not sent as true or false"),
        ((sent_as(sip_calling_format="1"),), "medium", "sip_calling_format cannot be read"),
        ((sent_as(sip_username="5"), sent_as(sip_username="5" * 99)), "medium", "sip_username cannot be read"),
        ((sent_as(sip_address="1"),), "medium", "sip_address cannot be read"),
        (
            (sent_as(country_code="49", phone_number="1"),),
            "high",
            'read: "1" was not sent as text; country_code cannot',
        ),
    ],
}


# rule: [trunks, none of which is found]
NEGATIVE: dict[str, list[tuple[Row, ...]]] = {
    "allowlist-empty": [
        ({},),
        (auth(),),
        (ips("junk"),),
        (ips(inbound_authorization_type=None),),
        (sent_as(allowed_inbound_ips="8.8.8.8"),),
    ],
    "allowlist-invalid": [
        (ips("8.8.8.8", "8.8.8.0/24", "8.8.8.7/24", "2a00::1", "2a00::/64", "::ffff:8.8.8.8"), ips("::ffff:0:0/96")),
        (ips("::ffff:10.0.0.1", "::ffff:192.0.2.1"),),  # allowlist-private and allowlist-reserved
        (ips("junk", inbound_authorization_type="auth"), ips("junk", inbound_authorization_type=None)),
        (ips(), {"allowed_inbound_ips": None}),
    ],
    "allowlist-open": [
        (ips("0.0.0.0", "0.0.0.0/1", "::"), ips("2000::/4", "4000::/2"), ips("::fffe:0:0/96")),
        (ips("0.0.0.0/0", inbound_authorization_type="auth"),),
    ],
    "allowlist-wide": [
        (ips("8.8.8.0/24", "2a00::/64", "8.8.8.8"),),
        (ips("0.0.0.0/0", "::/0"), ips("0.0.0.0/1", "128.0.0.0/2")),  # worse
        (ips("10.0.0.0/8", "100.64.0.0/10", "192.0.2.0/24"),),  # private or reserved is what is wrong with these
        (ips("8.0.0.0/8", inbound_authorization_type="auth"),),
        (ips("3.80.16.0/23", "3.80.16.0/22", **host("x.voiceconnector.chime.aws")),),
        (ips("185.45.154.0/23", **host("pbx.zadarma.com")), ips("185.45.154.0/23", **pbx())),  # Zadarma's two /24
        (ips("153.57.128.0/18", "143.223.88.0/22", **pbx()),),  # the platform's is what is wrong with these
    ],
    "allowlist-private": [
        (ips("172.15.255.255", "172.32.0.0", "192.167.0.1", "11.0.0.1", "100.63.255.255", "100.128.0.0"),),
        (ips("2a00::1", "192.0.2.1", "0.0.0.0/0"),),
        (ips("10.0.0.1", inbound_authorization_type="auth"),),
    ],
    "allowlist-reserved": [(ips("192.0.3.1", "10.0.0.1", "2a00::1", "223.255.255.255", "0.0.0.0/0"),)],
    "allowlist-duplicate": [
        (ips("8.8.8.8", "8.8.8.0/24", "8.8.4.4"),),
        (ips("8.8.8.8"), ips("8.8.8.8")),
        (ips("junk", "junk"), ips("8.8.8.8", "8.8.8.8:5060")),  # invalid is what is wrong with these
    ],
    "allowlist-unused": [
        ({},),
        (auth(), auth(allowed_inbound_ips="[]")),
        ({"inbound_authorization_type": None},),
        # The authorization by password is what is wrong with these.
        (auth() | ips(*EU), auth(**host("x.pstn.twilio.com")) | ips(*TWILIO)),
        (auth(**pbx(), sip_username=None) | ips("8.8.8.8"),),
    ],
    "allowlist-platform": [
        ({}, ips("34.195.177.251", "143.223.96.0", "34.0.0.0/8"), ips("34.195.177.252:5060"), ips("0.0.0.0/0")),
        (ips("34.195.177.252", inbound_authorization_type="auth"),),
    ],
    "allowlist-outlier": [
        same_host(*["8.8.8.8"] * 2, "8.8.4.4"),  # three are too few
        same_host(*["8.8.8.8"] * 4),
        same_host(*["8.8.8.8"] * 2, *["8.8.4.4"] * 2),
        same_host("8.8.8.8 1.1.1.1", "8.8.8.8 1.1.1.2", "8.8.8.8 1.1.1.3", "8.8.8.8 1.1.1.4"),  # meant to be so
        same_host(*["8.8.8.0/24"] * 3, "8.8.8.8 8.8.8.0/24"),
        same_host(*["8.8.8.8"] * 3, "8.8.8.8:5060 10.0.0.1 0.0.0.0/0"),  # each has a finding of its own
        same_host(*["8.8.8.8"] * 3, ""),  # empty is worse
        same_host(*["8.8.8.8"] * 3, "10.0.0.1"),  # it stands for the missing one
        same_host(*["8.8.8.8"] * 3, "junk"),
        # Each region has a gateway of its own, and the catalog does not list it.
        tuple(ips(f"8.8.8.{n}", **host(f"gw{n // 3}.wavix.net")) for n in (1, 1, 1, 4, 4, 4, 7)),
        same_host(*[" ".join(US)] * 4, "8.8.8.8", address="sip.telnyx.com"),  # provider-ips-missing
        (*same_host(*["8.8.8.8"] * 3, address="one.example.com"), *same_host("8.8.4.4", address="two.example.com")),
        (*(ips("8.8.8.8", account="a", **pbx()),) * 3, ips("8.8.4.4", account="b", **pbx())),
        same_host(*["8.8.8.8"] * 3, "8.8.4.4", address=None),
        # What the catalog lists for the provider, and a complete group.
        same_host(*["192.76.120.10"] * 3, "185.246.41.140 185.246.41.141", address="sip.telnyx.com"),
        same_host(*["192.76.120.10 8.8.8.8"] * 3, "185.246.41.140 185.246.41.141", address="sip.telnyx.com"),
        same_host(*["185.246.41.140 185.246.41.141"] * 3, "185.246.41.140", address="sip.telnyx.com"),
        same_host(*["192.76.120.10"] * 3, "192.76.120.10 34.195.177.252", address="sip.telnyx.com"),  # the platform's
        same_host(*["192.76.120.10"] * 3, "192.76.120.10 8.8.8.8", address="sip.telnyx.com"),  # provider-ips-other
        (
            *same_host(*["89.149.192.7"] * 3, address="sip.nl.didlogic.net"),
            *same_host("8.8.8.8", address="didlogic.net"),
        ),
        (*same_host(*["8.8.8.8"] * 3), *same_host("8.8.4.4", inbound_authorization_type="auth")),
    ],
    "allowlist-shared": [
        (ips("34.195.177.252") | A, ips("34.195.177.252") | B),  # the platform's
        (ips("8.8.8.8") | A, ips("8.8.4.4") | B),
        (ips("8.8.8.8") | A, ips("8.8.8.8") | A),
        (ips("8.8.8.8") | A, ips("8.8.8.8", inbound_authorization_type="auth") | B),
        (A, B),  # the provider's
        (ips("10.0.0.1", "192.0.2.1", "8.0.0.0/8", "junk") | A, ips("10.0.0.1", "192.0.2.1", "8.0.0.0/8", "junk") | B),
    ],
    "provider-ips-missing": [
        (ips(*US), ips(*EU), ips(*AU), ips(*EU, AU[0])),
        (ips("185.246.41.0/24"), ips("0.0.0.0/0")),
        (ips(f"{EU[0]}:5060", EU[1]),),  # invalid, but it is clear what was meant
        (twilio(*TWILIO), twilio("54.244.51.0/30", "54.172.60.0/30"), twilio("35.156.191.128/30")),
        (twilio(*(f"54.65.63.{last}" for last in range(192, 196))), twilio("177.71.206.192/31", "177.71.206.194/31")),
        (easybell("voip", *EASYBELL), easybell("voip", *EASYBELL_PBX), easybell("secure.sip", *EASYBELL_PBX)),
        (easybell("pbx", *EASYBELL_PBX), easybell("secure.pbx", *EASYBELL_PBX)),
        (ips(*DIDWW, **proxied("out.didww.com")), ips(*DIDWW, **proxied("hk.out.didww.com"))),
        (ips("23.19.63.1", **proxied("sip.uk.didlogic.net")), ips("8.8.8.8", **proxied("sip.xx.didlogic.net"))),
        (
            ips("8.8.8.8", **host("pbx.example.com")),
            ips("8.8.8.8", **host(None)),
            ips("8.8.8.8", **host("pbx.zadarma.com")),
            ips("216.147.0.1", **host("sip-eu.vonage.com")),
            ips("8.8.8.8", **proxied("didlogic.net")),
        ),
        (ips(), ips("8.8.8.8", inbound_authorization_type="auth"), ips("8.8.8.8", inbound_authorization_type=None)),
        # What is wrong with the list names the provider's addresses already.
        (ips("junk"), ips("10.0.0.1"), ips(EU[0], "185.246.41.l41"), ips("::/0"), ips("sip.telnyx.com")),
    ],
    "provider-ips-other": [
        (
            ips(*EU),
            ips(*EU, *US),
            ips("185.246.41.140/31"),
            twilio("54.172.60.0/30", "54.244.51.0/31", "54.244.51.2/31"),
        ),
        (ips(*EASYBELL, *EASYBELL_TLS, *EASYBELL_PBX, **host("voip.easybell.de")),),
        (ips(*EU, "64.16.250.10", "5.172.39.25", "193.108.220.10"), twilio(*TWILIO, "54.252.254.64/30")),
        (ips(*EU, "34.195.177.252"),),  # the platform's, which is worse
        (ips("185.45.152.0/24", "8.8.8.8", **host("pbx.zadarma.com")),),  # its addresses are not confirmed
        (ips(*EU, "10.0.0.1", "192.0.2.1", "8.0.0.0/8", "0.0.0.0/0", "junk"),),  # each has a finding of its own
        (ips("8.8.8.8"),),  # so that the provider's are missing
        (ips(*EU, "8.8.8.8", inbound_authorization_type="auth"),),
        (ips("8.8.8.8", **host("pbx.example.com")), ips("8.8.8.8", **host("pbx.zadarma.com"))),
    ],
    "provider-calling-format": [
        ({}, proxied("out.didww.com", sip_calling_format="e164")),
        (host("pbx.zadarma.com", sip_calling_format="national"), pbx(), host(None, sip_calling_format="national")),
        ({"sip_calling_format": "E164"}, {"sip_calling_format": None}),
        (host("acme.nfon.com", sip_calling_format="national"),),
        (host("sip.nexmo.com"), host("sip.nexmo.com", sip_calling_format="e164")),
        (proxied("sg.out.didww.com", sip_calling_format="e164"), host("sip.telnyx.com.au")),
    ],
    "provider-host": [
        ({}, host("SIP.Telnyx.COM."), host("out.didww.com"), host("sip.ringcentral.com")),
        (host("sip.telnyx.eu"), host("sip.telnyx.com.au"), host("ams.eu.out.didww.com"), host("acme.sip.telnyx.ca")),
        (host("didlogic.net"), host("nl.wavix.net"), host("www.pstn.twilio.com.acme.com"), host("www.acme.com")),
        (host("a.pstn.twilio.com"), host("eviltelnyx.com"), host("telnyx.com.example"), host(None)),
    ],
    "provider-outbound-proxy": [
        (proxied("out.didww.com"), proxied("sip.nl.didlogic.net")),
        ({}, host("out.didww.com", outbound_proxy=None), host("notdidww.com"), host(None)),
    ],
    "provider-unsupported": [({}, host("notsipgate.de"), host("sipgate.de.example"), host("nfon.example"), host(None))],
    "provider-registration": [
        ({}, host("stat.sip-trunk.telekom.de"), host("1und1.de"), host("xtel.t-online.de.example"), host(None)),
    ],
    "proxy-unneeded": [
        ({}, proxied("out.didww.com"), proxied("sip.nl.didlogic.net"), proxied("pstn.sinch.com"), proxied("a.example")),
        (proxied("sip.telnyx.com", sip_username=None),),  # the provider knows the platform by its address
        (proxied("stat.sip-trunk.telekom.de"), proxied("acme.nfon.com"), {"outbound_proxy": None}),
    ],
    "inbound-auth-unsupported": [
        ({}, twilio(*TWILIO), auth(), auth(**host("x.twilio.com")), auth(**host(None))),
        (auth(sip_username=None, **host("x.pstn.twilio.com")),),  # nobody is asked for one, which is worse
    ],
    "host-malformed": [
        ({}, host("SIP.Example.com."), host("_sip._udp.example.com"), host("8.8.8.8"), host("[2a00::1]")),
        (host(None), host(""), host(" ")),
        # The host in them is wrong, too.
        (host("x.sip.livekit.cloud:5060"), host("10.0.0.1:5060"), host("pbx.local:5060"), host("localhost")),
        (host("xn--mnchen-3ya.example"), host("a.xn--p1ai"), host("3cx.example.com")),
    ],
    "host-platform": [({}, host("notsip.livekit.cloud"), host("sip.livekit.cloud.example"), host(None), host(""))],
    "host-private": [
        ({}, host("8.8.8.8"), host("2a00::1"), host("10.0.0.example.com"), host(None)),
        (host("local.example.com"), host("pbx.local.acme.com"), host("a.notlocal"), host("8.8.8.8:5060")),
        (host("test.acme.com"), host("invalid.acme.net"), host("acme.contest"), host("onion.acme.org")),
    ],
    "host-ip": [({}, host("10.0.0.1"), host("8.8.8.8:5060"), host("8.8.8.0/24"), host("8.8.8"), host(None))],
    "number-missing": [({}, number("0"), number("+"), sent_as(phone_number="1"))],
    "number-malformed": [
        ({}, number("1000"), number("007"), number("00"), number("ext-100"), number("*100#"), number("front.desk_1")),
        (number("+999123"), number("4" * 16), number("0741926265"), number(None), number(" ")),
        (number("+49 1"), number("+49 (30) 1")),  # number-invalid: another number is needed
    ],
    "number-too-long": [
        (number("+" + "4" * 15), number("4" * 15), number("a" * 15), number("00" + "4" * 15)),
        (number("+49 (0) 30 / 2312 - 5115"), number(None), {}),
    ],
    "number-invalid": [
        ({}, number("1000"), number("0741926265"), number("498999998432"), number("00493023125115")),
        (number("+80012345678"), number("+14165550123"), number("+38328012345"), number("+77272501234")),
        (number("+" + "4" * 16), number("+49 ABC"), number(None)),
    ],
    "number-without-plus": [
        ({}, number("1000"), number("12345678"), number("reception"), number(None)),
        (number("4" * 16), number("00493023125115"), number("\u202a+4930231252"), number("+49 30 231252")),
        # number-malformed reports these.
        (number("(030) 23125115"), number("02 1234 5678", "IT"), number("49 30 231252")),
        # Extensions, or numbers of another country: the country has no such number.
        (
            number("1" * 15),
            number("1" * 15, None),
            number("1000000001"),
            number("0000000042"),
            number("0741926265", "US"),
        ),
        (number("12125550111"), number("498999998432", "AT"), number("1234567890", "US"), number("13123456789")),
    ],
    "number-country": [
        tuple(number("+14165550123", country) for country in ("US", "CA", "JM", "PR", "us")),
        (number("+18765550123", "JM"), number("+12125550111", "CA")),
        (number("+441481960194", "GG"), number("+441481960194", "GB"), number("+442079460108", "UK")),
        (number("+77272501234", "KZ"), number("+77272501234", "RU"), number("+74951234567", "RU")),
        (number("+38328012345", "XK"), number("+80012345678"), number("1000", "US"), number("0741926265", "US")),
        (number("+12125550111", None), number("+12125550111", "ZZ"), number("+12125550111", "AQ"), number(None)),
        (number("+1212555011"),),  # no number, so that it is of no country
        (number("001 49 30 231252", "SG"), number("13123456789", "CN"), number("498999998432", "AT")),
    ],
    "country-unknown": [
        tuple(number("1000", country) for country in ("DE", "GB", "XK", "US", "GG", "AQ")),
        (sent_as(country_code="49"),),
    ],
    "duplicate-trunk": [
        ({}, LOGIN, host("x.pstn.twilio.com"), host("SIP.telnyx.com"), number("+49 30 231252")),
        (A, B),
        (number(None), number("")),
        ({}, {"sip_username": None}, host(None)),
        (sent_as(sip_username="5"), sent_as(sip_username="6")),
    ],
    "duplicate-number": [
        ({}, {}),  # worse
        ({}, LOGIN, number("+49 30 231252")),  # equal for the infrastructure, without reading them
        (number("1000"), number("1000", **host("pbx.example.com"))),
        (number("13123456789", "CN"), number("+13123456789", "US"), number("13123456789")),
        (number("0741926265", "RO"), number("0741926265")),  # one number in Romania, another one in Germany
        (A, B, number("+4930231299")),
        (number(None), number(None) | LOGIN),
        (number("0100"), number("100")),
    ],
    "duplicate-across-accounts": [
        (A | number("1000"), B | number("1000")),
        (A, A | LOGIN),
        (A | number(None), B | number(None)),
        (A, B | number("+4930231299")),
        (A | number("100000000001"), B | number("100000000001")),  # may be extensions
    ],
    "inbound-number-conflict": [
        ({}, {}),  # worse
        (number(None), number(None) | LOGIN, sent_as(phone_number="1"), sent_as(phone_number="1") | LOGIN),
        (A, B),
        ({}, number("004930231252"), number("+49.30.231252"), number("+49/30/231252")),  # not equal before reading them
        (number("1000"), number("01000")),
    ],
    "exposure-password": [
        ({}, {"inbound_authorization_type": None}, {"inbound_authorization_type": "AUTH"}),
        (
            auth(**host("sip.plusnet.de")),
            auth(**host("pbx.example.com")),
            auth(**host(None)),
            auth(**host("out.didww.com")),
            auth(**host("x.pstn.twilio.com")),  # it cannot send one, which is worse
            auth(sip_username=None),  # nobody is asked for one, which is worse
        ),
    ],
    "exposure-username-blank": [
        ({}, auth(), sent_as(sip_username="5")),
        ({"sip_username": None, "outbound_proxy": True}, {"sip_username": None, "outbound_proxy": None}),
        (host(None, sip_username=None),),  # inbound only, by allowlist
        (host("out.didww.com", sip_username=None),),  # the proxy is what is missing
    ],
    "exposure-username-number": [
        ({}, {"sip_username": "+4930231253"}, {"sip_username": "x4930231252"}, number(None, sip_username=None)),
        (number("reception"), number("reception", sip_username="Reception-1")),
        (easybell("voip", *EASYBELL, sip_username="004930231252"), host("acme.sipgate.de", sip_username="+4930231252")),
        (host("voip.easybell.de:5060", sip_username="+4930231252"),),
    ],
    "exposure-username-default": [
        ({}, {"sip_username": "admin-7"}, {"sip_username": None}, {"sip_username": " "}),
        (number("100", sip_username="100"), number("admin", sip_username="admin")),  # its own number
    ],
    "exposure-shared-credential": [
        (number("1"), number("2")),
        ({}, {}, host("pbx.example.com"), host(None)),
        ({}, {}, {}),  # twins are worse
        tuple({"sip_username": "admin", **number(str(n))} for n in range(3)),
        ({}, {}, A, B),
        ({"sip_username": None},) * 3,
        ({}, LOGIN, LATEST),
    ],
    "username-length": [
        ({"sip_username": "abc"}, {"sip_username": "x" * 128}, {"sip_username": None}, {"sip_username": " "}),
        (number(None, sip_username="100"), number("12", sip_username="12")),
    ],
    "format-outlier": [
        (*[pbx(sip_calling_format="+e164")] * 2, pbx()),  # too few to compare
        (*[pbx(sip_calling_format="+e164")] * 4, pbx(), pbx()),  # two of six: the host may take both
        (*[pbx(sip_calling_format="+e164") | A] * 3, pbx() | B),
        (*[pbx(sip_calling_format="+e164")] * 3, pbx(**host("pbx.example.net"))),
        (*[{}] * 3, {"sip_calling_format": "e164"}),  # worse: the catalog has the provider's format
        (*[{"sip_calling_format": "e164"}] * 3, {}),
        (*[pbx(sip_calling_format="+e164")] * 4, pbx(sip_calling_format="E164"), pbx(sip_calling_format=None)),
        (*[host(None)] * 3, host(None, sip_calling_format="e164")),
        # National numbers of several countries are what is wrong at this host.
        (*[pbx(), pbx(country_code="FR")] * 2, pbx(sip_calling_format="+e164")),
    ],
    "format-national-countries": [
        (pbx(), pbx()),
        (pbx(), pbx(country_code="FR", sip_calling_format="+e164")),
        (pbx(), pbx(country_code="FR", **host("pbx.example.net"))),
        (pbx(country_code="UK"), pbx(country_code="GB"), pbx(country_code="gb")),
        (pbx() | A, pbx(country_code="FR") | B),
        (pbx(**host(None)), pbx(country_code="FR", **host(None))),
        (pbx(), pbx(country_code=None), pbx(country_code="ZZ")),
        (pbx(**host("sip.telnyx.com")), pbx(**host("sip.telnyx.com"), country_code="FR")),  # the provider wants another
    ],
    "value-unknown": [
        tuple({"sip_calling_format": value} for value in ("+e164", "e164", "national")),
        (auth(), {"outbound_proxy": True}),
        (sent_as(sip_calling_format="1", inbound_authorization_type="1", outbound_proxy="1"),),
    ],
    "value-unreadable": [
        ({}, auth(), ips(), {"sip_calling_format": "x", "outbound_proxy": None, "country_code": None})
    ],
}
