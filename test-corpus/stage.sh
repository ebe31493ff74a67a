# Puts the daemons on stage: real processes on loopback with a certificate authority of their own, in a
# temporary folder. Sourced by the demo and by the live tests. The caller sets `play` (a name for
# messages) and `deadline` (in bash's SECONDS) before, and calls `stage_open` first.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${CANH_BIN:-$root/target/debug}
daemons=()
collector=

stage_open() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/canh-$play.XXXXXX")
    trap stage_close EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$work/logs" "$work/state"
}

stage_close() {
    local status=$? pid
    if [ $status -ne 0 ]; then
        echo
        echo "$play: failed; the daemons' last words:"
        tail -n 8 "$work"/*.log 2>/dev/null || true
    fi
    for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${daemons[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
    exit $status
}

# Waits until a command prints something, asking every tenth of a second.
wait_for() { # what, command
    local what=$1 found; shift
    until found=$("$@" 2>/dev/null) && [ -n "$found" ]; do
        [ $SECONDS -lt "$deadline" ] || { echo "$play: no sign of $what in time" >&2; return 1; }
        sleep 0.1
    done
    printf '%s\n' "$found"
}

start() { # name, arguments
    local name=$1; shift
    "$bin/$name" "$@" >> "$work/$name.log" 2>&1 &
    daemons+=($!)
    eval "pid_${name//-/_}=$!"
}

# The value of a field in the newest log line with a message.
logged() { # name, message, field
    sed -n "s/.*$2.*$3=\([^ ]*\).*/\1/p" "$work/$1.log" | tail -n 1
}

# Asks a daemon for a page over plain bash, so that nothing has to be installed.
scrape() { # address, path
    exec 3<>"/dev/tcp/${1%:*}/${1##*:}"
    printf 'GET %s HTTP/1.1\r\nHost: canh\r\nConnection: close\r\n\r\n' "${2:-/metrics}" >&3
    sed '1,/^\r*$/d' <&3
    exec 3>&-
}

# The sum of a metric over its labels.
metric() { # address, name
    scrape "$1" | awk -v name="$2" '$1 ~ "^" name "([{]|$)" { sum += $2 } END { printf "%d", sum }'
}

canh() { "$bin/canh" --server "$work/correlator.sock" "$@"; }

# The CA and the collector's own certificate.
authority() {
    collector_toml
    "$bin/canh-collector" ca init --config "$work/collector.toml" --host 127.0.0.1
}

# Makes an agent with a token, as an operator would: one command on the server, one on the host.
enrol() { # daemon, agent
    local token
    token=$("$bin/canh-collector" token create --config "$work/collector.toml" --agency so-tttt --agent "$2" --ttl 5m 2> "$work/token.log")
    "$bin/$1" enrol --collector "$collector" --token - --dir "$work/$2" <<< "$token"
}

# A CA, and agents made by hand: for plays that have no collector yet, or hundreds of agents.
certificates() { # agent...
    local agent
    authority
    for agent in "$@"; do
        "$bin/canh-collector" ca issue --config "$work/collector.toml" --agent "$agent" --agency so-tttt --out "$work/$agent" --days 2
        (umask 077 && cat "$work/$agent/cert.pem" "$work/$agent/key.pem" > "$work/$agent/agent.pem")
    done
}

# `collector_more` is more TOML for the collector.
collector_toml() {
    cat > "$work/collector.toml" <<TOML
state_dir = "$work/state/collector"
[listen]
address = "${collector:-127.0.0.1:0}"
[metrics]
address = "127.0.0.1:0"
${collector_more:-}
TOML
}

# A second call, after the first collector was ended, takes the same port again.
start_collector() {
    collector_toml
    : > "$work/canh-collector.log"
    start canh-collector --config "$work/collector.toml"
    collector=$(wait_for "the collector's port" logged canh-collector "accepting agents" address)
    collector_metrics=$(wait_for "the collector's metrics" logged canh-collector "serving metrics" address)
}

start_correlator() {
    cat > "$work/correlator.toml" <<TOML
state_dir = "$work/state/correlator"
[journal]
dir = "$work/state/collector/journal"
[rules]
paths = ["$root/rules/packs/canh-core"]
[api]
socket = "$work/correlator.sock"
[metrics]
address = "127.0.0.1:0"
TOML
    : > "$work/canh-correlator.log"
    start canh-correlator --config "$work/correlator.toml"
    wait_for "the correlator" logged canh-correlator "ready" socket > /dev/null
    correlator_metrics=$(wait_for "the correlator's metrics" logged canh-correlator "serving metrics" address)
}

# The part of an agent's configuration that every agent has.
agent_toml() { # agent
    cat <<TOML
[ship]
collectors = ["$collector"]
spool_dir = "$work/state/$1-spool"
account_interval = "2s"
[tls]
ca = "$work/$1/ca.pem"
certificate = "$work/$1/agent.pem"
key = "$work/$1/agent.pem"
[metrics]
address = "127.0.0.1:0"
TOML
}

start_log_agent() { # agent, then pairs of file and format
    local agent=$1; shift
    agent_toml "$agent" > "$work/log-agent.toml"
    printf '[host]\nname = "%s"\n' "$agent" >> "$work/log-agent.toml"
    while [ $# -gt 0 ]; do
        printf '[[file]]\npath = "%s"\nformat = "%s"\n' "$1" "$2" >> "$work/log-agent.toml"
        shift 2
    done
    : > "$work/canh-log-agent.log"
    start canh-log-agent --config "$work/log-agent.toml"
    log_agent_metrics=$(wait_for "the log agent" logged canh-log-agent "serving metrics" address)
}
