# What the bench measures with: clocks, processes, and our own daemons on their way. Sourced by `run`.

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# Processor time of a process so far, in hundredths of a second.
cpu() { # pid
    awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}
peak_kib() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
pss_kib() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

table_head() {
    printf '\n%-24s %10s %8s %8s | %10s %10s | %10s %10s\n' '' 'lines/s' 'MB/s' 'seconds' 'send cpu s' 'RSS MB' 'keep cpu s' 'RSS MB'
}
table_row() { # name, milliseconds, sender's pid, keeper's pid
    awk -v name="$1" -v ms="$2" -v lines="$lines" -v bytes=$line_bytes -v sc="$(cpu "$3")" -v sm="$(peak_kib "$3")" \
        -v kc="$(cpu "$4")" -v km="$(peak_kib "$4")" 'BEGIN {
            printf "%-24s %10d %8.1f %8.2f | %10.2f %10.1f | %10.2f %10.1f\n", name, lines * 1000 / ms,
                lines * bytes / 1000 / ms, ms / 1000, sc / 100, sm / 1024, kc / 100, km / 1024 }'
}
median() { tr ' ' '\n' <<< "$1" | sed '/^$/d' | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ratio() { awk -v ours="$(median "$canh_ms")" -v theirs="$(median "$1")" 'BEGIN { printf "%.1f", theirs / ours }'; }
say_ratios() {
    printf '\ncanh: %d lines/s, the median (bar 150000)\n' $((lines * 1000 / $(median "$canh_ms")))
    [ -n "$tuned_ms" ] || return 0
    printf 'canh: %s times %s (bar 3)\n' "$(ratio "$tuned_ms")" 'rsyslog tuned' "$(ratio "$defaults_ms")" 'rsyslog with its defaults'
}
canh_ms='' tuned_ms='' defaults_ms=''

acknowledged() { [ "$(metric "$log_agent_metrics" canh_agent_records_acknowledged_total)" -ge "$1" ] && echo yes; }

# From the start of the agent, with the file there, until every line is acknowledged.
bench_canh() {
    local begun took
    rm -rf "$work/state"/*
    collector=
    start_collector
    begun=$(now_ms)
    start_log_agent web-01 "$work/lines" syslog
    wait_for "the last acknowledgement" acknowledged "$lines" > /dev/null
    took=$(($(now_ms) - begun))
    canh_ms+=" $took"
    table_row "canh agent, collector" $took "$pid_canh_log_agent" "$pid_canh_collector"
    local kept
    kept=$(metric "$collector_metrics" canh_collector_records_total)
    [ "$kept" -eq "$lines" ] || { echo "bench-path: the collector has $kept records, not $lines" >&2; return 1; }
    end "$pid_canh_log_agent"
    end "$pid_canh_collector"
}

end() { kill "$1"; wait "$1" || true; }

# Writes lines at 1,000 a second: fifty, then the rest of their twentieth of a second.
pace() { # seconds
    awk -v count=$(($1 * 1000)) -v seed=2 -f "$here/lines.awk" > "$work/paced"
    local begun next=0 burst
    begun=$(now_ms)
    exec 4< "$work/paced"
    while mapfile -t -n 50 burst <&4 && [ ${#burst[@]} -gt 0 ]; do
        printf '%s\n' "${burst[@]}"
        next=$((next + 50))
        local ahead=$((begun + next - $(now_ms)))
        [ $ahead -le 0 ] || sleep "0.$(printf '%03d' $ahead)"
    done
    exec 4<&-
}

# The agent's memory with an empty file and at 1,000 lines a second. The spool is new and the collector too.
weigh_agent() {
    rm -rf "$work/state/web-01-spool" "$work/state/collector"
    collector=
    start_collector
    : > "$work/logs/paced.log"
    start_log_agent web-01 "$work/logs/paced.log" syslog
    sleep "$paced_seconds"
    weight "idle" 8
    pace "$paced_seconds" >> "$work/logs/paced.log"
    wait_for "the paced lines" acknowledged $((paced_seconds * 1000)) > /dev/null
    weight "at 1,000 lines/s" 15
}
weight() { # when, bar
    printf 'agent %-18s RSS %5.1f MB (bar %d), Pss %5.1f MB, peak %5.1f MB\n' "$1" "$(mb rss_kib)" "$2" "$(mb pss_kib)" "$(mb peak_kib)"
}
mb() { awk -v kib="$("$1" "$pid_canh_log_agent")" 'BEGIN { print kib / 1024 }'; }
