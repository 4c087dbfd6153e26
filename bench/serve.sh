#!/usr/bin/env bash
# How fast mail gets into mailboxes, durably: mailsrv beside Debian's Postfix, in
# turn, on the disk of the folder named by the first argument (default: /tmp).
# Needs Debian 12 with postfix and strace installed, and root for Postfix:
#
#   bench/serve.sh /var/tmp -sizes 4096 -conns 1,10,100
#
#   bench/serve.sh /var/tmp -relay 1000            through the queue to a smart host
#   bench/serve.sh /var/tmp -other /tmp/mailsrv    beside an earlier binary too
#
# go run ./bench/serve -h lists the other flags. Nothing else should use the disk
# or the processors meanwhile; only the ratios of one run mean much.
# Leave five minutes after whatever has deleted many files there, another run too:
# an ext4 without a journal makes new files slowly for that long.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath "${1:-/tmp}")
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -trimpath -ldflags '-s -w' -o "$work/mailsrv" ./cmd/mailsrv
go build -trimpath -ldflags '-s -w' -tags mailsrv_nosync -o "$work/mailsrv-nosync" ./cmd/mailsrv
go build -o "$work/serve" ./bench/serve
"$work/serve" -mailsrv "$work/mailsrv" -nosync "$work/mailsrv-nosync" -dir "$dir" "$@"
