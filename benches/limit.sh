#!/bin/sh
# How exactly is a limit of 1,000 records a second with a burst of 1 kept over ten seconds, by 1 and by 8 processes?
# Usage: benches/limit.sh [path of drave]
set -eu
drave=${1:-target/release/drave}
for processes in 1 8; do
    store=$(mktemp -d "${TMPDIR:-/tmp}/drave-limit.XXXXXX")
    export DRAVE_STORE="$store/store"
    "$drave" topic create t durability=none rate=1000/s burst=1
    i=0
    pids=
    while [ $i -lt "$processes" ]; do
        yes x | "$drave" --timeout 12s publish t --limit-wait 1h 2>/dev/null &
        pids="$pids $!"
        i=$((i + 1))
    done
    # Ten seconds by the records' own times, between the first second and the last.
    for pid in $pids; do wait "$pid" || true; done
    "$drave" replay t -o '%T\n' | awk -v n="$processes" '
        NR == 1 { begin = $1 + 1000 }
        $1 >= begin && $1 < begin + 10000 { count++ }
        END { printf "%d processes: %d records in 10 s, %+.2f %%\n", n, count, (count - 10000) / 100 }'
    rm -r "$store"
done
