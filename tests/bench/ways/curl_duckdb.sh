# curl, then DuckDB's own JSON reader: curl_duckdb.sh bare | object
#
# With the columns named it has nothing to find out. With one thread, because both kinds of answer are read by one: a
# second takes more CPU, and no less time.
set -e
FIELDS="id BIGINT, phone_number VARCHAR, sip_username VARCHAR, sip_address VARCHAR, sip_calling_format VARCHAR,
  inbound_authorization_type VARCHAR, allowed_inbound_ips VARCHAR[], outbound_proxy BOOLEAN, country_code VARCHAR,
  created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ"
if [ "$1" = bare ]; then
  sh "$BENCH_WAYS/fetch.sh" "$BENCH_BARE_URL" trunks.json
  COLUMNS=$(echo "$FIELDS" | tr '\n' ' ' | sed -E "s/ *([a-z_]+) ([A-Z]+(\[\])?)/\1: '\2'/g")
  READ="SELECT * FROM read_json('trunks.json', format = 'array', columns = {$COLUMNS})"
else
  sh "$BENCH_WAYS/fetch.sh" "$BENCH_URL" trunks.json
  BYTES=$(wc -c < trunks.json)
  READ="SELECT unnest(data, max_depth := 2) FROM read_json('trunks.json', maximum_object_size = $BYTES,
    columns = {data: 'STRUCT($FIELDS)[]'})"
fi
duckdb current.duckdb "SET threads = 1; CREATE TABLE sip_trunks AS $READ"
