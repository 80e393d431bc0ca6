# shellcheck shell=bash
# What the scripts beside this one begin with: each sources it, and then calls `begin`.
set -euo pipefail
cd "$(dirname "$0")/.."

# begin DIRECTORY "ROW..." [--quick] [ROW...]: the words of the command line, with all rows for none; the binary, and an
# empty directory to work in, below target/ unless ROWS_DIR names another
begin() {
  local name=$1 all=$2 argument; shift 2
  quick=; rows=()
  for argument; do
    case $argument in --quick) quick=1 ;; *) rows+=("$argument") ;; esac
  done
  [ ${#rows[@]} -gt 0 ] || read -ra rows <<< "$all"
  cargo build --release --quiet
  drave=${DRAVE:-$PWD/target/release/drave}
  dir=${ROWS_DIR:-target/$name}
  rm -rf "$dir" && mkdir -p "$dir" && cd "$dir"
  export DRAVE_STORE=$PWD/store
}

# bench NAME: where the binary of that bench is; before `begin`
bench() {
  cargo bench --no-run --bench "$1" --message-format=json 2> /dev/null | jq -r "select(.target.name? == \"$1\") | .executable // empty"
}
say() { printf '%-66s %s\n' "$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
