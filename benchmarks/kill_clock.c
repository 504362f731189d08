/* libfaketime 0.9.10 answers EINVAL to every sleep until a moment of CLOCK_MONOTONIC, which is how Python sleeps.
   Preloaded before it, this hands such a sleep to the kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) == 0 ? 0 : errno;
}
