#!/usr/bin/env bash
# The bounds every version keeps: a cold `mailsrv explain 0x800CCC0E` takes at
# most five times /bin/true plus 10 ms (medians of 20 runs, in turn), and the
# stripped binary stays under 25 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -trimpath -ldflags '-s -w' -o "$work/mailsrv" ./cmd/mailsrv

size=$(wc -c <"$work/mailsrv")
echo "stripped binary: $size bytes (bound 25000000)"
[ "$size" -lt 25000000 ]

MAILSRV_LANG=en python3 - "$work/mailsrv" <<'PY'
import os, statistics, subprocess, sys, time

def once(cmd):
    start = time.perf_counter()
    subprocess.run(cmd, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - start) * 1000

true, explain = ["/bin/true"], [sys.argv[1], "explain", "0x800CCC0E"]
once(true), once(explain)
a, b = [], []
for _ in range(20):
    a.append(once(true))
    b.append(once(explain))
t, e = statistics.median(a), statistics.median(b)
bound = 5 * t + 10
print(f"/bin/true {t:.2f} ms, explain {e:.2f} ms, bound {bound:.2f} ms")
sys.exit(0 if e <= bound else 1)
PY
