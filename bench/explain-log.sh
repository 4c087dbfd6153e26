#!/usr/bin/env bash
# A long log keeps explain small: reads a made log of SIZE megabytes (1000 unless
# given) and holds that no more than 100 MB of memory are used.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -trimpath -ldflags '-s -w' -o "$work/mailsrv" ./cmd/mailsrv

MAILSRV_LANG=en python3 - "$work/mailsrv" "${1:-1000}" <<'PY'
import json, resource, subprocess, sys, time

exe, size = sys.argv[1], int(sys.argv[2]) * 1_000_000
lines = [
    "Nov {d:2d} 10:00:01 mx postfix/smtpd[{i}]: connect from mail.example.org[203.0.113.{o}]\n",
    "Nov {d:2d} 10:00:01 mx postfix/smtp[{i}]: 4X{i:08X}: to=<user{i}@example.net>, relay=mx{o}.example.net[198.51.100.7]:25, delay=1.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1A2B)\n",
    "Nov {d:2d} 10:00:01 mx postfix/smtp[{i}]: 4X{i:08X}: to=<user{i}@example.net>, relay=mx{o}.example.net[198.51.100.7]:25, dsn=5.1.1, status=bounced (host mx{o}.example.net[198.51.100.7] said: 550 5.1.1 <user{i}@example.net>: User unknown (in reply to RCPT TO command))\n",
    "Nov {d:2d} 10:00:01 mx postfix/qmgr[9]: 4X{i:08X}: removed\n",
    "Nov {d:2d} 10:00:01 mx postfix/smtpd[{i}]: warning: unknown[203.0.113.{o}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n",
]
start = time.perf_counter()
p = subprocess.Popen([exe, "explain", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sent, i = 0, 0
while sent < size:
    block = "".join(lines[k % 5].format(i=k, o=k % 250, d=1 + k * 28 // 10_000_000) for k in range(i, i + 20_000)).encode()
    i += 20_000
    p.stdin.write(block)
    sent += len(block)
p.stdin.close()
answer = json.loads(p.stdout.readline())
p.wait()
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{sent / 1e6:.0f} MB, {answer['log']['lines']} lines, {answer['log']['trouble']} with trouble: {took:.0f} s, {sent / 1e6 / took:.0f} MB/s (with making the log), {peak:.0f} MB of memory (bound 100)")
print(", ".join(f"{g['cause']} {g['count']}" for g in answer["groups"]))
sys.exit(0 if peak < 100 and answer["log"]["lines"] == i else 1)
PY
