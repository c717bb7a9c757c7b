#!/bin/sh
# Appends the alert on standard input to a file, below a line with the time in UTC. Lines after the
# alert's first one are indented: no text in an alert can look like another alert.

die() {
    printf 'log.sh: %s\n' "$1" >&2
    exit 1
}

usage='usage: log.sh FILE < message'
case ${1-} in
-h | --help) printf '%s\n' "$usage" && exit ;;
esac
if [ $# -ne 1 ] || [ -z "$1" ]; then
    die "give the one file to append to, $usage"
fi

LC_ALL=C
export LC_ALL
stamp=$(date -u +%Y-%m-%dT%H:%M:%SZ) || die 'cannot tell the time, is date installed?'
message=$(tr -d '\000-\010\013-\037\177' | sed '2,$s/^./  &/') || die 'cannot read the message'
[ -n "$message" ] || die 'there is no message on standard input'

# dd gathers what the shell may print in pieces into one write: with O_APPEND, alerts that are
# logged at the same time then stay whole.
if ! error=$({ printf '%s\n%s\n\n' "$stamp" "$message" | dd obs=1048576 >>"$1"; } 2>&1); then
    die "cannot write to $1, $(printf '%s\n' "$error" | head -n 1)"
fi
