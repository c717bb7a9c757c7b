#!/bin/sh
# Install the Debian packages that the tests want, or say which of them are left out.
# OVERC_TEST_INSTALL=no only looks. With CI set, a missing one is an error. No service is started.
set -eu

# a file that shows that it is there, and the package that brings it
wanted='/usr/bin/chromium chromium
/usr/lib/nagios/plugins/check_load monitoring-plugins-basic
/usr/bin/faketime faketime
/usr/sbin/mariadbd mariadb-server-core
/usr/bin/mariadb-install-db mariadb-server-core
/usr/bin/my_print_defaults mariadb-client-core
/usr/sbin/nginx nginx-light
/usr/lib/galera/libgalera_smm.so galera-4
/usr/bin/wrk wrk'

missing=$(echo "$wanted" | while read -r file package; do
    [ -e "$file" ] || echo "$package"
done)
[ -n "$missing" ] || exit 0
# One line for people to read.
missing=$(echo "$missing" | tr '\n' ' ' | sed 's/ $//')

leave_out() {
    echo "overc: $1; left out are the tests that need: $missing" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
}

[ "${OVERC_TEST_INSTALL:-yes}" != no ] || leave_out "OVERC_TEST_INSTALL=no"
command -v apt-get >/dev/null 2>&1 || leave_out "this machine has no apt-get"
[ "$(id -u)" = 0 ] || leave_out "only root can install Debian packages"

echo "overc: installing Debian packages: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1 keeps the packages' scripts from starting a service.
# shellcheck disable=SC2086 # the list is words on purpose
if ! { apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    leave_out "apt-get could not install them"
fi
