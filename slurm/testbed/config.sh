# Writes what the daemons read: slurm.conf, the switches, the hosts, the key.
# shellcheck shell=bash

# A network for benchmarks (RFC 2544): nobody's real addresses. Every testbed has its own.
net=198.18
ctl_address=$net.0.1
address_of() { [ "$1" = ctl ] && echo "$ctl_address" || echo "$net.1.$((${1#n} + 1))"; }

write_config() {
  write_hosts >"$dir/hosts"
  write_slurm_conf >"$dir/slurm.conf"
  write_topology >"$dir/topology.conf"
  # slurmd looks for the kind of cgroups even when nothing uses them, and gives up in a fresh /sys;
  # naming the kind is enough, nothing is mounted.
  echo 'CgroupPlugin=cgroup/v1' >"$dir/cgroup.conf"
  # What a plugin stack is in /etc is not ours; this one may be edited while the testbed is up.
  {
    echo '# plugins of srun and slurmstepd (SPANK), one a line: optional /path/plugin.so'
    echo "$plugstack"
  } >"$dir/plugstack.conf"
  (umask 377 && head -c 128 /dev/urandom >"$dir/munge.key")
}

write_hosts() {
  echo "127.0.0.1 localhost"
  local node
  for node in ctl $(node_names); do echo "$(address_of "$node") $node"; done
}

# Leaf switches s0, s1, ... with the nodes in order, joined by one core switch.
write_topology() {
  local leaf=0 first=0 size
  for size in $leaves; do
    echo "SwitchName=s$leaf Nodes=n[$first-$((first + size - 1))]"
    first=$((first + size))
    leaf=$((leaf + 1))
  done
  [ "$leaf" -eq 1 ] || echo "SwitchName=core Switches=s[0-$((leaf - 1))]"
}

# Paths are those inside a node, where this folder is /run/testbed: short, since sockets' names are
# limited to 107 bytes, and private to the node, except where daemons have to share.
write_slurm_conf() {
  cat <<END
ClusterName=testbed
SlurmctldHost=ctl($ctl_address)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/run/testbed/munge.socket
StateSaveLocation=/run/slurmctld
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/run/testbed/log/slurmctld
SlurmdLogFile=/run/testbed/log/slurmd-%n
SlurmctldDebug=info
SlurmdDebug=info
TmpFS=/tmp
PlugStackConfig=/run/testbed/plugstack.conf
TopologyPlugin=topology/tree
# By the tree of processes: cgroups would be the machine's, and often cannot be had in a container.
ProctrackType=proctrack/linuxproc
# Debian's default, and the trap of many a cluster: without --mpi=pmix each task is alone.
MpiDefault=none
# Whole nodes, and tasks spread over them: -N4 -n8 is 2 on each.
SelectType=select/linear
# Parts of a heterogeneous job are only started by this one; it looks every second.
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1
# A node that was killed is back when its daemon is.
ReturnToService=2
SlurmdTimeout=10
# As many CPUs as asked for, whatever the machine has.
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
KillWait=2
UnkillableStepTimeout=20
InactiveLimit=0
MinJobAge=60
NodeName=n[0-$((nodes - 1))] NodeAddr=$net.1.[1-$nodes] CPUs=$cpus \\
  Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=1000 State=UNKNOWN
# Jobs share nodes, so that several can be tried at once; in "alone" a node has one job. One in
# "urgent" preempts those of "shared": they get SIGTERM, ten seconds later SIGKILL, and start anew.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=shared Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:16 \\
  PriorityTier=1 GraceTime=10
PartitionName=alone Nodes=ALL Default=NO MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE \\
  PriorityTier=1 PreemptMode=OFF
PartitionName=urgent Nodes=ALL Default=NO MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE \\
  PriorityTier=10 PreemptMode=OFF
END
}
