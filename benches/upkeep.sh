#!/usr/bin/env bash
# The figures of retention and compaction: speed, memory, and how long a publisher is held up meanwhile.
# Usage: benches/upkeep.sh [--quick] [ROW...]      rows: compact keys retention pause
# Needs jq (a Debian package), and 20 GB of disk (--quick: 1 GB) in ${ROWS_DIR:-target/upkeep-rows}.
source "$(dirname "$0")/common.sh"
pause=$(bench pause)
begin upkeep-rows "compact keys retention pause" "$@"
scale=1; [ -z "$quick" ] || scale=10
value=$(head -c 100 /dev/zero | tr '\0' x)

# fill RECORDS KEYS SETTINGS...: a topic of records with a value of 100 bytes; the last ones are in a segment of their own
fill() {
  local records=$1 keys=$2; shift 2
  rm -rf store; $drave topic create t durability=none compact=on "$@"
  seq 0 $((records - 1)) | awk -v k="$keys" -v v="$value" '{ printf "%d:%s\n", ($1 * 7919) % k, v }' | $drave publish t -K :
}
# timed COMMAND...: milliseconds, and the most RssAnon that was seen, in kB
timed() {
  local began rss=0 seen pid; began=$(date +%s%N)
  "$@" > timed.out 2>&1 & pid=$!
  while seen=$(awk '$1 == "RssAnon:" { print $2 }' /proc/$pid/status 2> /dev/null) && [ -n "$seen" ]; do
    [ "$seen" -le "$rss" ] || rss=$seen
    sleep 0.01
  done
  wait $pid; ms=$((($(date +%s%N) - began) / 1000000)); anon=$rss
}
told() { jq -r "\"removed \(.removed) records, freed \(.bytes / 1048576 | floor) MiB\"" timed.out; }
compacted() {
  local records=$1; sync
  timed $drave compact t --json --quiet
  say "compact $1 records over $2 keys" "$ms ms, $((records / (ms + 1))) k records/s, RssAnon $anon kB; $(told)"
  timed $drave compact t --json --quiet
  say "  again, nothing to do" "$ms ms"
}

row_compact() { fill $((10000000 / scale)) $((1000000 / scale)); compacted $((10000000 / scale)) $((1000000 / scale)); }
row_keys() { fill $((100000000 / scale)) $((100000000 / scale)); compacted $((100000000 / scale)) $((100000000 / scale)); }
row_retention() {
  rm -rf store; $drave topic create t durability=none segment-bytes=4KiB
  awk -v v="$value" 'BEGIN { for (n = 0; n < 1000; n++) { for (line = 0; line < 40; line++) print v; printf "\0" } }' > frames
  $drave publish t -0 < frames
  while [ "$(ls store/topics/t | grep -c log)" -lt 1001 ]; do $drave publish t -0 < frames; done
  $drave topic set t max-records=1
  timed $drave compact t --json --quiet
  say "retention of $(jq .segments timed.out) segments" "$ms ms"
}
row_pause() {
  fill $((10000000 / scale)) $((1000000 / scale)); $drave topic set t durability=async; sync
  say "a record each ms, async: nothing else" "$("$pause" "$DRAVE_STORE" t $((40 / scale)))"
  $drave compact t --quiet > timed.out & local pid=$!
  say "a record each ms, async: during a compaction" "$("$pause" "$DRAVE_STORE" t 0 $pid)"
  wait $pid
}

for row in "${rows[@]}"; do "row_$row"; done
