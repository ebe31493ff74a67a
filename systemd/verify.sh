#!/bin/sh
# Verifies the unit files, the users and the temporary files in a scratch root with dummy binaries,
# and shows how exposed each unit is. Needs no privilege and changes nothing outside the scratch root.
# Exits 0 if all is well or systemd-analyze is absent, 1 if a file is wrong or a unit too exposed.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# Bounds on the exposure, in tenths: systemd-analyze security, 0 (none) to 100.
bounds="canh-collector:20 canh-correlator:20 canh-flow-agent:20 canh-log-agent:25"

if ! command -v systemd-analyze >/dev/null 2>&1; then
    echo "skipped: systemd-analyze is not installed, the units were not verified"
    exit 0
fi

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/usr/bin" "$root/usr/lib/systemd" "$root/etc/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d"
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
for dir in /usr/lib/systemd/system /lib/systemd/system; do
    if [ -d "$dir" ]; then
        cp -R "$dir" "$root/usr/lib/systemd/"
        break
    fi
done
for name in kill canh-collector canh-correlator canh-log-agent canh-flow-agent; do
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/bin/$name"
    chmod 0755 "$root/usr/bin/$name"
done
cp "$here"/*.service "$root/etc/systemd/system/"

failed=0
for unit in "$here"/*.service; do
    name=$(basename "$unit")
    # Man pages are of the packages, not of this scratch root.
    if said=$(systemd-analyze verify --root="$root" --man=no --recursive-errors=no "$root/etc/systemd/system/$name" 2>&1) && [ -z "$said" ]; then
        echo "verified: $name"
    else
        echo "wrong: $name" && printf '%s\n' "$said"
        failed=1
    fi
done

if systemd-analyze security --help 2>/dev/null | grep -q -- '--offline'; then
    for pair in $bounds; do
        name=${pair%%:*}
        bound=${pair##*:}
        shown=$(systemd-analyze security --offline=yes --no-pager --threshold="$bound" "$here/$name.service" 2>&1) || {
            printf '%s\n' "$shown"
            failed=1
        }
        level=$(printf '%s\n' "$shown" | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')
        echo "exposure: $name ${level:-unknown}, bound $((bound / 10)).$((bound % 10))"
    done
else
    echo "skipped: this systemd-analyze cannot judge unit files offline"
fi

if command -v systemd-sysusers >/dev/null 2>&1; then
    : >"$root/etc/passwd" && : >"$root/etc/group"
    for file in "$here"/*.sysusers; do
        cp "$file" "$root/usr/lib/sysusers.d/$(basename "$file" .sysusers).conf"
    done
    # As root the users are really made, in the scratch root, so that the temporary files can be theirs.
    dry=--dry-run
    [ "$(id -u)" -ne 0 ] || dry=
    if said=$(systemd-sysusers $dry --root="$root" 2>&1); then
        echo "verified: sysusers"
    else
        echo "wrong: sysusers" && printf '%s\n' "$said"
        failed=1
    fi
else
    echo "skipped: systemd-sysusers is not installed"
fi
if [ "$(id -u)" -eq 0 ] && command -v systemd-tmpfiles >/dev/null 2>&1; then
    for file in "$here"/*.tmpfiles; do
        cp "$file" "$root/usr/lib/tmpfiles.d/$(basename "$file" .tmpfiles).conf"
    done
    if said=$(systemd-tmpfiles --create --root="$root" 2>&1) && [ -z "$said" ]; then
        echo "verified: tmpfiles"
    else
        echo "wrong: tmpfiles" && printf '%s\n' "$said"
        failed=1
    fi
else
    echo "skipped: tmpfiles are verified as root, with systemd-tmpfiles"
fi
exit "$failed"
