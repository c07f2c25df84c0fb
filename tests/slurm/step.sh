#!/bin/sh
# A step that leaves a daemon in a session of its own, and a child that ignores SIGTERM; then works for so long.
# The output of the daemon is waited for until it has closed it: in its own session by then.
: "$(setsid -f sh -c 'exec sleep 5432 > /dev/null 2>&1' < /dev/null)"
(trap '' TERM; exec sleep 5433) < /dev/null > /dev/null 2>&1 &
exec sleep "${1:-0}"
