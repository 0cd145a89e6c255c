# curl, then sling on the file: its own source of APIs is not in the free edition.
#
# Columns are named where it would guess wrong: it takes `+4930…` for a number. By named pipes it hands the rows over
# about as fast as by HTTP, its default, and DuckDB needs one extension less for it.
set -e
PACKAGES=$(echo "$(dirname "$(command -v duckdb)")"/../lib/python3.*/site-packages)
DUCKDB_PATH=$(command -v duckdb)
TARGET="{\"type\": \"duckdb\", \"instance\": \"$PWD/current.duckdb\", \"copy_method\": \"named_pipes\"}"
export DUCKDB_PATH TARGET
# It installs this extension explicitly, which DuckDB then downloads although it has it built in.
mkdir -p .duckdb/extensions/v1.5.5/linux_amd64
ln -s "$PACKAGES/duckdb_extension_json/extensions/v1.5.5/json.duckdb_extension" .duckdb/extensions/v1.5.5/linux_amd64
sh "$BENCH_WAYS/fetch.sh" "$BENCH_URL" trunks.json
"$PACKAGES/sling_linux_amd64/bin/sling-linux-amd64" run \
  --src-stream "file://$PWD/trunks.json" --src-options '{"jmespath": "data[*]", "flatten": 1}' \
  --columns '{"phone_number": "string", "created_at": "timestampz", "updated_at": "timestampz"}' \
  --tgt-conn TARGET --tgt-object main.sip_trunks --mode full-refresh
