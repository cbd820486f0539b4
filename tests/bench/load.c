/* A closed-loop load generator for the benchmark: one thread, epoll, loopback only.
 *
 *     load PORT MODEL CONNECTIONS RAMP WARM SECONDS BEARER PID...
 *
 * CONNECTIONS clients begin within RAMP seconds. Each asks POST /v1/chat/completions, every time in a new session,
 * and again as soon as it was answered. After RAMP + WARM seconds it counts for SECONDS, then begins nothing new and
 * lets what runs end. MODEL is as mock.c has it; "bench" asks for the whole answer at once, anything else streams.
 *
 * It prints one JSON object: requests and events that ended within the window, errors of the whole run,
 * the CPU microseconds of each PID and its descendants within the window, and the age of content events in
 * microseconds (p50, p99). An error is a status other than 200, an event out of order or missing, an
 * answer without "stop" or [DONE], an error event, or a connection that ends before its answer.
 *
 * CPU is the scheduler's nanoseconds (/proc/PID/task/TID/schedstat). A thread or process that ends within
 * the window takes its share along.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, MAX_PIDS = 8, HEAD_SIZE = 8192, EVENT_SIZE = 8192, BUCKETS = 640, DRAIN_SECONDS = 15 };
enum state { IDLE, HEAD, SIZE, DATA, DATA_END, TRAILER, LENGTH };

struct connection {
    int fd, begun; /* fd: -1 while closed */
    enum state state;
    unsigned next; /* the number that the next content event must have */
    int done, stopped, failed, trailer;
    size_t left, head_len, event_len;
    char head[HEAD_SIZE], event[EVENT_SIZE];
};

static struct connection clients[MAX_CONNECTIONS];
static int epoll_fd, port, count, streaming, counting, ending, running;
static unsigned expected = 1;
static const char *model, *bearer;
static unsigned long requests, events, errors, sessions, ages[BUCKETS];
static char first_error[200];
static uint64_t read_at;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* -- ages: buckets of a sixteenth of their power of two, in microseconds ------------------------------ */

static void count_age(uint64_t micro) {
    int power = micro < 16 ? 0 : 63 - __builtin_clzll(micro) - 4;
    size_t bucket = (size_t)power * 16 + (micro >> power);
    ages[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double age(double share) {
    unsigned long seen = 0, wanted = (unsigned long)((double)events * share);
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += ages[i]) > wanted) return i < 32 ? i : (double)(((uint64_t)i % 16 + 16) << (i / 16 - 1));
    return 0;
}

/* -- CPU of process trees --------------------------------------------------------------------------- */

static uint64_t tree_nanoseconds(int pid) {
    char path[300], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    unsigned long sum = 0, spent;
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%lu", &spent) == 1) sum += spent;
        if (file) fclose(file);
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, task->d_name);
        if (!(file = fopen(path, "r"))) continue;
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
        for (char *at = text, *end; (spent = strtoul(at, &end, 10)) && end != at; at = end)
            sum += tree_nanoseconds((int)spent);
    }
    if (tasks) closedir(tasks);
    return sum;
}

/* -- one answer ------------------------------------------------------------------------------------- */

static void fail(struct connection *c, const char *why, const char *detail, size_t len) {
    if (!c->failed++) errors++;
    if (*first_error) return;
    snprintf(first_error, sizeof first_error, "%s: %.*s", why, (int)(len < 120 ? len : 120), detail);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || iscntrl((unsigned char)*at)) *at = '\'';
}

/* A "t=<ns> n=<number>" in the text: its age and number are checked; 0 when there is none. */
static int take_content(struct connection *c, const char *text, size_t len) {
    const char *at = memmem(text, len, "\"t=", 3);
    if (!at || text + len - at < 28) return 0;
    uint64_t sent = strtoull(at + 3, NULL, 10);
    unsigned number = (unsigned)strtoul(at + 22, NULL, 10);
    if (number != c->next++) fail(c, "out of order", text, len);
    if (!counting) return 1;
    events++;
    count_age(read_at > sent ? (read_at - sent) / 1000 : 0);
    return 1;
}

static void take_event(struct connection *c, const char *text, size_t len) {
    if (!len || *text == ':') return; /* a heartbeat */
    if (c->done) fail(c, "after [DONE]", text, len);
    if (len == 12 && !memcmp(text, "data: [DONE]", 12)) c->done = 1;
    else if (take_content(c, text, len)) return;
    else if (memmem(text, len, "\"finish_reason\":\"stop\"", 22)) c->stopped = 1;
    else if (len < 6 || memcmp(text, "data: ", 6) || memmem(text, len, "\"error\"", 7)) fail(c, "event", text, len);
}

static void keep(struct connection *c, const char *text, size_t len) {
    if (c->event_len + len > EVENT_SIZE) return fail(c, "too long", text, len);
    memcpy(c->event + c->event_len, text, len);
    c->event_len += len;
}

/* A part of a body: whole events are looked at where they are, the rest is kept for the next part. */
static void take_body(struct connection *c, const char *text, size_t len) {
    if (!streaming || c->failed) return keep(c, text, len);
    if (c->event_len) {
        int split = c->event[c->event_len - 1] == '\n' && *text == '\n';
        const char *end = split ? text - 1 : memmem(text, len, "\n\n", 2);
        if (!end) return keep(c, text, len);
        size_t part = (size_t)(end + 2 - text);
        keep(c, text, part);
        take_event(c, c->event, c->event_len - 2);
        c->event_len = 0;
        text += part;
        len -= part;
    }
    for (const char *end; len && (end = memmem(text, len, "\n\n", 2));) {
        take_event(c, text, (size_t)(end - text));
        len -= (size_t)(end + 2 - text);
        text = end + 2;
    }
    keep(c, text, len);
}

static void ask(struct connection *c);

static void answered(struct connection *c) {
    if (!streaming && !take_content(c, c->event, c->event_len)) fail(c, "answer", c->event, c->event_len);
    if (streaming && (c->next != expected || !c->done || !c->stopped)) fail(c, "incomplete", c->event, c->event_len);
    if (counting && !c->failed) requests++;
    c->state = IDLE;
    running--;
    if (!ending) ask(c);
}

static int take_head(struct connection *c) {
    c->head[c->head_len] = 0;
    if (!strstr(c->head, "\r\n\r\n")) return 0;
    if (strncmp(c->head, "HTTP/1.1 200 ", 13)) fail(c, "status", c->head, c->head_len);
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->state = length ? LENGTH : SIZE;
    c->left = length ? strtoul(length + 17, NULL, 10) : 0;
    return 1;
}

static size_t take_size(struct connection *c, const char *at) {
    if (isxdigit((unsigned char)*at)) c->left = c->left * 16 + (size_t)(isdigit((unsigned char)*at) ? *at - '0' : (*at | 32) - 'a' + 10);
    if (*at == '\n') {
        c->state = c->left ? DATA : TRAILER;
        c->trailer = 0;
    }
    return 1;
}

/* Look at received bytes; each state takes what is its own and says how much that was. */
static void take(struct connection *c, const char *at, size_t len) {
    while (len) {
        size_t n = 1;
        switch (c->state) {
        case IDLE: return fail(c, "unasked", at, len);
        case HEAD:
            if (c->head_len >= HEAD_SIZE - 1) return fail(c, "head", c->head, c->head_len);
            c->head[c->head_len++] = *at;
            if (*at == '\n') take_head(c);
            break;
        case SIZE: take_size(c, at); break;
        case DATA_END: if (*at == '\n') c->state = SIZE; break;
        case TRAILER: if (++c->trailer == 2) answered(c); break;
        case DATA:
        case LENGTH:
            n = len < c->left ? len : c->left;
            take_body(c, at, n);
            c->left -= n;
            if (c->left) break;
            if (c->state == LENGTH) answered(c);
            else c->state = DATA_END;
        }
        at += n;
        len -= n;
    }
}

/* -- connections ------------------------------------------------------------------------------------ */

static void hang_up(struct connection *c) {
    close(c->fd);
    c->fd = -1;
    if (c->state == IDLE) return;
    fail(c, "ended early", c->head, c->head_len);
    c->state = IDLE;
    running--;
}

static int dial(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
}

static void ask(struct connection *c) {
    static char text[4096], body[1024];
    c->next = 0;
    c->done = c->stopped = c->failed = 0;
    c->head_len = c->event_len = 0;
    c->left = 0;
    c->state = HEAD;
    running++;
    if (c->fd < 0 && dial(c) < 0) return hang_up(c);
    int n = sprintf(body, "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful "
                    "assistant.\"},{\"role\":\"user\",\"content\":\"Why is the sky blue?\"}]}", model, streaming ? "true" : "false");
    int len = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                       "Authorization: Bearer %s\r\nX-Session-Id: bench-%d-%lu\r\nContent-Length: %d\r\n\r\n%s",
                       port, bearer, (int)getpid(), sessions++, n, body);
    if (len >= (int)sizeof text || send(c->fd, text, (size_t)len, MSG_NOSIGNAL) != len) hang_up(c);
}

/* Serve what arrives until *until*; new clients begin *apart* nanoseconds apart. */
static void serve(uint64_t until, uint64_t apart) {
    static char buffer[1 << 17];
    static uint64_t next_begins;
    static int begun;
    for (uint64_t time; (time = now()) < until && !(ending && running == 0);) {
        for (; begun < count && !ending && time >= next_begins; next_begins = (next_begins ? next_begins : time) + apart)
            ask(&clients[begun++]);
        struct epoll_event ready[256];
        int n = epoll_wait(epoll_fd, ready, 256, begun < count ? 1 : 20);
        for (int i = 0; i < n; i++) {
            struct connection *c = ready[i].data.ptr;
            ssize_t len = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (len < 0 && errno == EAGAIN) continue;
            read_at = now();
            if (len > 0) take(c, buffer, (size_t)len);
            else hang_up(c);
            if (c->fd >= 0 && c->failed && c->state != IDLE) hang_up(c);
            if (c->state == IDLE && !ending) ask(c);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 9 || argc > 8 + MAX_PIDS || atoi(argv[3]) > MAX_CONNECTIONS)
        return fprintf(stderr, "usage: load PORT MODEL CONNECTIONS RAMP WARM SECONDS BEARER PID...\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    port = atoi(argv[1]), model = argv[2], count = atoi(argv[3]), bearer = argv[7];
    double ramp = atof(argv[4]), warm = atof(argv[5]), seconds = atof(argv[6]);
    alarm((unsigned)(ramp + warm + seconds) + DRAIN_SECONDS + 5);
    streaming = strcmp(model, "bench") != 0;
    sscanf(model, "bench-n%u", &expected);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) clients[i].fd = -1;

    uint64_t start = now(), apart = (uint64_t)(ramp * 1e9 / count);
    serve(start + (uint64_t)((ramp + warm) * 1e9), apart);
    uint64_t before[MAX_PIDS];
    for (int i = 8; i < argc; i++) before[i - 8] = tree_nanoseconds(atoi(argv[i]));
    counting = 1;
    uint64_t from = now();
    serve(from + (uint64_t)(seconds * 1e9), apart);
    double took = (double)(now() - from) / 1e9;
    counting = 0, ending = 1;
    printf("{\"cpu_us\":[");
    for (int i = 8; i < argc; i++)
        printf("%s%.1f", i > 8 ? "," : "", (double)(tree_nanoseconds(atoi(argv[i])) - before[i - 8]) / 1e3);
    serve(now() + DRAIN_SECONDS * 1000000000ull, apart);
    for (int i = 0; i < count; i++)
        if (clients[i].state != IDLE) fail(&clients[i], "never ended", clients[i].head, clients[i].head_len);
    printf("],\"requests\":%lu,\"events\":%lu,\"errors\":%lu,\"first_error\":\"%s\",\"seconds\":%.3f,\"p50_us\":%.0f,\"p99_us\":%.0f}\n",
           requests, events, errors, first_error, took, age(0.5), age(0.99));
    return 0;
}
