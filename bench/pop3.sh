#!/usr/bin/env bash
# Big mailboxes and many idle sessions over POP3: mailsrv beside Debian's
# Dovecot, in turn, on the disk of the folder named by the first argument
# (default: /tmp). Needs Debian 12 with dovecot-pop3d installed, and root:
#
#   bench/pop3.sh /var/tmp -messages 100000 -idle 1000
#
# go run ./bench/pop3 -h lists the other flags. Nothing else should use the disk
# or the processors meanwhile; only the ratios of one run mean much.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath "${1:-/tmp}")
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -trimpath -ldflags '-s -w' -o "$work/mailsrv" ./cmd/mailsrv
go build -o "$work/pop3" ./bench/pop3
"$work/pop3" -mailsrv "$work/mailsrv" -dir "$dir" "$@"
