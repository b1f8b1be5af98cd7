#!/usr/bin/env bash
# Installs or removes the launchd agent that runs this checkout's server for the user who is logged in.
#   deploy/launchd/service.sh install | uninstall | print
# `print` writes the agent's property list to standard output, on any system.
set -euo pipefail

label=local.llm-server
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
agent=$HOME/Library/LaunchAgents/$label.plist
logs=$HOME/Library/Logs/llm-server
domain=gui/$(id -u)

render() {
  # Paths may hold anything but a line break; of XML's characters, & and < must be escaped, and sed's own as well.
  local root_xml logs_xml
  root_xml=$(printf '%s' "$root" | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/[\&|]/\\&/g')
  logs_xml=$(printf '%s' "$logs" | sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/[\&|]/\\&/g')
  sed -e "s|@ROOT@|$root_xml|g" -e "s|@LOGS@|$logs_xml|g" "$root/deploy/launchd/llm-server.plist.in"
}

on_a_mac() {
  [ "$(uname -s)" = Darwin ] && return
  echo "launchd is macOS's. On Linux, run the container image: deploy/README.md" >&2
  exit 1
}

stop() {
  launchctl bootout "$domain/$label" 2>/dev/null || return 0
  # Streams may take a while to finish, and launchd takes no agent of the same name before.
  for _ in $(seq 90); do launchctl print "$domain/$label" >/dev/null 2>&1 || return 0; sleep 0.5; done
}

case "${1:-}" in
  print)
    render
    ;;
  install)
    on_a_mac
    mkdir -p "$(dirname "$agent")" "$logs"
    stop
    render > "$agent"
    plutil -lint -s "$agent"
    # The log grows in one file; newsyslog, which could rotate it, needs an administrator.
    if [ -f "$logs/llm-server.log" ]; then mv -f "$logs/llm-server.log" "$logs/llm-server.log.1"; fi
    launchctl bootstrap "$domain" "$agent"
    echo "The server starts now and at each login. Its log: $logs/llm-server.log"
    echo "Whether it is well: .venv/bin/llm-server doctor"
    ;;
  uninstall)
    on_a_mac
    stop
    rm -f "$agent"
    echo "The server is stopped and starts no more at login. Its log stays in $logs"
    ;;
  *)
    echo "Usage: $0 install | uninstall | print" >&2
    exit 2
    ;;
esac
