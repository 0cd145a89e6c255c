# Singer: the tap for any REST API, piped into the target named: singer.sh duckdb | parquet
#
# With the schema given the tap does not ask the API a second time to find it out. It asks for the next page wherever
# it is told to look; there is none.
set -e
cat > tap.json <<END
{
  "api_url": "$BENCH_BASE_URL",
  "auth_method": "bearer_token",
  "bearer_token": "$BENCH_TOKEN",
  "next_page_token_path": "$.next_page",
  "streams": [
    {
      "name": "sip_trunks",
      "path": "/user/phone-numbers/sip-trunks",
      "records_path": "$.data[*]",
      "primary_keys": ["id"],
      "schema": {
        "type": "object",
        "properties": {
          "id": {"type": "integer"},
          "phone_number": {"type": "string"},
          "sip_username": {"type": "string"},
          "sip_address": {"type": "string"},
          "sip_calling_format": {"type": "string"},
          "inbound_authorization_type": {"type": "string"},
          "allowed_inbound_ips": {"type": ["null", "string"]},
          "outbound_proxy": {"type": "boolean"},
          "country_code": {"type": "string"},
          "created_at": {"type": "string", "format": "date-time"},
          "updated_at": {"type": "string", "format": "date-time"}
        }
      }
    }
  ]
}
END
# A batch that holds everything is loaded, and merged by key, once.
cat > duckdb.json <<END
{"path": "current.duckdb", "default_target_schema": "main", "batch_size_rows": 2000000}
END
cat > parquet.json <<END
{"destination_path": "lake"}
END
tap-rest-api-msdk --config tap.json | "target-$1" --config "$1.json"
