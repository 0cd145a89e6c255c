"""PyAirbyte: a declarative manifest, read into its DuckDB cache."""

import os

import airbyte  # type: ignore[import-not-found]
from airbyte.caches import DuckDBCache  # type: ignore[import-not-found]

PROPERTIES = {
    "id": {"type": "integer"},
    "phone_number": {"type": "string"},
    "sip_username": {"type": "string"},
    "sip_address": {"type": "string"},
    "sip_calling_format": {"type": "string"},
    "inbound_authorization_type": {"type": "string"},
    "allowed_inbound_ips": {"type": ["null", "array"], "items": {"type": "string"}},
    "outbound_proxy": {"type": "boolean"},
    "country_code": {"type": "string"},
    "created_at": {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
    "updated_at": {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
}
MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["sip_trunks"]},
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": "sip_trunks",
            "primary_key": ["id"],
            "schema_loader": {
                "type": "InlineSchemaLoader",
                "schema": {"type": "object", "properties": PROPERTIES},
            },
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": os.environ["BENCH_BASE_URL"],
                    "path": "/user/phone-numbers/sip-trunks",
                    "http_method": "GET",
                    "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['token'] }}"},
                },
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
                },
            },
        }
    ],
    "spec": {
        "type": "Spec",
        "connection_specification": {
            "type": "object",
            "required": ["token"],
            "properties": {"token": {"type": "string", "airbyte_secret": True}},
        },
    },
}

if __name__ == "__main__":
    source = airbyte.get_source(
        "source-famulor",
        config={"token": os.environ["BENCH_TOKEN"]},
        source_manifest=MANIFEST,
        streams="*",
    )
    source.read(cache=DuckDBCache(db_path="current.duckdb", schema_name="main"))
