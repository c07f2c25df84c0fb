# What is tried on a cluster. Each case submits steps, and says on one line how they ended; it fails with a reason.

# The batch script of an array: the step as it is, or under contain with a report of each.
script() {
    printf '#!/bin/sh\n'
    case $1 in
        alone) echo "exec $HERE/step.sh $2" ;;
        contained) echo "exec $CONTAIN --state-dir ${REGISTRY:-$STATE/registry} run --grace ${GRACE:-200ms} --report $REPORTS/\$SLURM_JOB_ID.json ${OPTIONS:-} -- $HERE/step.sh $2" ;;
    esac
}

# Submits a script of that KIND, whose steps work for so many SECONDS; prints the job's id.
submit() {
    local kind=$1 seconds=$2
    shift 2
    script "$kind" "$seconds" > "$STATE/job-$kind.sh"
    sbatch --parsable --no-requeue --output=/dev/null --error="$STATE/log/%j.err" -n1 --mem=1M "$@" "$STATE/job-$kind.sh"
}

# Whether the job, with all its elements, is no longer in the queue.
is_over() {
    [[ -z $(squeue -h -j "$1" -o %T 2>/dev/null) ]]
}

over() {
    within "$2" is_over "$1" || fail "job $1 is not over: $(squeue -h -j "$1" -o '%i %T %r' | head -n 3 | tr '\n' ';')"
}

# So many reports were written whole.
reported() {
    (($(find "$REPORTS" -name '*.json' -size +0 | wc -l) >= $1))
}

running_on_both() {
    local node
    for node in n1 n2; do
        (($(squeue -h -j "$1" -t running -w "$node" -o %i | wc -l) >= $2)) || return 1
    done
}

# Daemons and deaf children that run, which is when their steps have done their worst.
afoot() {
    (($(left | xargs -r -I{} cat /proc/{}/comm 2>/dev/null | grep -cx sleep) >= $1))
}

fresh() {
    REPORTS=$STATE/reports/$1
    rm -rf "$REPORTS"
    mkdir -p "$REPORTS"
}

# FIELD of the merged report; what is asked for is on lines of their own.
merged() {
    find "$REPORTS" -name '*.json' -print0 | xargs -0 "$CONTAIN" report --json > "$STATE/merged.json"
}

field() {
    python3 -c "import json, sys; report = json.load(open('$STATE/merged.json')); print($1)"
}

# An array of so many steps that leave a daemon and a deaf child each, without contain.
case_array_alone() {
    local job behind
    job=$(submit alone 0 --array="0-$((STEPS - 1))")
    over "$job" 240
    behind=$(left | wc -l)
    [[ -z $(left) ]] || kill -9 $(left)
    within 20 none_left || fail "not even SIGKILL ends what is left"
    say "Slurm alone left $behind processes of $STEPS steps behind"
    # Where Slurm holds its steps by cgroup it leaves nothing, and what follows shows that we do not spoil that.
    [[ $PROCTRACK == cgroup ]] || ((behind >= STEPS)) || fail "the steps left fewer than a daemon each"
}

# The same under contain: nothing is left, and the merged report lists every step.
case_array_contained() {
    local job status=0
    fresh array
    job=$(submit contained 0 --array="0-$((STEPS - 1))")
    over "$job" 240
    within 10 none_left || fail "left: $(left | tr '\n' ' ')"
    merged || status=$?
    [[ $status == 0 ]] || fail "the merged report says $status"
    [[ $(field 'len({run["step"] for run in report["runs"]})') == "$STEPS" ]] ||
        fail "the merged report lists $(field 'len(report["runs"])') of $STEPS"
    [[ $(field 'sorted({run["node"] for run in report["runs"]})') == "['n1', 'n2']" ]] || fail "not on both nodes"
    [[ $(field 'report["totals"]["left_behind"] + report["totals"]["escaped"]') == $((2 * STEPS)) ]] ||
        fail "found $(field 'report["totals"]') of $((2 * STEPS))"
    say "nothing is left of $STEPS steps on both nodes; the merged report lists all, with the $((2 * STEPS)) that were ended"
}

# Steps of a user without rights, whose reports and records are that user's.
case_unprivileged() {
    local job user=65534
    fresh unprivileged
    mkdir -p "$STATE/records"
    chown "$user" "$REPORTS" "$STATE/records"
    if ! setpriv --reuid "$user" --regid "$user" --clear-groups test -x "$CONTAIN" -a -x "$HERE/step.sh" -a -w "$REPORTS"; then
        say "SKIPPED: a user without rights cannot get at $CONTAIN"
        return
    fi
    job=$(REGISTRY=$STATE/records submit contained 0 --uid="$user" --gid="$user" --error=/dev/null --array=0-9)
    over "$job" 120
    within 10 none_left || fail "left: $(left | tr '\n' ' ')"
    merged || fail "the merged report says that a run lost containment"
    [[ $(field '[len(report["runs"]), report["totals"]["left_behind"] + report["totals"]["escaped"]]') == '[10, 20]' ]] ||
        fail "of 10 steps and 20 processes the merged report lists $(field '[len(report["runs"]), report["totals"]]')"
    say "nothing is left of 10 steps of a user without rights, and the merged report lists all, with the 20 that were ended"
}

# scancel in the middle: when the grace is over nothing is left, on both nodes.
case_scancel() {
    local job
    fresh scancel
    job=$(GRACE=2s submit contained 5431 --array=0-19)
    within 60 running_on_both "$job" 5 || fail "the array does not run on both nodes"
    within 60 afoot 60 || fail "the steps did not get going"
    scancel "$job"
    within 20 none_left || fail "left: $(left | tr '\n' ' ')"
    over "$job" 60
    merged && [[ $(field '[run["reason"] for run in report["runs"]]') == "$(python3 -c 'print(["signal"] * 20)')" ]] ||
        fail "the reports do not all say that a signal was the reason"
    ended_within 3
    say "nothing is left of 20 steps on both nodes after scancel: with a grace of 2 s the last had ended after $(longest) s"
}

# Every run was ended in less than so many seconds, from the signal to the removal of its group.
ended_within() {
    [[ $(field "max(run['teardown']['seconds'] for run in report['runs']) < $1 * ${CONTAIN_TIME_SCALE:-1}") == True ]] ||
        fail "a run was ended only after $(longest) s"
}

longest() {
    field 'round(max(run["teardown"]["seconds"] for run in report["runs"]), 3)'
}

# A grace that is longer than KillWait is made to fit: contain itself ends the step, and reports it.
case_kill_wait() {
    local job
    fresh kill_wait
    job=$(GRACE=60s OPTIONS='--log info' submit contained 5431)
    within 60 afoot 3 || fail "the step did not get going"
    scancel "$job"
    within $((KILL_WAIT + 5)) none_left || fail "left after KillWait: $(left | tr '\n' ' ')"
    reported 1 || fail "Slurm's SIGKILL came before the report"
    merged && [[ $(field '[run["reason"] for run in report["runs"]]') == "['signal']" ]] || fail "no signal was the reason"
    ended_within "$KILL_WAIT"
    say "a grace of 60 s ended after $(longest) s, within the KillWait of $KILL_WAIT s"
    over "$job" 60
}

# A time limit of Slurm ends a step as scancel does. Slurm looks every half a minute: submitted first, looked at last.
case_time_limit() {
    local job=$ASIDE
    REPORTS=$STATE/reports/limited
    within 150 reported 1 || fail "the time limit of a minute has not ended the step"
    ASIDE=none
    within 5 none_left || fail "left after the time limit: $(left | tr '\n' ' ')"
    merged && [[ $(field '[run["reason"] for run in report["runs"]]') == "['signal']" ]] || fail "no signal was the reason"
    say "Slurm's time limit ended the step, and left nothing"
    over "$job" 60
}

submit_limited() {
    fresh limited
    ASIDE=$(GRACE=1s submit contained 5431 --time=1 -w n1)
}

# A node that is drained keeps its steps until they end; one that goes down loses them.
case_drain() {
    local job
    fresh drain
    job=$(submit contained 3 -w n2)
    within 60 afoot 3 || fail "the step did not get going"
    scontrol update nodename=n2 state=drain reason=test
    over "$job" 60
    within 5 none_left || fail "left on the drained node: $(left | tr '\n' ' ')"
    merged && [[ $(field '[run["outcome"] for run in report["runs"]]') == "[{'exited': 0}]" ]] ||
        fail "the step did not end by itself on the drained node"
    scontrol update nodename=n2 state=resume
    within 30 is_idle || fail "the node did not resume"
    fresh down
    job=$(submit contained 5431 -w n2)
    within 60 afoot 3 || fail "the step did not get going"
    scontrol update nodename=n2 state=down reason=test
    within $((KILL_WAIT + 10)) none_left || fail "left on the node that went down: $(left | tr '\n' ' ')"
    say "a drained node kept its step to the end, one that went down ended it; nothing was left"
    # It may have come back by itself, which ReturnToService lets it.
    scontrol update nodename=n2 state=resume 2> /dev/null || true
    within 60 is_idle || fail "the node did not come back: $(sinfo -h -N -o '%N %T %E' | tr '\n' ';') $(squeue -h | tr '\n' ';')"
}

# The daemon of a step is killed: nobody is left to end it but contain. Then both: it is the guardian's.
case_step_daemon() {
    local job contain daemon
    fresh daemon
    for victims in daemon both; do
        job=$(GRACE=1s submit contained 5431 -w n1)
        within 60 afoot 3 || fail "the step did not get going"
        contain=$(runner "$job")
        [[ -n $contain ]] || fail "no contain is in the job"
        daemon=$(ancestor "$contain" slurmstepd)
        case $victims in
            daemon) kill -9 "$daemon" ;;
            both) kill -9 "$daemon" "$contain" ;;
        esac
        within 10 none_left || fail "$victims killed, and left: $(left | tr '\n' ' ')"
        [[ $victims == both ]] || within 5 reported 1 || fail "no report"
        scancel "$job" 2>/dev/null || true
        over "$job" 60
    done
    merged_says_engine || fail "the report does not name the engine as the reason"
    say "SIGKILL of slurmstepd: contain ended its step; of both at once: the guardian did"
    within 60 is_idle || fail "the node is not idle again: $(sinfo -h -N -o '%N %T' | tr '\n' ';')"
}

merged_says_engine() {
    find "$REPORTS" -name '*.json' -size 0 -delete
    merged && [[ $(field '[run["reason"] for run in report["runs"]]') == "['engine']" ]]
}

# contain and its guardian are both killed: the epilog's gc ends what is left.
case_epilog() {
    local job
    fresh epilog
    job=$(submit contained 5431)
    within 60 afoot 3 || fail "the step did not get going"
    kill -9 $(contain_of "$job")
    within 30 none_left || fail "the epilog left: $(left | tr '\n' ' ')"
    over "$job" 60
    say "contain and its guardian killed: contain gc as the epilog ended the rest"
}

# The processes of contain in a job.
contain_of() {
    local pid
    for pid in $(left); do
        # A name has 15 bytes at most (proc(5)).
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$(basename "$CONTAIN" | cut -c-15)" ]] || continue
        ! grep -qzsx "SLURM_JOB_ID=$1" "/proc/$pid/environ" || echo "$pid"
    done
}

# The one of them that the others are children of.
runner() {
    local all pid
    all=$(contain_of "$1")
    for pid in $all; do
        grep -qxF "$(awk '{ print $4 }' "/proc/$pid/stat")" <<< "$all" || echo "$pid"
    done
}

# The nearest ancestor of that name.
ancestor() {
    local pid=$1
    until [[ $(cat "/proc/$pid/comm") == "$2" ]]; do
        pid=$(awk '{ print $4 }' "/proc/$pid/stat")
        ((pid > 1)) || fail "$1 has no $2 above it"
    done
    echo "$pid"
}
