# ingestr, in each way that it has for an API that is none of its sources: ingestr.sh file | rows | arrow
#
# Its source of files at an address sends no token, so that curl fetches the file, as the bare array: it finds no
# records in an object. Its library takes rows, or an Arrow table made by hand.
set -e
cat > duckdb.toml <<END
manifest_version = 1
[Driver]
entrypoint = "duckdb_adbc_init"
shared = "$(dirname "$(command -v ingestr)")/../node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so"
END
export ADBC_DRIVER_PATH="$PWD"
if [ "$1" = file ]; then
  sh "$BENCH_WAYS/fetch.sh" "$BENCH_BARE_URL" trunks.json
  ingestr ingest --yes --progress log --source-uri "json://$PWD/trunks.json" --source-table trunks \
    --dest-uri "duckdb:///current.duckdb" --dest-table main.sip_trunks
else
  python "$BENCH_WAYS/ingestr_library.py" "$1"
fi
