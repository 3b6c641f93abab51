"""System calls that nobody's homework needs, and the filter that refuses them.

The second wall: namespaces, limits and a user without rights hold without it; it takes away what
would have to be used to find a way through them, and what holds memory that no sum counts.
"""

from __future__ import annotations

import errno
import tempfile

# Why, and which.
REFUSED = (
    ("memory that no process shows", "memfd_create memfd_secret shmget msgget semget mq_open"),
    ("a scheduling group of its own, beside the job's", "setsid"),
    ("keys, which users share", "keyctl add_key request_key"),
    ("new namespaces, with rights in them", "unshare setns"),
    (
        "another view of the files",
        "mount umount2 pivot_root chroot move_mount mount_setattr open_tree fsopen fsconfig "
        "fsmount fspick name_to_handle_at open_by_handle_at",
    ),
    ("another process's memory and files", "ptrace process_vm_readv process_vm_writev pidfd_getfd"),
    (
        "large parts of the kernel that rarely saw an enemy",
        "io_uring_setup io_uring_enter io_uring_register userfaultfd bpf perf_event_open "
        "fanotify_init modify_ldt personality vmsplice",
    ),
    ("another process's memory, by its number", "migrate_pages move_pages process_madvise kcmp"),
    (
        "the machine itself",
        "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff "
        "acct quotactl syslog settimeofday clock_settime clock_adjtime adjtimex sethostname "
        "setdomainname iopl ioperm vhangup",
    ),
)
# Nor may a student's process govern the job's own process 1, which watches over it: by its number,
# or with all of a group or a user. Each call, which of its arguments is a process, and which values
# of the one ahead of that mean many.
GOVERNS = (
    ("prlimit64", 0, ()),
    ("sched_setscheduler", 0, ()),
    ("sched_setparam", 0, ()),
    ("sched_setattr", 0, ()),
    ("sched_setaffinity", 0, ()),
    ("setpriority", 1, (1, 2)),
    ("ioprio_set", 1, (2, 3)),
    ("setpgid", 0, ()),
)
INT = 0xFFFFFFFF  # the kernel looks at so many bits of a number
CLONE_NEW = 0x7E020000  # the flags of clone that make namespaces
FAMILIES = (1, 2, 10, 16)  # of sockets: Unix, IPv4, IPv6, and what lists network interfaces
LAST_FAMILY = 64


def compiled_filter() -> bytes:
    """The filter as the kernel takes it: struct sock_filter, one after the other.

    Raises ImportError if libseccomp, or Python's way to it, is not installed.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError) as error:  # it looks for the library on import
        raise ImportError(str(error)) from None
    refusal = seccomp.ERRNO(errno.EPERM)
    wall = seccomp.SyscallFilter(seccomp.ALLOW)
    for _, names in REFUSED:
        for name in names.split():
            try:
                number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
            except (ValueError, RuntimeError):
                continue  # newer than this libseccomp
            if number >= 0:  # else this machine has none by that name
                wall.add_rule(refusal, name)
    for name, who, many in GOVERNS:
        wall.add_rule(refusal, name, seccomp.Arg(who, seccomp.MASKED_EQ, INT, 1))
        for kind in many:
            wall.add_rule(refusal, name, seccomp.Arg(who - 1, seccomp.MASKED_EQ, INT, kind))
    for bit in range(32):
        if flag := CLONE_NEW & (1 << bit):
            wall.add_rule(refusal, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    # Its flags are in memory, where a filter cannot look; the C library then takes the older call.
    wall.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    unknown = seccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in sorted(set(range(LAST_FAMILY)) - set(FAMILIES)):
        wall.add_rule(unknown, "socket", seccomp.Arg(0, seccomp.EQ, family))
    wall.add_rule(unknown, "socket", seccomp.Arg(0, seccomp.GE, LAST_FAMILY))
    with tempfile.TemporaryFile() as file:
        wall.export_bpf(file)
        file.seek(0)
        return file.read()
