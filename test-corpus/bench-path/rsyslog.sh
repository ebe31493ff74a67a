# The peer: rsyslog that reads the file (imfile) and sends it over TLS (omfwd) to a second rsyslog that
# writes it with `sync="on"` (omfile). Sourced by `run`.
#
# It runs twice: as Debian's documentation sets it up (its own defaults, GnuTLS), and tuned to be fast
# (long queue, large portions and buffers, OpenSSL, which was the faster here). Neither is as careful as
# we are, because neither can be: plain TCP syslog has no acknowledgement and the sender keeps nothing on
# disk, so what the second one has received and not written yet is lost with it.

rsyslog_start() { # name
    local name=$1
    rsyslogd -n -f "$work/rsyslog-$name.conf" -i "$work/rsyslog-$name.pid" > "$work/rsyslog-$name.log" 2>&1 &
    daemons+=($!)
    eval "pid_rsyslog_$name=$!"
}

rsyslog_tls() { # whose certificate
    cat <<CONF
global(
    workDirectory="$work/rsyslog-state-$1" maxMessageSize="64k"
    defaultNetstreamDriver="$rsyslog_driver"
    defaultNetstreamDriverCAFile="$work/$1/ca.pem"
    defaultNetstreamDriverCertFile="$work/$1/cert.pem"
    defaultNetstreamDriverKeyFile="$work/$1/key.pem"
)
main_queue(queue.timeoutEnqueue="600000" $rsyslog_queue)
CONF
}

rsyslog_configure() { # port
    mkdir -p "$work/rsyslog-state-collector" "$work/rsyslog-state-web-01"
    {
        rsyslog_tls collector
        cat <<CONF
module(load="imtcp" streamDriver.mode="1" streamDriver.authMode="x509/certvalid" maxSessions="10")
template(name="raw" type="string" string="%rawmsg%\n")
ruleset(name="keep") {
    action(type="omfile" file="$work/rsyslog-kept" template="raw" sync="on" $rsyslog_buffer)
}
input(type="imtcp" address="127.0.0.1" port="$1" ruleset="keep")
CONF
    } > "$work/rsyslog-keep.conf"
    {
        rsyslog_tls web-01
        cat <<CONF
module(load="imfile" mode="inotify")
template(name="raw" type="string" string="%msg%\n")
ruleset(name="send") {
    action(type="omfwd" target="127.0.0.1" port="$1" protocol="tcp" template="raw"
        streamDriverMode="1" streamDriverAuthMode="x509/certvalid")
}
input(type="imfile" file="$work/lines" tag="bench" ruleset="send" maxLinesAtOnce="0" persistStateInterval="0")
CONF
    } > "$work/rsyslog-send.conf"
}

rsyslog_listens() { (exec 3<> "/dev/tcp/127.0.0.1/$rsyslog_port") && echo yes; }
rsyslog_kept() { [ "$(stat -c %s "$work/rsyslog-kept")" -ge $((lines * line_bytes)) ] && echo yes; }

has_rsyslog() { command -v rsyslogd > /dev/null || { echo "rsyslog: skipped, rsyslogd is not installed"; return 1; }; }
bench_rsyslog_defaults() {
    rsyslog_driver=gtls rsyslog_queue='' rsyslog_buffer=''
    ! has_rsyslog || { bench_rsyslog "rsyslog, its defaults"; defaults_ms+=" $rsyslog_ms"; }
}
bench_rsyslog_tuned() {
    rsyslog_driver=ossl rsyslog_buffer='ioBufferSize="1m"'
    rsyslog_queue='queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="2048"'
    ! has_rsyslog || { bench_rsyslog "rsyslog, tuned"; tuned_ms+=" $rsyslog_ms"; }
}

# From the start of the sender, with the file there, until the second one's file holds every line.
bench_rsyslog() { # name
    rm -rf "$work"/rsyslog-*
    rsyslog_port=$((20000 + RANDOM % 20000))
    rsyslog_configure $rsyslog_port
    rsyslog_start keep
    wait_for "rsyslog's port" rsyslog_listens > /dev/null
    local begun
    begun=$(now_ms)
    rsyslog_start send
    wait_for "rsyslog's last line" rsyslog_kept > /dev/null
    rsyslog_ms=$(($(now_ms) - begun))
    table_row "$1" $rsyslog_ms "$pid_rsyslog_send" "$pid_rsyslog_keep"
    end "$pid_rsyslog_send"
    end "$pid_rsyslog_keep"
    cmp -s "$work/rsyslog-kept" "$work/lines" || echo "rsyslog: the lines it kept are not those it was given"
}
