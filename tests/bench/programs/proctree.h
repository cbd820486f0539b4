/* What a process and all its descendants have used, from /proc: CPU in scheduler nanoseconds, resident memory. */
#include <ctype.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct usage {
    uint64_t cpu_ns;
    long rss_kib;
};

static long first_numbers(const char *path, const char *format, unsigned long *a, unsigned long *b) {
    FILE *file = fopen(path, "r");
    long found = file ? fscanf(file, format, a, b) : 0;
    if (file) fclose(file);
    return found;
}

/* The kernel's own count of a whole process in ticks, which includes threads that have ended. */
static uint64_t ticks_ns(int pid) {
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    /* Behind the name, which may hold anything but is the only field with a parenthesis. */
    first_numbers(path, "%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    return (user + system) * (1000000000ul / (unsigned long)sysconf(_SC_CLK_TCK));
}

static void add_tree(int pid, struct usage *sum) {
    char path[300], children[4096];
    unsigned long number, unused;
    uint64_t threads_ns = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    if (first_numbers(path, "%lu %lu", &unused, &number) == 2) sum->rss_kib += (long)number * (sysconf(_SC_PAGESIZE) / 1024);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, task->d_name);
        if (first_numbers(path, "%lu %lu", &number, &unused)) threads_ns += number;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        children[fread(children, 1, sizeof children - 1, file)] = 0;
        fclose(file);
        for (char *at = children, *end; (number = strtoul(at, &end, 10)) && end != at; at = end) add_tree((int)number, sum);
    }
    if (tasks) closedir(tasks);
    uint64_t whole_ns = ticks_ns(pid);
    sum->cpu_ns += whole_ns > threads_ns ? whole_ns : threads_ns;
}

static struct usage tree_usage(int pid) {
    struct usage sum = {0, 0};
    add_tree(pid, &sum);
    return sum;
}
