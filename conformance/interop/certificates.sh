#!/bin/sh
# Makes an authority and a certificate for localhost and 127.0.0.1, valid for two days.
#
# usage: certificates.sh DIR      into DIR: authority.pem, cert.pem (the chain), key.pem, haproxy.pem (key and chain)
set -eu
mkdir -p "$1"
cd "$1"

new_key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
# shellcheck disable=SC2086
openssl req -x509 $new_key -days 2 -subj "/CN=Sockeye interop authority" -keyout authority.key -out authority.pem \
  -addext keyUsage=critical,keyCertSign,cRLSign
# shellcheck disable=SC2086
openssl req $new_key -subj /CN=localhost -keyout key.pem -out leaf.csr
cat >leaf.cnf <<X
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1
X
openssl x509 -req -in leaf.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile leaf.cnf -out leaf.pem
cat leaf.pem authority.pem >cert.pem
cat key.pem cert.pem >haproxy.pem
