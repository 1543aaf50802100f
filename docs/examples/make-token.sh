#!/bin/sh
# Makes a token in the format of this project, away from the cluster: sh make-token.sh nxc_live_ warehouse.token
# The token goes into the file, and nowhere else; what is printed is public.
set -eu
format=$1 file=$2

alphabet=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz
random() { LC_ALL=C tr -dc 0-9A-Za-z </dev/urandom | head -c "$1"; }

id=$(random 8)          # public
body=$format$id$(random 43) # 43 characters of 62 kinds are 256 bits

# The checksum is the CRC-32 of all before it, which gzip writes at the end of what it compresses, lowest byte first.
# shellcheck disable=SC2046 # Four numbers.
set -- $(printf %s "$body" | gzip -c | tail -c 8 | head -c 4 | od -An -tu1)
crc=$(($1 + $2 * 256 + $3 * 65536 + $4 * 16777216)) checksum=
for _ in 1 2 3 4 5 6; do
	checksum=$(printf %s "$alphabet" | cut -c $((crc % 62 + 1)))$checksum
	crc=$((crc / 62))
done

umask 077
printf %s "$body$checksum" >"$file"
printf 'digest:\n  sha256: %s\n  prefix: %s\n' "$(sha256sum <"$file" | cut -c 1-64)" "$format$id"
