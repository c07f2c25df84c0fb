#!/bin/sh
# A step that leaves a daemon in a session of its own, and a child that ignores SIGTERM; then works for so long.
setsid -f sleep 5432 < /dev/null > /dev/null 2>&1
(trap '' TERM; exec sleep 5433) < /dev/null > /dev/null 2>&1 &
exec sleep "${1:-0}"
