#!/usr/bin/env bash
# contain as the step runner of Slurm: a real cluster of two nodes on this machine, and what becomes of steps that
# leave processes behind, are cancelled, run out of time, or lose whoever looks after them.
#
#   tests/slurm/run.sh [PROCTRACK…]     pgid, linuxproc and cgroup, unless some are named
#
# Takes root, and Debian's slurm-wlm and munge, which are installed where they are missing. CONTAIN_BINARY is tried, by
# default the one that cargo builds; CONTAIN_TIME_SCALE stretches deadlines. Exits with 77 where nothing could be tried.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly HERE=$PWD/tests/slurm
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly STATE=$TARGET/slurm LOG=$TARGET/slurm-log
readonly KILL_WAIT=5
FAILED=0
source "$HERE/cluster.sh"
source "$HERE/cases.sh"

main() {
    mkdir -p "$LOG"
    [[ $(id -u) == 0 ]] || skip "it takes root"
    # A socket's path has 108 bytes at most (unix(7)).
    ((${#STATE} < 80)) || skip "the target directory's path is too long for sockets: $STATE"
    install_slurm || skip "slurm-wlm and munge cannot be had here: $(tail -n 1 "$LOG/apt")"
    [[ -n ${CONTAIN_BINARY:-} ]] || cargo build -q
    CONTAIN=$(realpath "${CONTAIN_BINARY:-$TARGET/debug/contain}")
    trap 'stop_cluster' EXIT
    for PROCTRACK in ${@:-pgid linuxproc cgroup}; do
        try_proctrack
    done
    return "$FAILED"
}

# All of it where steps are process groups; where Slurm holds them otherwise what that could change.
try_proctrack() {
    ASIDE=none STEPS=20
    if ! start_cluster; then
        # Only what its daemons themselves refuse is no failure.
        if refused; then say "SKIPPED: $(refusal)"; else FAILED=1; say "FAILED: the nodes do not become idle"; fi
        stop_cluster
        return
    fi
    if [[ $PROCTRACK == pgid ]]; then
        STEPS=200
        submit_limited
        try drain
    fi
    for case in ${CONTAIN_SLURM_CASES:-array_alone array_contained unprivileged scancel kill_wait step_daemon epilog}; do
        try "$case"
    done
    [[ $PROCTRACK != pgid ]] || try time_limit
    stop_cluster
}

# One case, in a shell of its own; whatever it leaves is none of the next one's.
try() {
    (set -euo pipefail; "case_$1") &
    wait "$!" && return
    FAILED=1
    say "FAILED: $1"
    squeue -h -o %A | awk -v aside="$ASIDE" '$0 != aside' | sort -u | xargs -r scancel
    within $((KILL_WAIT + 10)) none_left || kill -9 $(left) || true
    within 60 is_idle || say "FAILED: $1 left a cluster that is not idle: $(sinfo -h -N -o '%N %T' | tr '\n' ' ')"
}

say() {
    printf '%-9s %s\n' "$PROCTRACK" "$*"
}

fail() {
    say "${FUNCNAME[1]#case_}: $*" >&2
    # What is to be looked at afterwards.
    cp -r "${REPORTS:-/dev/null}" "$STATE/log" "$LOG/" 2> /dev/null || true
    exit 1
}

skip() {
    echo "SKIPPED: $*" >&2
    exit 77
}

main "$@"
