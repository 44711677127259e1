/**
 * Docker's default seccomp policy for its default capabilities, for one architecture. What moby's profile
 * (github.com/moby/profiles, seccomp/default.json) allows a container with those capabilities is allowed here, told by
 * subject. Only the machine's own architecture is listed: each further one adds to the time of every create.
 * The price: 32-bit programs do not run on a 64-bit host.
 */
import type { OciSeccomp } from './oci-spec.ts';

/** OCI architecture → libseccomp's name. */
const seccompArchitectures: Readonly<Record<string, string>> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
};

const errnoPermission = 1; // EPERM
const errnoNoSyscall = 38; // ENOSYS: the C library then falls back to an older call
/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: a new namespace needs CAP_SYS_ADMIN. */
const cloneNamespaceFlags = 0x7e020000;
/** socket(2) family of hypervisor sockets: they would reach the host around the network namespace. */
const afVsock = 40;
/** personality(2): Linux, 32 bit, with or without UNAME26, and the query. */
const allowedPersonalities = [0x0, 0x0008, 0x20000, 0x20008, 0xffffffff];

const bySubject = {
  files: `access chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate getdents
    getdents64 ioctl lchown link linkat lseek lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat
    openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat
    renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync sync_file_range syncfs tee truncate umask
    unlink unlinkat utime utimensat utimes futimesat vmsplice write writev chdir fchdir getcwd chroot cachestat`,
  attributes: `fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr
    removexattr setxattr`,
  events: `epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch poll ppoll pselect6 select
    signalfd signalfd4`,
  asynchronousIo: 'io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioprio_get ioprio_set',
  memory: `brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap msync
    munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack`,
  ipc: `mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2
    semctl semget semop semtimedop shmat shmctl shmdt shmget futex futex_requeue futex_wait futex_waitv futex_wake`,
  network: `accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg
    sendmsg sendto setsockopt shutdown socketpair`,
  processes: `alarm capget capset execve execveat exit exit_group fork getcpu getitimer getpgid getpgrp getpid getppid
    getpriority getrlimit getrusage getsid gettid kill pause pidfd_open pidfd_send_signal prctl prlimit64
    process_mrelease process_vm_readv process_vm_writev ptrace restart_syscall rseq setitimer setpgid setpriority
    setrlimit setsid set_robust_list get_robust_list set_tid_address get_thread_area set_thread_area tgkill times tkill
    vfork wait4 waitid`,
  identities: `getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups setregid
    setresgid setresuid setreuid setuid`,
  scheduling: `sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield`,
  signals: `rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sigaltstack`,
  time: `adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime`,
  sandboxes: 'landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp',
  system: 'getrandom sysinfo uname',
} as const;

/** Calls that exist on one architecture only. */
const byArchitecture: Readonly<Record<string, string>> = {
  amd64: 'arch_prctl modify_ldt',
  arm64: 'sync_file_range2',
};

/** The policy for an OCI architecture; undefined where none was made: the container then runs without a filter. */
export function defaultSeccomp(architecture: string): OciSeccomp | undefined {
  const seccompName = seccompArchitectures[architecture];
  if (seccompName === undefined) return undefined;
  const allow = 'SCMP_ACT_ALLOW';
  const names = [...Object.values(bySubject), byArchitecture[architecture] ?? ''].join(' ').split(/\s+/);
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: errnoPermission,
    architectures: [seccompName],
    syscalls: [
      { names: names.filter((name) => name !== ''), action: allow },
      { names: ['socket'], action: allow, args: [{ index: 0, value: afVsock, op: 'SCMP_CMP_NE' }] },
      {
        names: ['clone'],
        action: allow,
        args: [{ index: 0, value: cloneNamespaceFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }],
      },
      // Its flags are behind a pointer, where a filter can't look.
      { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: errnoNoSyscall },
      ...allowedPersonalities.map((value) => ({
        names: ['personality'],
        action: allow,
        args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
      })),
    ],
  };
}
