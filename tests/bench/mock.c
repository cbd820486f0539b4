/* An OpenAI-compatible upstream for the benchmark: one thread, epoll, loopback only.
 *
 *     mock PORT SECONDS        listens on 127.0.0.1:PORT and ends by itself after SECONDS
 *
 * The model name steers an answer: bench-n20 is 20 content events as fast as possible, bench-n200-r40
 * is 200 at 40 a second. Without "stream": true the answer is one JSON body. With "include_usage": true
 * a usage event precedes [DONE], as at OpenAI. Each content is "t=<CLOCK_MONOTONIC ns> n=<number> ", so
 * that a load generator on this machine can tell age, order and completeness of every event.
 *
 * It knows only what the benchmark sends: POST with Content-Length, a body of at most 1 MiB, and one
 * request at a time on a connection. Anything else closes the connection. When a reader is slow, an
 * event that is due waits until what stands before it has been sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 8192, MAX_REQUEST = 1 << 20, OUT_SIZE = 1 << 16, MAX_EVENT = 1024, MAX_MODEL = 64 };

struct connection {
    int fd, blocked, heap_place; /* heap_place: -1 while no event is due */
    char *in;                    /* the request so far */
    size_t in_len, in_size;
    char *out; /* what is to be sent */
    size_t out_len, out_sent;
    int answering, usage;
    unsigned next, total, rate;
    uint64_t due;
    char model[MAX_MODEL], before[MAX_EVENT];
    size_t before_len;
};

static int epoll_fd, timer_fd, connections, heap_len;
static struct connection *heap[MAX_CONNECTIONS];
static unsigned long answers;

static const char AFTER[] = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* -- connections by the time of their next event: a binary heap ------------------------------------- */

static void put(int place, struct connection *c) {
    heap[place] = c;
    c->heap_place = place;
}

static void settle(int place) {
    struct connection *c = heap[place];
    for (int up; place > 0 && heap[up = (place - 1) / 2]->due > c->due; place = up) put(place, heap[up]);
    for (int down; (down = 2 * place + 1) < heap_len; place = down) {
        if (down + 1 < heap_len && heap[down + 1]->due < heap[down]->due) down++;
        if (heap[down]->due >= c->due) break;
        put(place, heap[down]);
    }
    put(place, c);
}

static void schedule(struct connection *c) {
    if (c->heap_place < 0) put(heap_len++, c);
    settle(c->heap_place);
}

static void unschedule(struct connection *c) {
    int place = c->heap_place;
    if (place < 0) return;
    c->heap_place = -1;
    struct connection *last = heap[--heap_len];
    if (last == c) return;
    put(place, last);
    settle(place);
}

static void set_timer(void) {
    static uint64_t armed;
    uint64_t due = heap_len ? heap[0]->due : 0;
    if (due == armed) return;
    struct itimerspec spec = {.it_value = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    armed = due;
}

/* -- answers --------------------------------------------------------------------------------------- */

static char *digits(char *at, uint64_t value, int width) {
    for (int i = width; i-- > 0; value /= 10) at[i] = (char)('0' + value % 10);
    return at + width;
}

static char *content(struct connection *c, char *at, uint64_t time) {
    memcpy(at, c->before, c->before_len);
    at += c->before_len;
    if (c->next == 0) at = stpcpy(at, "\"role\":\"assistant\",\"refusal\":null,");
    at = stpcpy(at, "\"content\":\"t=");
    at = stpcpy(digits(at, time, 16), " n=");
    at = stpcpy(digits(at, c->next++, 6), " ");
    return stpcpy(at, AFTER);
}

static char *ending(struct connection *c, char *at) {
    memcpy(at, c->before, c->before_len);
    at = stpcpy(at + c->before_len, "},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
    if (c->usage)
        at += sprintf(at,
                      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"%s\","
                      "\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n",
                      c->model, c->total, c->total + 12);
    return stpcpy(at, "data: [DONE]\n\n");
}

/* Append one HTTP chunk: as many events as fit, or the one that is due. */
static void add_events(struct connection *c) {
    char *size = c->out + c->out_len, *data = size + 6, *at = data;
    uint64_t time = now();
    do at = content(c, at, time);
    while (!c->rate && c->next < c->total && at + 4 * MAX_EVENT < c->out + OUT_SIZE);
    int last = c->next == c->total;
    if (last) at = ending(c, at);
    char text[8];
    sprintf(text, "%04zx\r\n", (size_t)(at - data));
    memcpy(size, text, 6);
    at = stpcpy(at, last ? "\r\n0\r\n\r\n" : "\r\n");
    c->out_len = (size_t)(at - c->out);
    c->answering = !last;
}

static void close_connection(struct connection *c) {
    unschedule(c);
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
    connections--;
}

static void watch(struct connection *c, int blocked) {
    if (c->blocked == blocked) return;
    c->blocked = blocked;
    struct epoll_event e = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Send what there is and, unpaced, what follows; -1 when the reader is gone. */
static int proceed(struct connection *c) {
    for (;;) {
        while (c->out_sent < c->out_len) {
            ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) return -1;
            if (n < 0) return watch(c, 1), 0;
            c->out_sent += (size_t)n;
        }
        c->out_len = c->out_sent = 0;
        if (!c->answering || c->rate) return watch(c, 0), 0;
        add_events(c);
    }
}

static void event_is_due(struct connection *c) {
    if (c->out_len == 0) {
        add_events(c);
        if (proceed(c) < 0) return close_connection(c);
    }
    if (!c->answering) return unschedule(c);
    c->due += 1000000000u / c->rate;
    settle(c->heap_place);
}

static void begin_stream(struct connection *c) {
    c->before_len = (size_t)sprintf(c->before,
        "data: {\"id\":\"chatcmpl-bench%010lu\",\"object\":\"chat.completion.chunk\",\"created\":%ld,\"model\":\"%s\","
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\",\"choices\":[{\"index\":0,\"delta\":{",
        answers++, (long)time(NULL), c->model);
    c->next = 0;
    c->out_len = (size_t)sprintf(c->out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                                         "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    add_events(c);
    if (!c->rate || !c->answering) return;
    c->due = now() + 1000000000u / c->rate;
    schedule(c);
}

static void answer_whole(struct connection *c) {
    char body[MAX_EVENT];
    int n = sprintf(body,
        "{\"id\":\"chatcmpl-bench%010lu\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"%s\",\"choices\":[{"
        "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"t=%016llu n=000000 \",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":8,"
        "\"total_tokens\":20}}", answers++, (long)time(NULL), c->model, (unsigned long long)now());
    c->out_len = (size_t)sprintf(
        c->out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
}

/* -- requests --------------------------------------------------------------------------------------- */

static int says_true(const char *body, const char *field) {
    const char *at = strstr(body, field);
    if (!at) return 0;
    at += strlen(field);
    return strncmp(at + strspn(at, ": "), "true", 4) == 0;
}

/* The value of "model" as text, and what it asks for; 0 when it is not one of ours. */
static int understand(struct connection *c, const char *body) {
    const char *at = strstr(body, "\"model\"");
    if (!at) return 0;
    at += 7;
    if (sscanf(at + strspn(at, ": "), "\"%63[a-z0-9-]\"", c->model) != 1) return 0;
    c->total = 1;
    c->rate = 0;
    sscanf(c->model, "bench-n%u-r%u", &c->total, &c->rate);
    c->usage = says_true(body, "\"include_usage\"");
    return strncmp(c->model, "bench", 5) == 0 && c->total > 0;
}

/* Answer the request in c->in once it is whole; -1 when it cannot be answered. */
static int take_request(struct connection *c) {
    c->in[c->in_len] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return 0;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    if (!field || field > end) return -1;
    size_t whole = (size_t)(end + 4 - c->in) + strtoul(field + 17, NULL, 10);
    if (whole > MAX_REQUEST) return -1;
    if (c->in_len < whole) return 0;
    if (c->in_len > whole || c->answering || c->out_len || !understand(c, end + 4)) return -1;
    if (says_true(end + 4, "\"stream\"")) begin_stream(c);
    else answer_whole(c);
    c->in_len = 0;
    return proceed(c);
}

static int readable(struct connection *c) {
    if (c->in_size - c->in_len < 4096) {
        if (c->in_size >= 2 * MAX_REQUEST) return -1;
        c->in = realloc(c->in, (c->in_size *= 2) + 1);
        if (!c->in) die("realloc");
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, c->in_size - c->in_len, 0);
    if (n == 0) return -1;
    if (n < 0) return errno == EAGAIN ? 0 : -1;
    c->in_len += (size_t)n;
    return take_request(c);
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *c = connections < MAX_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        connections++;
        c->fd = fd;
        c->heap_place = -1;
        c->in = malloc((c->in_size = 8192) + 1);
        c->out = malloc(OUT_SIZE);
        if (!c->in || !c->out) die("malloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) die("listen");
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: mock PORT SECONDS\n"), 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    alarm((unsigned)atoi(argv[2]));
    int listener = listen_on(atoi(argv[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &listener});
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &timer_fd});
    for (;;) {
        struct epoll_event events[512];
        set_timer();
        int count = epoll_wait(epoll_fd, events, 512, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].data.ptr == &listener) accept_all(listener);
            else if (events[i].data.ptr == &timer_fd) read(timer_fd, &(uint64_t){0}, 8);
            else if (((events[i].events & EPOLLOUT) && proceed(c) < 0) ||
                     ((events[i].events & ~(uint32_t)EPOLLOUT) && readable(c) < 0)) close_connection(c);
        }
        for (uint64_t time = now(); heap_len && heap[0]->due <= time;) event_is_due(heap[0]);
    }
}
