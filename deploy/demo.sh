#!/usr/bin/env bash
# `make demo`: a server, a varied load on it and, where Docker runs, the dashboards. Ctrl-C ends the server and the load;
# the dashboards stay, to be looked at.
#
# On a Mac the server runs on the machine, for its GPU, and the stack in containers beside it. On Linux containers do not
# reach a server that listens on loopback, so there the server is a container, too (the compose file's profile `cpu`).
#   DEMO_SECONDS=60   end by itself
#   DEMO_STREAMS=8    clients at once
#   DEMO_DOCKER=no    leave Docker alone
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=${DEMO_BIN:-.venv/bin}
streams=${DEMO_STREAMS:-4}
port=${LLM_PORT:-42002}
url=http://127.0.0.1:$port
dashboard=http://127.0.0.1:${GRAFANA_PORT:-3000}
server=
contained=

say() { printf '\n%s\n' "$*"; }

end() {
  trap - EXIT INT TERM
  if [ -n "$server" ]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if [ -n "$contained" ]; then docker compose --profile cpu stop load llm-server-cpu; fi
}
trap end EXIT
trap 'exit 130' INT TERM

docker_runs() {
  [ "${DEMO_DOCKER:-yes}" = yes ] && command -v docker >/dev/null && docker info >/dev/null 2>&1 \
    && docker compose version >/dev/null 2>&1
}

ready() { "$bin/python" -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/readyz", timeout=5)' "$url" 2>/dev/null; }

start_server() {
  if ready; then say "A server answers at $url already, so that one is used."; return; fi
  say "Starting the server at $url (the first start of gpt-oss-20b downloads 12 GB) ..."
  LLM_LOG_LEVEL=${LLM_LOG_LEVEL:-warning} "$bin/llm-server" serve --port "$port" &
  server=$!
  until ready; do
    kill -0 "$server" 2>/dev/null || { say "The server has ended; see above."; exit 1; }
    sleep 1
  done
}

load() {
  "$bin/python" -m llm_server.demo --url "$url" --streams "$streams" ${DEMO_SECONDS:+--seconds "$DEMO_SECONDS"} &
  wait $!
}

# Images may not be to be had, a port may be taken: that costs the dashboards and not the demonstration.
stack() {
  say "Starting $1 ..."
  shift
  docker compose "$@" --wait || { say "They could not be started; see above."; return 1; }
}

if ! docker_runs; then
  say "Docker does not run here, so there are no dashboards."
elif [ "$(uname -s)" = Darwin ]; then
  if stack "Prometheus, Grafana and Tempo" up --detach; then
    export OTEL_EXPORTER_OTLP_ENDPOINT=${OTEL_EXPORTER_OTLP_ENDPOINT:-http://127.0.0.1:${OTLP_GRPC_PORT:-4317}}
    say "Dashboards: $dashboard    (they stay until: docker compose down)"
  fi
elif contained=yes && stack "the server, a load, Prometheus, Grafana and Tempo" --profile cpu up --detach --build; then
  say "Dashboards: $dashboard    (they stay until: docker compose --profile cpu down)"
  say "Server: http://127.0.0.1:${LLM_CPU_PORT:-42003}"
  timeout --foreground "${DEMO_SECONDS:-0}" docker compose --profile cpu logs --follow --tail 5 load || true
  exit
fi
start_server
say "Metrics: $url/metrics"
load
