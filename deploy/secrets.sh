#!/bin/sh
# Makes the secrets that compose.yaml hands out, each in a file of its own, once: what is there stays.
# The directory is yours alone; the files may be read by the users of the containers they are mounted into.
set -eu
umask 077
directory=${1:-"$(dirname "$0")/secrets"}
mkdir -p "$directory"
chmod 700 "$directory"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep() { # file, content
  if [ ! -e "$directory/$1" ]; then
    printf '%s\n' "$2" >"$directory/$1"
    chmod 444 "$directory/$1"
    echo "made $directory/$1"
  fi
}

keep owner_password "$(random)"
keep worker_password "$(random)"
keep owner_url "postgresql://dataswarm_admin:$(cat "$directory/owner_password")@postgres:5432/dataswarm"
keep worker_url "postgresql://dataswarm_worker:$(cat "$directory/worker_password")@postgres:5432/dataswarm"
keep viewer_token "$(random)"
keep operator_token "$(random)"
keep grafana_password "$(random)"
