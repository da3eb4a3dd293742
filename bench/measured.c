/* Runs a command between two marks that bench/marks_plugin.c counts between: measured NAME COMMAND…
   Prints "MEASURED NAME NANOSECONDS STATUS"; what the command prints goes to /tmp/measured.log, and is shown if it fails.
   vfork, so that this program's own copying does not count.

   For a program that runs commands itself when it begins and ends with what is to be measured: measured begin, measured end NAME. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mark.h"

#define LOG "/tmp/measured.log"
#define BEGUN "/tmp/measured.begun"
#define TEXT_OF(...) #__VA_ARGS__
#define TEXT(...) TEXT_OF(__VA_ARGS__)
#define SET(mark) __asm__ volatile(".byte " TEXT(MARK_BYTES(mark)) ::: "memory")

static long long now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC_RAW, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void show_log(void)
{
    FILE *log = fopen(LOG, "r");
    int byte;

    while (log && (byte = getc(log)) != EOF)
        putchar(byte);
}

/* When it began is kept for the other call. */
static int begin(void)
{
    FILE *file = fopen(BEGUN, "w");
    int failed = !file || fprintf(file, "%lld\n", now()) < 0;

    if (file && fclose(file) != 0)
        failed = 1;
    SET(MARK_BEGIN);
    return failed;
}

static int end(const char *name)
{
    long long began, ended;
    FILE *file;
    int failed;

    SET(MARK_END);
    ended = now();
    file = fopen(BEGUN, "r");
    failed = !file || fscanf(file, "%lld", &began) != 1;
    printf("MEASURED %s %lld %d\n", name, failed ? 0 : ended - began, failed);
    return failed;
}

int main(int argc, char **argv)
{
    int status = 0, log = open(LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    long long began, took;
    pid_t child, ended;

    if (argc == 2 && strcmp(argv[1], "begin") == 0)
        return begin();
    if (argc == 3 && strcmp(argv[1], "end") == 0)
        return end(argv[2]);
    if (argc < 3 || log < 0)
        return 2;
    began = now();
    SET(MARK_BEGIN);
    child = vfork();
    if (child == 0) {
        dup2(log, 1);
        dup2(log, 2);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    ended = child < 0 ? child : waitpid(child, &status, 0);
    SET(MARK_END);
    took = now() - began;
    if (child < 0 || ended != child)
        return 1;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    if (status)
        show_log();
    printf("MEASURED %s %lld %d\n", argv[1], took, status);
    return status;
}
