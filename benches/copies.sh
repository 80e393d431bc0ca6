#!/usr/bin/env bash
# The figures of `drave snapshot` and `drave restore`, beside `cp -r` in one run on this machine: medians of three.
# Usage: benches/copies.sh [--quick] [ROW...]      rows: first next none other restore topics pause
# Needs jq, and 25 GB of disk (--quick: 1 GB) in ${ROWS_DIR:-target/copies-rows}, and half of that in /dev/shm.
source "$(dirname "$0")/common.sh"
begin copies-rows "first next none other restore topics pause" "$@"
shm=$(mktemp -d /dev/shm/drave-rows.XXXXXX)
trap 'rm -rf "$shm"; kill $(jobs -p) 2> /dev/null || true' EXIT
runs=3; lines=100000000; more=1000000; topics=10000; name='10 GB'
[ -z "$quick" ] || { runs=1; lines=5000000; more=50000; topics=1000; name='0.5 GB'; }

# timed COMMAND...: seconds
timed() { local began; began=$(date +%s.%N); "$@" > /dev/null 2>&1; awk "BEGIN { printf \"%.3f\n\", $(date +%s.%N) - $began }"; }
records() { seq -f '%099.0f' "$1"; }

$drave topic create t durability=none
records "$lines" | $drave publish t
sync

row_first() {
  for _ in $(seq $runs); do rm -rf copies; timed $drave snapshot copies; done | median | { read -r s; say "first snapshot of $name, same file system" "$s s"; }
}
row_next() {
  $drave snapshot copies > /dev/null 2>&1
  for _ in $(seq $runs); do records "$more" | $drave publish t; timed $drave snapshot copies; done | median | { read -r s; say "the next one, after 1 % more" "$s s"; }
}
row_none() {
  $drave snapshot copies > /dev/null 2>&1
  for _ in $(seq $runs); do timed $drave snapshot copies; done | median | { read -r s; say "the next one, after nothing more" "$s s"; }
}
row_other() {
  local mine other
  mine=$(for _ in $(seq $runs); do rm -rf "$shm"/*; timed $drave snapshot "$shm/copies"; done | median); rm -rf "$shm"/*
  other=$(for _ in $(seq $runs); do rm -rf "$shm"/*; timed cp -r store "$shm/copy"; done | median); rm -rf "$shm"/*
  say "first snapshot of $name to /dev/shm | cp -r" "$mine s, cp -r $other s: $(awk "BEGIN { printf \"%.2fx\", $other / $mine }")"
}
row_restore() {
  $drave snapshot copies > /dev/null 2>&1
  local bytes; bytes=$(du -sb "$(ls -d copies/20* | tail -1)" | cut -f1)
  for _ in $(seq $runs); do rm -rf restored; timed $drave restore copies --into restored; done | median | {
    read -r s; say "restore of $name, verified and synced" "$s s, $(awk "BEGIN { printf \"%.2f\", $bytes / $s / 1e9 }") GB/s"; }
  rm -rf restored
}
row_topics() {
  export DRAVE_STORE=$PWD/many
  seq -f '{"topic":"t%.0f","value":"x"}' $topics | $drave publish --json --by-topic
  rm -rf many-copies
  say "first snapshot of $topics topics; the next one" "$(timed $drave snapshot many-copies) s; $(timed $drave snapshot many-copies) s"
  say "restore of $topics topics" "$(timed $drave restore many-copies --into many-restored) s"
  rm -rf many many-copies many-restored; export DRAVE_STORE=$PWD/store
}
# A publisher that waits for each receipt, while snapshots are made: the longest time between two, and without any.
longest() {
  $drave publish t --receipts < <(while [ ! -e stop ]; do echo x; done) | while read -r _; do date +%s%N; done > receipts &
  local publisher=$!
  rm -f stop; if [ "$1" = busy ]; then for _ in $(seq 10); do $drave snapshot copies --keep 2 > /dev/null 2>&1; done; else sleep 5; fi
  touch stop; wait $publisher || true; rm -f stop
  awk 'NR > 1 && $1 - last > most { most = $1 - last } { last = $1 } END { printf "%.1f\n", most / 1e6 }' receipts
}
row_pause() { say "longest pause of a publisher, beside ten snapshots; beside nothing" "$(longest busy) ms; $(longest idle) ms"; }

for row in "${rows[@]}"; do "row_$row"; done
rm -rf copies store
