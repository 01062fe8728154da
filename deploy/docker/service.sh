#!/bin/sh
# otel-bridge under Docker's restart policy "on-failure", the one that lets a container stay stopped:
#
# * Settings that are wrong (exit status 2) stay wrong however often they are read. It ends with 0, and stays stopped
#   with its one line.
# * Told to stop (exit status 0), it ends with 143, the shell's number for SIGTERM: "on-failure" brings back after a
#   reboot only what did not end with 0. One that was stopped by hand comes back then too, as with "always":
#   `docker compose down` is the way to be rid of it.
# * Whatever else ends it is a failure, and Docker starts it again, each time after a longer wait.
set -u
bridge=
stopping=
trap 'stopping=1; [ -z "$bridge" ] || kill -TERM "$bridge" 2>/dev/null' TERM INT
otel-bridge "$@" &
bridge=$!
[ -z "$stopping" ] || kill -TERM "$bridge" 2>/dev/null
wait "$bridge"
status=$?
# A signal ends the shell's wait, not the bridge: wait for its own end.
while kill -0 "$bridge" 2>/dev/null; do
  wait "$bridge"
  status=$?
done
case "$status:$stopping" in
  2:*) exit 0 ;;
  0:1) exit 143 ;;
esac
exit "$status"
