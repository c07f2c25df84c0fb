# A cluster of Slurm on this machine: two nodes, n1 and n2, with ports of their own, a key of their own, and their
# state below $STATE. Nothing outside of that directory is written, but for the packages.

# Takes the packages from the mirror that this machine's own apt uses, unless they are there.
install_slurm() {
    type -P slurmctld slurmd sbatch munged > /dev/null && return
    type -P apt-get > /dev/null || return
    apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends slurm-wlm munge
} > "$LOG/apt" 2>&1

# Starts it, with PROCTRACK and KILL_WAIT.
start_cluster() {
    # Of a run that was killed.
    stop_cluster
    mkdir -p "$STATE"/{ctld,n1,n2,munge,log,reports,registry}
    configure
    (umask 077 && head -c 128 /dev/urandom > "$STATE/munge/key")
    munged --key-file="$STATE/munge/key" --socket="$STATE/munge/socket" --pid-file="$STATE/munge/pid" \
        --log-file="$STATE/munge/log" --seed-file="$STATE/munge/seed" &&
        slurmctld -c && slurmd -N n1 && slurmd -N n2 && within 30 is_idle
} > "$LOG/start" 2>&1

refused() {
    [[ -n $(refusal) ]]
}

# Why a daemon did not start, in its own words.
refusal() {
    grep -hs fatal: "$LOG/start" "$STATE"/log/* "$STATE/munge/log" | sed -n 1p
}

# Every node takes jobs, and has none but the one that is aside.
is_idle() {
    [[ -z $(sinfo -h -N -o %T | grep -vxE 'idle|mixed') && -z $(squeue -h -o %A | grep -vx "$ASIDE") ]] && sinfo -h > /dev/null
}

# The nodes claim more CPUs than there are: what is tried is how steps end, not how fast they compute.
configure() {
    local host=$HOSTNAME base=$((20000 + $$ % 10000))
    export SLURM_CONF=$STATE/slurm.conf
    cat > "$SLURM_CONF" <<END
ClusterName=contain
SlurmctldHost=$host
SlurmctldAddr=127.0.0.1
SlurmUser=root
AuthInfo=socket=$STATE/munge/socket
SlurmctldPort=$base
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/%n
SlurmctldPidFile=$STATE/ctld.pid
SlurmdPidFile=$STATE/%n.pid
SlurmctldLogFile=$STATE/log/ctld
SlurmdLogFile=$STATE/log/%n
ProctrackType=proctrack/$PROCTRACK
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,default_queue_depth=1000
ReturnToService=2
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=$KILL_WAIT
Prolog=$STATE/prolog
Epilog=$STATE/epilog
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 1)) CPUs=32 RealMemory=4096
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 2)) CPUs=32 RealMemory=4096
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    printf 'CgroupAutomount=no\nConstrainCores=no\n' > "$STATE/cgroup.conf"
    for hook in prolog epilog; do
        sed -e "s|@CONTAIN@|$CONTAIN|; s|@STATE@|$STATE|" "$HERE/$hook" > "$STATE/$hook"
        chmod 755 "$STATE/$hook"
    done
}

# Stops the daemons by their pid files, and kills whatever the steps of this cluster left on this machine.
stop_cluster() {
    local file pid group
    [[ -d $STATE ]] || return 0
    for file in "$STATE"/{n1,n2,ctld}.pid "$STATE/munge/pid"; do
        [[ -s $file ]] || continue
        pid=$(< "$file")
        kill "$pid" 2>/dev/null || true
        within 20 is_gone "$pid" || kill -9 "$pid"
    done
    # The pids in between are those of daemons of steps, and what these were to end.
    within 20 swept || echo "of the cluster is left: $(of_cluster | tr '\n' ' ')"
    "$CONTAIN" --state-dir "$STATE/registry" gc > /dev/null || true
    # proctrack/cgroup makes a group for each node, and leaves it.
    for group in /sys/fs/cgroup/*/slurm_n[12]; do
        [[ ! -d $group ]] || find "$group" -depth -type d -exec rmdir {} +
    done
    rm -rf "$STATE"
}

swept() {
    local pids
    pids=$(of_cluster)
    [[ -z $pids ]] || kill -9 $pids 2>/dev/null
    [[ -z $pids ]]
}

# A zombie is gone, too: it is for init to reap.
is_gone() {
    [[ ! -e /proc/$1 ]] || grep -qs '^State:.Z' "/proc/$1/status"
}

# Every process that was started with our SLURM_CONF.
of_cluster() {
    local conf=$STATE/slurm.conf
    (unset SLURM_CONF; grep -lzxF "SLURM_CONF=$conf" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
}

# Processes of steps: those of the cluster that are in a job, Slurm's own left out, and the job that is aside.
left() {
    local pid
    for pid in $(of_cluster); do
        grep -qzs '^SLURM_JOB_ID=' "/proc/$pid/environ" || continue
        ! grep -qzsx "SLURM_JOB_ID=$ASIDE" "/proc/$pid/environ" || continue
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            '' | slurm* | srun | munged) ;;
            *) echo "$pid" ;;
        esac
    done
}

none_left() {
    [[ -z $(left) ]]
}

# Looks every tenth of a second until COMMAND succeeds, for so many SECONDS.
within() {
    local until=$((${EPOCHREALTIME/./} + $1 * 1000000 * ${CONTAIN_TIME_SCALE:-1}))
    until "${@:2}"; do
        ((${EPOCHREALTIME/./} < until)) || return 1
        sleep 0.1
    done
}
