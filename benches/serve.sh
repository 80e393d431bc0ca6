#!/usr/bin/env bash
# The figures of `drave serve` beside redis-server, both in one run on this machine: medians of five, ratios.
# Usage: benches/serve.sh [--quick] [ROW...]      rows: async sync one topics range group wake pubsub memory restart idle
# Needs redis-server, redis-tools and jq (Debian packages), and 15 GB of disk (--quick: 1 GB) in ${ROWS_DIR:-target/serve-rows}.
source "$(dirname "$0")/common.sh"
wire=$(bench wire)
begin serve-rows "async sync one topics range group wake pubsub memory restart idle" "$@"
mkdir redis
ours=7391; theirs=7392; runs=5; scale=1; records=10000000; stored=10000000000
[ -z "$quick" ] || { runs=1; scale=10; records=1000000; stored=500000000; }
value=$(head -c 100 /dev/zero | tr '\0' x)

cleanup() { kill "${server:-}" "${peer:-}" 2> /dev/null || true; wait 2> /dev/null || true; }
trap cleanup EXIT
until_ready() {
  for _ in $(seq 1000); do redis-cli -p "$1" ping > /dev/null 2>&1 && return; sleep 0.01; done
  echo "nobody listens on port $1; see $dir/drave.log and redis.log" >&2; exit 1
}
# start LEVEL FSYNC: both servers, empty
start() {
  cleanup; rm -rf store redis; mkdir redis
  $drave topic create first durability=none && printf 'durability = "%s"\n' "$1" >> store/store.toml
  $drave serve --resp 127.0.0.1:$ours > drave.log 2>&1 & server=$!
  redis-server --port $theirs --dir redis --save '' --appendonly yes --appendfsync "$2" > redis.log & peer=$!
  until_ready $ours; until_ready $theirs
}
# bench PORT CLIENTS PIPELINE REQUESTS WORDS...: requests a second
bench() {
  local port=$1 clients=$2 pipeline=$3 requests=$4; shift 4
  redis-benchmark -p "$port" -c "$clients" -P "$pipeline" -n "$requests" --csv "$@" 2> /dev/null | tail -1 | awk -F'","' '{ print $2 }'
}
# beside NAME COMMAND: runs `COMMAND PORT` in turns on both, and says the medians of what it prints first
beside() {
  local name=$1 mine=() other=(); shift
  for _ in $(seq $runs); do other+=("$("$@" $theirs | grep -oE '[0-9.]+' | head -1)"); mine+=("$("$@" $ours | grep -oE '[0-9.]+' | head -1)"); done
  local a b; a=$(printf '%s\n' "${mine[@]}" | median); b=$(printf '%s\n' "${other[@]}" | median)
  say "$name" "$a, redis $b: $(awk "BEGIN { printf \"%.2fx\", $a / $b }")"
}
xadd() { local port=$1; shift; bench "$port" "$1" "$2" $(($3 / scale)) XADD t '*' f "$value"; }
with() { local clients=$1 pipeline=$2 requests=$3 port=$4; xadd "$port" "$clients" "$pipeline" "$requests"; }

row_async() { start async everysec; for p in "1 300000" "16 2000000" "64 3000000"; do set -- $p; beside "XADD -c 50 -P $1, async | everysec, a second" with 50 "$1" "$2"; done; }
row_sync() { start sync always; for p in "1 60000" "16 600000" "64 1000000"; do set -- $p; beside "XADD -c 50 -P $1, sync | always, a second" with 50 "$1" "$2"; done; }
row_one() { start sync always; beside "XADD -c 1, sync | always, a second" with 1 1 5000; }
on_topics() { bench "$1" 50 16 $((500000 / scale)) -r 10000 XADD t:__rand_int__ '*' f "$value"; }
row_topics() { start async everysec; on_topics $ours > /dev/null; on_topics $theirs > /dev/null; beside "XADD over 10,000 topics, -P 16, async, a second" on_topics; }
wired() { local row=$1 number=$2 port=$3; "$wire" "$port" "$row" ${number:+"$number"}; }
row_range() {
  start async everysec
  for port in $ours $theirs; do "$wire" $port fill $((2000000 / scale)); done
  beside "XRANGE COUNT 1000 at random places of 2 M, 10 connections, a second" wired xrange 3
  beside "XREAD COUNT 1000 at random places of 2 M, 10 connections, a second" wired xread 3
}
row_group() { start async everysec; beside "XREADGROUP COUNT 100 + XACK, 4 connections, records a second" wired group 2; }
row_wake() {
  start async everysec
  for _ in $(seq $runs); do say "XADD until a blocked XREAD has it, async" "$("$wire" $ours wake), redis $("$wire" $theirs wake)"; done
}
row_pubsub() { start async everysec; beside "PUBLISH to 10 subscribers, deliveries a second" wired pubsub 3; }
rss() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/status"; }
row_memory() {
  start async everysec
  for port in $ours $theirs; do "$wire" $port fill $records; done
  say "RssAnon with $records records | RSS of redis, kB" "$(rss $server RssAnon), redis $(rss $peer VmRSS)"
}
row_restart() {
  start async everysec
  redis-cli -p $theirs shutdown nosave; peer=
  head -c 1000 /dev/zero | tr '\0' x > value
  while [ "$(du -sb store | cut -f 1)" -lt $stored ]; do bench $ours 50 64 200000 XADD t '*' f "$(cat value)" > /dev/null; done
  for _ in $(seq $runs); do
    kill -9 $server; wait $server 2> /dev/null || true
    local began; began=$(date +%s%N)
    $drave serve --resp 127.0.0.1:$ours > drave.log 2>&1 & server=$!
    until redis-cli -p $ours XADD t '*' f after > /dev/null 2>&1; do :; done
    say "kill -9 with $(du -sh store | cut -f 1), until XADD is answered (redis-cli's start included)" "$((($(date +%s%N) - began) / 1000000)) ms"
  done
}
row_idle() {
  start async everysec
  for pid in $server:$ours $peer:$theirs; do
    local before count=10000; before=$(rss ${pid%:*} VmRSS)
    [ "$(ulimit -n)" -gt 10500 ] || count=$(($(ulimit -n) - 500))
    mkfifo hold; "$wire" ${pid#*:} idle $((count / scale - 50)) < hold > idle & exec 3> hold; until [ -s idle ]; do :; done
    say "idle connections, bytes of RSS each (port ${pid#*:})" "$((($(rss ${pid%:*} VmRSS) - before) * 1024 / (count / scale - 50)))"
    exec 3>&-; rm -f hold idle
  done
}

for row in "${rows[@]}"; do "row_$row"; done
