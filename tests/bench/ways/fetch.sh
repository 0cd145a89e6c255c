# Download what is at the address: fetch.sh ADDRESS [FILE], to standard output without a file.
exec curl --fail --silent --show-error --header "Authorization: Bearer $BENCH_TOKEN" --output "${2:--}" "$1"
