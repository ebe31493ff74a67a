# What the live tests of delivery share: lines no two of which are alike and which hardly pack, and the
# comparison of what was written on the host with what is in the collector's journal. Sourced by them
# after stage.sh.

written=0

# Writes `count` more lines of about 400 bytes.
noise() { # count
    head -c $(($1 * 292)) /dev/urandom | base64 -w 390 | awk -v from=$written '{ print "line " from + NR " " $0 }'
}

# Appends lines to a file, and to the list of all that was written.
write_lines() { # file, count
    noise "$2" > "$work/more"
    cat "$work/more" >> "$1"
    cat "$work/more" >> "$work/written"
    written=$((written + $(wc -l < "$work/more")))
}

journalled() { "$bin/journal-lines" "$work/state/collector/journal" | wc -l; }
all_journalled() { [ "$(journalled)" -ge "$(wc -l < "$work/written")" ] && echo yes; }

# Waits until everything is there, and fails unless each line is there once and nothing else is.
each_line_once() { # what happened
    wait_for "all lines after $1 ($(wc -l < "$work/written") written)" all_journalled > /dev/null
    "$bin/journal-lines" "$work/state/collector/journal" | sort > "$work/found"
    sort "$work/written" | cmp -s - "$work/found" || {
        echo "$play: after $1 the journal has not each line once:" >&2
        diff <(sort "$work/written") "$work/found" | cut -c1-60 | head -n 10 >&2
        return 1
    }
    echo "$play: $1: $(wc -l < "$work/found") lines, each once"
}

end_hard() { { kill -9 "$1" && wait "$1"; } 2> /dev/null || true; }
