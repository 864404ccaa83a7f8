#!/bin/sh
# Writes .env with random secrets, once: what is there is kept.
set -eu
cd "$(dirname "$0")"
umask 077
if [ -e .env ]; then
  echo ".env is there already and stays as it is"
  exit 0
fi
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for name in OWNER_PASSWORD WORKER_PASSWORD SCRAPE_TOKEN OPERATOR_TOKEN GRAFANA_PASSWORD; do
  printf '%s=%s\n' "$name" "$(random)"
done >.env.part
mv .env.part .env
echo "wrote .env; OPERATOR_TOKEN is the password of the console, GRAFANA_PASSWORD that of Grafana's admin"
