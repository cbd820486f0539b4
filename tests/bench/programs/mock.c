/* An OpenAI-compatible upstream for the benchmark: one thread, epoll, loopback only.
 *
 *     mock PORT SECONDS        listens on 127.0.0.1:PORT and ends by itself after SECONDS
 *
 * The model name steers an answer: bench-n20 is 20 content events as fast as possible, bench-n200-r40 is 200 at 40 a
 * second, bench-n2000-w1 gives each event a write of its own. Without "stream": true the answer is one JSON body. With
 * "include_usage": true a usage event precedes [DONE], as at OpenAI. Each content is "t=<CLOCK_MONOTONIC ns> n=<number> ",
 * so that a load generator on this machine can tell age, order and completeness of every event.
 *
 * GET /left: [[stream, ns], ...], the streams that were closed from the other side before their end, and when this was
 * seen; the last MAX_LEFT of them. A stream's number is in the id of its events: chatcmpl-bench<number>.
 * GET /running: how many streams run. GET of anything else: an empty list of models.
 *
 * It knows only what the benchmark sends: bodies with Content-Length of at most 1 MiB, and one request at a time on a
 * connection. Anything else closes the connection. When a reader is slow, an event that is due waits until what stands
 * before it has been sent.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 14000, MAX_REQUEST = 1 << 20, OUT_SIZE = 1 << 16, MAX_EVENT = 1024, MAX_MODEL = 64, MAX_LEFT = 4096 };

struct connection {
    int fd, blocked;
    int heap_place, busy_place; /* -1 while no event is due, while it has no turn */
    char *in;                    /* the request so far */
    size_t in_len, in_size;
    char *out; /* what is to be sent */
    size_t out_len, out_sent;
    int answering, usage, single; /* single: each event is a write of its own */
    unsigned next, total, rate;
    unsigned long stream;
    uint64_t due;
    char model[MAX_MODEL], before[MAX_EVENT];
    size_t before_len;
};

static int epoll_fd, timer_fd, connections, heap_len, busy_len, streams_running;
static struct connection *heap[MAX_CONNECTIONS], *busy[MAX_CONNECTIONS]; /* busy: unpaced, with more to send */
static unsigned long answers, left_count;
static struct { unsigned long stream; uint64_t at; } left_streams[MAX_LEFT];

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

/* Each event is an HTTP chunk of its own, as at real upstreams; its length goes before it once it is known. */
static char *chunk(char *start, char *end) {
    char size[8];
    sprintf(size, "%04zx\r\n", (size_t)(end - start - 6));
    memcpy(start, size, 6);
    return stpcpy(end, "\r\n");
}

static char *content(struct connection *c, char *start, uint64_t time) {
    char *at = start + 6;
    memcpy(at, c->before, c->before_len);
    at += c->before_len;
    if (c->next == 0) at = stpcpy(at, "\"role\":\"assistant\",");
    at = stpcpy(at, "\"content\":\"t=");
    at = stpcpy(digits(at, time, 16), " n=");
    at = stpcpy(digits(at, c->next++, 6), " ");
    return chunk(start, stpcpy(at, "\"},\"finish_reason\":null}]}\n\n"));
}

static char *ending(struct connection *c, char *start) {
    memcpy(start + 6, c->before, c->before_len);
    char *at = chunk(start, stpcpy(start + 6 + c->before_len, "},\"finish_reason\":\"stop\"}]}\n\n"));
    if (c->usage)
        at = chunk(at, at + 6 + sprintf(at + 6,
            "data: {\"id\":\"chatcmpl-bench%010lu\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"%s\","
            "\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":%u,\"total_tokens\":%u}}\n\n",
            c->stream, c->model, c->total, c->total + 12));
    return stpcpy(chunk(at, stpcpy(at + 6, "data: [DONE]\n\n")), "0\r\n\r\n");
}

/* As many events as fit, or the one that is due. A paced stream ends with a write of its own. */
static void add_events(struct connection *c) {
    char *at = c->out + c->out_len, *full = c->out + OUT_SIZE - 4 * MAX_EVENT;
    uint64_t time = now();
    if (c->next < c->total)
        do at = content(c, at, time);
        while (!c->rate && !c->single && c->next < c->total && at < full);
    else c->answering = 0;
    if (!c->rate && !c->single && c->next == c->total) c->answering = 0;
    if (!c->answering) {
        at = ending(c, at);
        streams_running--;
    }
    c->out_len = (size_t)(at - c->out);
}

/* An unpaced stream sends once each turn of the loop, so that none of them keeps the others waiting. */
static void set_busy(struct connection *c, int wanted) {
    if (wanted == (c->busy_place >= 0)) return;
    if (wanted) {
        busy[c->busy_place = busy_len++] = c;
        return;
    }
    busy[c->busy_place] = busy[--busy_len];
    busy[c->busy_place]->busy_place = c->busy_place;
    c->busy_place = -1;
}

static void close_connection(struct connection *c) {
    if (c->answering) {
        left_streams[left_count % MAX_LEFT].stream = c->stream;
        left_streams[left_count++ % MAX_LEFT].at = now();
        streams_running--;
    }
    unschedule(c);
    set_busy(c, 0);
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

/* Send what there is; -1 when the reader is gone. */
static int proceed(struct connection *c) {
    while (c->out_sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return -1;
        if (n < 0) return set_busy(c, 0), watch(c, 1), 0;
        c->out_sent += (size_t)n;
    }
    c->out_len = c->out_sent = 0;
    set_busy(c, c->answering && !c->rate);
    return watch(c, 0), 0;
}

static void take_turn(struct connection *c) {
    if (c->out_len == 0) add_events(c);
    if (proceed(c) < 0) close_connection(c);
}

static void event_is_due(struct connection *c) {
    if (c->out_len == 0) {
        add_events(c);
        if (proceed(c) < 0) return close_connection(c);
    }
    if (!c->answering) return unschedule(c);
    if (c->next < c->total) c->due += 1000000000u / c->rate; /* the end follows the last event at once */
    settle(c->heap_place);
}

static void begin_stream(struct connection *c) {
    c->stream = answers++;
    c->before_len = (size_t)sprintf(c->before,
        "data: {\"id\":\"chatcmpl-bench%010lu\",\"object\":\"chat.completion.chunk\",\"created\":%ld,\"model\":\"%s\","
        "\"choices\":[{\"index\":0,\"delta\":{", c->stream, (long)time(NULL), c->model);
    c->answering = 1;
    streams_running++;
    c->next = 0;
    c->out_len = (size_t)sprintf(c->out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                                         "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    if (!c->rate) return;
    c->due = now();
    schedule(c);
}

static void answer_json(struct connection *c, const char *body, size_t len) {
    if (len + 256 > OUT_SIZE) {
        c->out = realloc(c->out, len + 256);
        if (!c->out) die("realloc");
    }
    c->out_len = (size_t)sprintf(c->out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", len);
    memcpy(c->out + c->out_len, body, len);
    c->out_len += len;
}

static void answer_whole(struct connection *c) {
    char body[MAX_EVENT];
    int n = sprintf(body,
        "{\"id\":\"chatcmpl-bench%010lu\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"%s\",\"choices\":[{"
        "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"t=%016llu n=000000 \",\"refusal\":null},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":8,"
        "\"total_tokens\":20}}", answers++, (long)time(NULL), c->model, (unsigned long long)now());
    answer_json(c, body, (size_t)n);
}

static void tell(struct connection *c) {
    static char body[MAX_LEFT * 44];
    size_t len = 1;
    if (!strncmp(c->in, "GET /running", 12)) len = (size_t)sprintf(body, "%d", streams_running);
    else if (strncmp(c->in, "GET /left", 9)) len = (size_t)sprintf(body, "{\"object\":\"list\",\"data\":[]}");
    else {
        body[0] = '[';
        for (unsigned long i = left_count > MAX_LEFT ? left_count - MAX_LEFT : 0; i < left_count; i++)
            len += (size_t)sprintf(body + len, "%s[%lu,%lu]", len > 1 ? "," : "", left_streams[i % MAX_LEFT].stream,
                                   (unsigned long)left_streams[i % MAX_LEFT].at);
        body[len++] = ']';
    }
    answer_json(c, body, len);
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
    c->single = strstr(c->model, "-w1") != NULL;
    c->usage = says_true(body, "\"include_usage\"");
    return strncmp(c->model, "bench", 5) == 0 && c->total > 0;
}

/* Answer the request in c->in once it is whole; -1 when it cannot be answered. */
static int take_request(struct connection *c) {
    c->in[c->in_len] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return 0;
    char *field = strcasestr(c->in, "\r\ncontent-length:");
    int asks = !strncmp(c->in, "GET ", 4), has_body = field && field < end;
    if (!has_body && !asks) return -1;
    size_t whole = (size_t)(end + 4 - c->in) + (has_body ? strtoul(field + 17, NULL, 10) : 0);
    if (whole > MAX_REQUEST) return -1;
    if (c->in_len < whole) return 0;
    if (c->in_len > whole || c->answering || c->out_len || (!asks && !understand(c, end + 4))) return -1;
    if (asks) tell(c);
    else if (says_true(end + 4, "\"stream\"")) begin_stream(c);
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
        c->heap_place = c->busy_place = -1;
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
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    alarm((unsigned)atoi(argv[2]));
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = listen_on(atoi(argv[1]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &listener});
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &timer_fd});
    for (;;) {
        struct epoll_event events[512];
        set_timer();
        int count = epoll_wait(epoll_fd, events, 512, busy_len ? 0 : -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].data.ptr == &listener) accept_all(listener);
            else if (events[i].data.ptr == &timer_fd) read(timer_fd, &(uint64_t){0}, 8);
            else if (((events[i].events & EPOLLOUT) && proceed(c) < 0) ||
                     ((events[i].events & ~(uint32_t)EPOLLOUT) && readable(c) < 0)) close_connection(c);
        }
        for (uint64_t time = now(); heap_len && heap[0]->due <= time;) event_is_due(heap[0]);
        for (int i = busy_len - 1; i >= 0; i--) take_turn(busy[i]);
    }
}
