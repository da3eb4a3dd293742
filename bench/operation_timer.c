/* Runs a command and prints how long it took: "FIGURE NAME NANOSECONDS STATUS". Under QEMU's icount with shift=0 a nanosecond is
   an instruction. vfork, so that this program's own copying does not count. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    int status = 0;
    long long began;
    pid_t child;

    if (argc < 3)
        return 2;
    began = now();
    child = vfork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 1;
    printf("FIGURE %s %lld %d\n", argv[1], now() - began, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return 0;
}
