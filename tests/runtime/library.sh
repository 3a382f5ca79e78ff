#!/bin/sh
# The shared runtime is small, needs the C library alone, and exports its public interface alone.
#   library.sh LIBRARY HEADER
set -eu
library=$1
header=$2
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$library"

bytes=$(wc -c <"$stripped")
[ "$bytes" -le 153600 ] || { echo "stripped, it has $bytes bytes; 153600 are allowed"; exit 1; }

needs=$(readelf -d "$stripped" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needs" = libc.so.6 ] || { echo "needs more than the C library:" $needs; exit 1; }

exported=$(nm -D --defined-only "$stripped" | awk '{print $3}' | sort)
declared=$(grep -o 'gpucc_[a-z_]*(' "$header" | tr -d '(' | sort -u)
[ "$exported" = "$declared" ] || {
    echo "exports differ from the header:"
    printf '%s\n' "$exported" "$declared" | sort | uniq -u
    exit 1
}
echo "$bytes bytes"
