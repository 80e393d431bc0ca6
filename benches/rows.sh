#!/usr/bin/env bash
# The whole-process figures of the README, each beside its peer in one run: medians, ratios, counted output.
# Usage: benches/rows.sh [--quick] [ROW...]     rows: none none25 sync replay pipe start memory crash size topics
#        consume key exec killed
# Needs hyperfine and jq (Debian packages), and 40 GB of disk (--quick: 1 GB) in ${ROWS_DIR:-target/rows}.
source "$(dirname "$0")/common.sh"
begin rows "none none25 sync replay pipe start memory crash size topics consume key exec killed" "$@"
runs=5; million=1000000; lines=2500000; many=25000000; huge=100000000; topics=100000
[ -z "$quick" ] || { runs=1; lines=100000; many=300000; huge=1000000; million=100000; topics=1000; }

make_lines() { yes "$(head -c 100 /dev/zero | tr '\0' x)" | head -n "$1" > "$2" || true; }
fresh() { echo "rm -rf store out && $drave topic create t durability=$1"; }
median() { jq ".results[$1].median" times.json; }
ratio() { jq -r '"\(.results[1].median / .results[0].median * 100 | round / 100)x of the peer"' times.json; }
ms() { jq -n "$1 * 1e5 | round / 100" ; }
say() { printf '%-58s %s\n' "$1" "$2"; }
# beside NAME PREPARE OURS PEER
beside() {
  hyperfine --style none --warmup 1 --runs "$runs" --prepare "$2" "$3" "$4" --export-json times.json > /dev/null 2>&1
  say "$1" "$(ms "$(median 0)") ms, peer $(ms "$(median 1)") ms: $(ratio)"
}
counted() { [ "$($drave replay t | cmp -s - "$1" && wc -l < "$1")" = "$2" ] || { echo "the output differs" >&2; exit 1; }; }

row_none() {
  make_lines $lines lines
  beside "publish $lines lines, none | cat into a file" "$(fresh none)" "$drave publish t < lines" "cat lines > out"
  eval "$(fresh none)"; $drave publish t < lines; counted lines $lines
}
row_none25() {
  make_lines $many many
  beside "publish $many lines, none | cat into a file" "$(fresh none)" "$drave publish t < many" "cat many > out"
  eval "$(fresh none)"; $drave publish t < many; counted many $many
  rm -f many out
}
row_sync() {
  make_lines $lines lines
  beside "publish $lines lines, sync | cat, sync" "$(fresh sync); sync" "$drave publish t < lines" "cat lines > out && sync out"
  counted_sync
}
counted_sync() { eval "$(fresh sync)"; $drave publish t < lines; counted lines $lines; }
row_replay() {
  make_lines $lines lines; eval "$(fresh none)"; $drave publish t < lines; counted lines $lines
  beside "replay $lines lines > /dev/null | wc -l" true "$drave replay t > /dev/null" "wc -l lines"
}
row_pipe() {
  make_lines $lines lines; eval "$(fresh none)"; $drave publish t < lines
  beside "replay $lines lines | cat    (peer: cat | cat)" true "$drave replay t | cat > /dev/null" "cat lines | cat > /dev/null"
}
row_start() {
  eval "$(fresh none)"; $drave publish t x
  hyperfine --style none -N --warmup 20 --runs $((runs * 100)) "$drave publish t x" "true" --export-json times.json > /dev/null 2>&1
  say "publish t x, none, whole process | true" "$(ms "$(median 0)") ms, peer $(ms "$(median 1)") ms"
}
anon_peak() { # runs "$@", prints the peak of RssAnon in KiB
  "$@" > /dev/null & local pid=$! peak=0 now
  while now=$(awk '/^RssAnon/ { print $2 }' /proc/$pid/status 2> /dev/null) && [ -n "$now" ]; do
    [ "$now" -le "$peak" ] || peak=$now
    sleep 0.02
  done
  wait $pid; echo "$peak"
}
publish_huge() { { yes "$(head -c 100 /dev/zero | tr '\0' x)" || true; } | head -n $huge | $drave publish t; }
row_memory() {
  eval "$(fresh none)"
  mkfifo pipe; (yes "$(head -c 100 /dev/zero | tr '\0' x)" | head -n $huge > pipe || true) &
  say "RssAnon peak, publish of $((huge / 10000)) MB" "$(anon_peak sh -c "exec $drave publish t < pipe") KiB"
  say "RssAnon peak, replay of $((huge / 10000)) MB" "$(anon_peak $drave replay t) KiB"
  rm -f pipe
}
row_crash() {
  [ -d store/topics/t ] && [ "$(du -s store | cut -f1)" -gt 9000000 ] || { eval "$(fresh none)"; publish_huge; }
  (yes | $drave publish t) & sleep 0.5; pkill -9 -f "$drave publish t" || true; wait 2> /dev/null || true
  hyperfine --style none -N --runs 1 "$drave publish t x" --export-json times.json > /dev/null 2>&1
  say "publish t x on 10 GB after kill -9, same boot" "$(ms "$(median 0)") ms"
  hyperfine --style none --runs "$runs" --prepare "rm store/topics/t/head" "$drave publish t x" --export-json times.json > /dev/null 2>&1
  say "the same when head is not believed (removed)" "$(ms "$(median 0)") ms"
}
row_size() {
  eval "$(fresh sync)"; make_lines $million million; $drave publish t < million
  say "bytes a line of 100, all files of the topic" "$(jq -n "$(du -sb --apparent-size store/topics/t | cut -f1) / $million")"
}
row_topics() {
  rm -rf store; $drave publish first x; sed -i 's/^\[defaults\]/[defaults]\ndurability = "none"/' store/store.toml
  seq $topics | sed 's/.*/{"topic":"topic-&","value":"x"}/' > records
  hyperfine --style none --runs 1 "$drave publish --json --by-topic < records" --export-json times.json > /dev/null 2>&1
  say "$topics topics made, a record to each" "$(ms "$(median 0)") ms"
  hyperfine --style none --warmup 1 --runs "$runs" "$drave topic list > list" --export-json times.json > /dev/null 2>&1
  say "topic list" "$(ms "$(median 0)") ms"
  [ "$(wc -l < list)" -ge "$topics" ] || { echo "topics are missing" >&2; exit 1; }
}
# members COUNT ORDER: so many share the topic until it is worked through
members() { for _ in $(seq "$1"); do $drave consume t -g g --order "$2" --drain > /dev/null & done; wait; }
# shared NAME COUNT ORDER LINES
shared() {
  export -f members; export drave
  hyperfine --style none --shell bash --warmup 1 --runs "$runs" --prepare "$drave group delete t g --yes || true" \
    "members $2 $3" --export-json times.json > /dev/null 2>&1
  say "$1" "$(jq -n "$4 / $(median 0) / 1e4 | round / 100") M records/s together"
}
row_consume() {
  make_lines $lines lines; eval "$(fresh none)"; $drave publish t < lines
  shared "consume > /dev/null, order none, 2 members" 2 none $lines
}
row_key() {
  make_lines $lines lines; eval "$(fresh none)"
  awk '{ print "key-" (NR * 7919) % 10000 "\t" $0 }' lines | $drave publish t -K '\t'
  shared "consume > /dev/null, order key, 10,000 keys, 4 members" 4 key $lines
}
row_exec() {
  seq 2000 > numbers; eval "$(fresh sync)"; $drave publish t < numbers
  beside "consume -P 2 --exec true, sync | xargs -P 2 -n 1 true" "$drave group delete t g --yes || true" \
    "$drave consume t -g g --drain -P 2 --exec true" "xargs -a numbers -P 2 -n 1 true"
}
# One of four members of order key is killed with records in hand: until the others have worked them.
row_killed() {
  local lease=2 pid last killed pids=(); eval "$(fresh none)"
  $drave group create t g order=key lease=${lease}s
  rm -f worked; touch worked
  $drave consume t -g g -P 4 --exec sleep 4 & pid=$!
  for _ in 1 2 3; do $drave consume t -g g -P 4 --exec sh -c 'echo "$(date +%s%N) $DRAVE_OFFSET" >> worked' & pids+=($!); done
  until [ "$($drave inspect group t g --json | jq -s 'map(select(.lanes > 0)) | length')" = 4 ]; do sleep 0.05; done
  seq 200 | awk '{ print "key-" $1 "\t" $1 }' | $drave publish t -K '\t'
  sleep 0.1; killed=$(date +%s%N); { kill -9 $pid; wait $pid; } 2> /dev/null || true
  until [ "$(cut -d' ' -f2 worked | sort -u | wc -l)" -ge 200 ]; do sleep 0.05; done
  last=$(sort -n worked | tail -1 | cut -d' ' -f1)
  kill "${pids[@]}"; wait 2> /dev/null || true
  say "a member killed with records in hand, until all is worked" "lease + $(( (last - killed) / 1000000 - lease * 1000 )) ms"
}

say "$(nproc) cores, $(uname -r), $(stat -f -c %T .), $(date -u +%F)" ""
for row in "${rows[@]}"; do "row_$row"; done
cd .. && rm -rf "$OLDPWD"
