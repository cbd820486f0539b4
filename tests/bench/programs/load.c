/* The load generator of the benchmark: one thread, epoll, loopback only. `load --help` lists its options.
 *
 * Clients ask POST /v1/chat/completions again and again: each as soon as it was answered (closed loop), or all
 * together so many times a second (-R, open loop: times count from when a request was due). After the ramp and the
 * warm-up it counts for a window, then begins nothing new and lets what runs end.
 *
 * MODEL is as mock.c has it. An error is: a status other than 200, an event out of order or missing, an answer without
 * [DONE], an error event, bytes after the end, a connection that ends before its answer, SILENT_SECONDS without a byte.
 *
 * CPU and memory are those of the process trees named with -p, over exactly the window (proctree.h).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "histogram.h"
#include "proctree.h"

enum { MAX_CLIENTS = 12000, MAX_TREES = 8, MAX_LEFT = 20000, HEAD_SIZE = 4096, EVENT_SIZE = 8192 };
enum { SILENT_SECONDS = 60, REST_MS = 100, TICK_MS = 50, SAMPLE_MS = 250 };
enum state { CLOSED, IDLE, CONNECTING, HEAD, SIZE, DATA, DATA_END, TRAILER, LENGTH };

struct client {
    int fd;
    enum state state;
    int begun, fresh, retried, closing, events_come; /* fresh: nothing was answered on this connection yet */
    int done, failed, trailer;
    unsigned next;                                  /* the number that the next content event must have */
    uint64_t asked_at, rests_until, last_byte_at, session;
    double allowance; /* bytes that a slow reader may take by now */
    size_t left, head_len, event_len;
    char head[HEAD_SIZE], event[EVENT_SIZE];
};

static struct {
    int port, clients, expected, streaming, leave_after, receive_buffer, trees;
    double ramp, warm, seconds, drain, rate, slow;
    const char *model;
    unsigned long requests, sessions, first_session;
    int pids[MAX_TREES];
    char headers[8192];
} options = {.clients = 1, .seconds = 5, .drain = 5, .expected = -1, .leave_after = -1};

static struct client *clients;
static int *idle, idle_len; /* clients without work, in the open loop */
static int epoll_fd, running, most_running, window_open, ending;
static unsigned long asked, answered_count, requests, events, errors, late, left_len;
static struct histogram ages, first_ages, first_events, totals;
static struct { unsigned long stream; uint64_t at; } left_streams[MAX_LEFT];
static char first_error[256];
static uint64_t read_at;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t ns(double seconds) { return (uint64_t)(seconds * 1e9); }

static void die(const char *what) {
    perror(what);
    exit(2);
}

/* -- one answer ------------------------------------------------------------------------------------- */

static void fail(struct client *c, const char *why, const char *detail, size_t len) {
    if (!c->failed++) errors++;
    if (*first_error) return;
    snprintf(first_error, sizeof first_error, "%s, event %u: %.*s", why, c->next, (int)(len < 160 ? len : 160), detail);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || !isprint((unsigned char)*at)) *at = '\'';
}

/* A "t=<ns> n=<number>" in the text: its number is checked, its age counted; 0 when there is none. */
static int take_content(struct client *c, const char *text, size_t len) {
    const char *at = memmem(text, len, "\"t=", 3);
    if (!at || text + len - at < 28) return 0;
    uint64_t made_at = strtoull(at + 3, NULL, 10), age = read_at > made_at ? read_at - made_at : 0;
    if (strtoul(at + 22, NULL, 10) != c->next) fail(c, "out of order", text, len);
    if (window_open) {
        events++;
        count_duration(&ages, age);
        if (c->next == 0) count_duration(&first_ages, age);
    }
    if (c->next++ == 0 && window_open && read_at > c->asked_at) count_duration(&first_events, read_at - c->asked_at);
    return 1;
}

static void take_line(struct client *c, const char *text, size_t len) {
    if (len && text[len - 1] == '\r') len--;
    if (!len || *text == ':' || !strncmp(text, "id:", 3) || !strncmp(text, "event:", 6) || !strncmp(text, "retry:", 6)) return;
    if (c->done) return fail(c, "after [DONE]", text, len);
    if (len >= 12 && !memcmp(text, "data: [DONE]", 12)) c->done = 1;
    else if (!take_content(c, text, len) && (len < 6 || memcmp(text, "data: ", 6) || memmem(text, len, "\"error\"", 7)))
        fail(c, "not an event", text, len);
}

static void keep(struct client *c, const char *text, size_t len) {
    if (c->event_len + len >= EVENT_SIZE) return fail(c, "too long", text, len);
    memcpy(c->event + c->event_len, text, len);
    c->event[c->event_len += len] = 0;
}

/* A part of a body: whole lines are looked at where they are, the rest is kept for the next part. */
static void take_body(struct client *c, const char *text, size_t len) {
    if (!c->events_come) return keep(c, text, len);
    for (const char *end; len && !c->failed && (end = memchr(text, '\n', len)); len -= (size_t)(end + 1 - text), text = end + 1) {
        if (!c->event_len) take_line(c, text, (size_t)(end - text));
        else {
            keep(c, text, (size_t)(end - text));
            take_line(c, c->event, c->event_len);
            c->event_len = 0;
        }
    }
    if (len && !c->failed) keep(c, text, len);
}

static void ask(struct client *c, uint64_t due);

/* Whether all that was to be asked was asked. */
static int no_more(void) { return ending || (options.requests && asked >= options.requests); }

static void rest(struct client *c) {
    running--;
    answered_count += !c->failed;
    c->state = c->fd < 0 ? CLOSED : IDLE;
    c->rests_until = c->failed ? now() + REST_MS * 1000000ull : 0;
    if (no_more()) return;
    if (options.rate > 0) idle[idle_len++] = (int)(c - clients);
    else if (!c->failed) ask(c, 0);
}

static void hang_up(struct client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    if (c->state <= IDLE) c->state = CLOSED;
    else rest(c);
}

static void answered(struct client *c) {
    if (!c->events_come && !take_content(c, c->event, c->event_len)) fail(c, "answer", c->event, c->event_len);
    if (options.streaming && !c->events_come) fail(c, "not a stream", c->head, c->head_len);
    if (c->events_come && !c->done) fail(c, "no [DONE]", c->event, c->event_len);
    if (options.expected >= 0 && c->next != (unsigned)options.expected) fail(c, "incomplete", c->event, c->event_len);
    if (window_open && !c->failed) {
        requests++;
        count_duration(&totals, read_at > c->asked_at ? read_at - c->asked_at : 0);
    }
    c->fresh = 0;
    if (c->closing || c->failed) hang_up(c);
    else rest(c);
}

/* The client leaves in the middle: which stream that was, by the id that mock.c gave it, and when. */
static void leave(struct client *c, const char *text, size_t len) {
    const char *id = memmem(text, len, "chatcmpl-bench", 14);
    uint64_t at = now();
    close(c->fd);
    c->fd = -1;
    if (id && left_len < MAX_LEFT) {
        left_streams[left_len].stream = strtoul(id + 14, NULL, 10);
        left_streams[left_len++].at = at;
    }
    if (window_open) requests++;
    rest(c);
}

/* The head of an answer, once it is whole: how many of *len* bytes at *at* belong to it. */
static size_t take_head(struct client *c, const char *at, size_t len) {
    size_t had = c->head_len, part = len < HEAD_SIZE - 1 - had ? len : HEAD_SIZE - 1 - had;
    memcpy(c->head + had, at, part);
    c->head[c->head_len += part] = 0;
    char *end = strstr(c->head + (had > 3 ? had - 3 : 0), "\r\n\r\n");
    if (!end) {
        if (part < len) fail(c, "head too long", c->head, c->head_len);
        return part;
    }
    end[2] = 0;
    c->head_len = (size_t)(end + 4 - c->head);
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->events_come = strcasestr(c->head, "\r\ncontent-type: text/event-stream") != NULL;
    c->closing = strcasestr(c->head, "\r\nconnection: close") != NULL;
    c->state = length ? LENGTH : SIZE;
    c->left = length ? strtoul(length + 17, NULL, 10) : 0;
    if (strncmp(c->head, "HTTP/1.1 200 ", 13)) fail(c, "status", c->head, c->head_len);
    else if (!length && !strcasestr(c->head, "\r\ntransfer-encoding: chunked")) fail(c, "neither length nor chunks", c->head, c->head_len);
    return c->head_len - had;
}

static void take_size(struct client *c, char digit) {
    if (isxdigit((unsigned char)digit)) c->left = c->left * 16 + (size_t)(isdigit((unsigned char)digit) ? digit - '0' : (digit | 32) - 'a' + 10);
    if (digit != '\n') return;
    c->state = c->left ? DATA : TRAILER;
    c->trailer = 0;
}

/* Look at received bytes; each state takes what is its own and says how much that was. */
static void take(struct client *c, const char *at, size_t len) {
    while (len && !c->failed) {
        size_t n = 1;
        switch (c->state) {
        case HEAD: n = take_head(c, at, len); break;
        case SIZE: take_size(c, *at); break;
        case DATA_END: if (*at == '\n') c->state = SIZE; break;
        case TRAILER:
            if (++c->trailer < 2) break;
            if (len > 1) return fail(c, "bytes after the end", at, len);
            return answered(c);
        case DATA:
        case LENGTH:
            n = len < c->left ? len : c->left;
            take_body(c, at, n);
            if (options.leave_after >= 0 && c->next >= (unsigned)options.leave_after) return leave(c, at, n);
            c->left -= n;
            if (c->left || c->failed) break;
            if (c->state == LENGTH && len > n) return fail(c, "bytes after the end", at + n, len - n);
            if (c->state == LENGTH) return answered(c);
            c->state = DATA_END;
            break;
        default: return fail(c, "bytes nobody asked for", at, len);
        }
        at += n;
        len -= n;
    }
}

/* -- connections ------------------------------------------------------------------------------------ */

static int dial(struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    c->fresh = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (options.receive_buffer) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof(int));
    int connected = connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (!connected && errno != EINPROGRESS) return -1;
    struct epoll_event e = {.events = connected ? EPOLLIN : EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    return connected;
}

static void send_request(struct client *c) {
    static char text[16384], body[512];
    int n = snprintf(body, sizeof body,
                     "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful "
                     "assistant.\"},{\"role\":\"user\",\"content\":\"Why is the sky blue, and not green?\"}]}",
                     options.model, options.streaming ? "true" : "false");
    int len = snprintf(text, sizeof text, "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                       "X-Session-Id: bench-%lu\r\n%sContent-Length: %d\r\n\r\n%s",
                       options.port, (unsigned long)c->session, options.headers, n, body);
    struct epoll_event e = {.events = options.slow > 0 ? 0 : EPOLLIN, .data.ptr = c};
    c->state = HEAD;
    if (options.slow > 0 || c->fresh) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    if (send(c->fd, text, (size_t)len, MSG_NOSIGNAL) == len) return;
    fail(c, "send", strerror(errno), strlen(strerror(errno)));
    hang_up(c);
}

static void begin(struct client *c) {
    c->next = 0;
    c->done = c->failed = c->events_come = c->closing = 0;
    c->head_len = c->event_len = c->left = 0;
    c->last_byte_at = now();
    int connected = c->fd >= 0 || dial(c);
    if (connected > 0) return send_request(c);
    c->state = CONNECTING;
    if (connected == 0) return;
    fail(c, "connect", strerror(errno), strlen(strerror(errno)));
    hang_up(c);
}

/* A new request, which was *due* (0: now). */
static void ask(struct client *c, uint64_t due) {
    c->session = options.first_session + (options.sessions ? asked % options.sessions : asked);
    asked++;
    if (++running > most_running) most_running = running;
    c->begun = 1;
    c->retried = 0;
    c->asked_at = due ? due : now();
    begin(c);
}

/* The other side has closed. On a connection kept from before it may have done so just as we asked: once more, then. */
static void closed(struct client *c) {
    if (c->state == HEAD && !c->head_len && !c->fresh && !c->retried && !ending) {
        close(c->fd);
        c->fd = -1;
        c->retried = 1;
        return begin(c);
    }
    if (c->state > IDLE) fail(c, "ended early", c->head, c->head_len);
    hang_up(c);
}

static void readable(struct client *c, size_t most) {
    static char buffer[1 << 18];
    ssize_t len = recv(c->fd, buffer, most < sizeof buffer ? most : sizeof buffer, 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) return;
    c->last_byte_at = read_at = now();
    if (len <= 0) return closed(c);
    take(c, buffer, (size_t)len);
    if (c->failed && c->fd >= 0) hang_up(c);
}

static void ready(struct client *c, uint32_t what) {
    if (c->fd < 0) return;
    if (c->state != CONNECTING) return readable(c, SIZE_MAX);
    int error = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if (!error && (what & EPOLLOUT)) return send_request(c);
    fail(c, "connect", strerror(error), strlen(strerror(error)));
    hang_up(c);
}

/* -- time ------------------------------------------------------------------------------------------- */

static void read_slowly(struct client *c) {
    c->last_byte_at = now();
    c->allowance += options.slow * TICK_MS / 1e3;
    if (c->allowance > options.slow) c->allowance = options.slow;
    if (c->allowance < 1 || recv(c->fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) < 0) return;
    size_t most = (size_t)c->allowance;
    c->allowance -= (double)most;
    readable(c, most);
}

/* Every TICK_MS: who is slow may read, who rests after an error asks again, who waits too long is given up. */
static void tick(uint64_t time) {
    for (int i = 0; i < options.clients; i++) {
        struct client *c = &clients[i];
        if (c->state > IDLE && time > c->last_byte_at + SILENT_SECONDS * 1000000000ull) {
            fail(c, "silent for too long", c->head, c->head_len);
            hang_up(c);
        } else if (options.slow > 0 && c->state >= HEAD) read_slowly(c);
        else if (c->begun && c->state <= IDLE && !no_more() && options.rate <= 0 && time >= c->rests_until) ask(c, 0);
    }
}

/* Begin what is due by *time*; when the next is due. */
static uint64_t begin_due(uint64_t time, uint64_t start) {
    static int begun;
    static uint64_t next_due;
    uint64_t apart = options.rate > 0 ? ns(1 / options.rate) : ns(options.ramp / options.clients);
    if (no_more()) return UINT64_MAX;
    if (!next_due) next_due = start;
    if (options.rate > 0) {
        for (; next_due <= time && idle_len && !no_more(); next_due += apart) ask(&clients[idle[--idle_len]], next_due);
        late = next_due < time ? (time - next_due) / apart : 0;
        return idle_len ? next_due : UINT64_MAX;
    }
    for (; begun < options.clients && next_due <= time && !no_more(); next_due += apart) ask(&clients[begun++], 0);
    return begun < options.clients ? next_due : UINT64_MAX;
}

static long highest_rss_kib;

static void sample_memory(void) {
    if (!options.trees) return;
    long rss = tree_usage(options.pids[0]).rss_kib;
    if (rss > highest_rss_kib) highest_rss_kib = rss;
}

/* Serve what arrives until *until*, or until nothing runs any more when all that was to be asked is answered. */
static void serve(uint64_t until, uint64_t start) {
    static uint64_t next_tick, next_sample;
    for (uint64_t time; (time = now()) < until;) {
        uint64_t due = begin_due(time, start);
        if (!running && no_more()) return;
        if (time >= next_tick) tick(time), next_tick = time + TICK_MS * 1000000ull;
        if (time >= next_sample) sample_memory(), next_sample = time + SAMPLE_MS * 1000000ull;
        if (next_tick < due) due = next_tick;
        if (until < due) due = until;
        time = now();
        uint64_t wait = due > time ? due - time : 0;
        struct timespec span = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
        struct epoll_event found[512];
        int n = epoll_pwait2(epoll_fd, found, 512, &span, NULL);
        for (int i = 0; i < n; i++) ready(found[i].data.ptr, found[i].events);
    }
}

/* -- the run ---------------------------------------------------------------------------------------- */

static const char HELP[] =
    "usage: load [OPTIONS] PORT MODEL    asks http://127.0.0.1:PORT/v1/chat/completions, prints one JSON object\n\n"
    "  -c N    clients; with -R the most at once (1)     -r S    seconds over which they begin (0)\n"
    "  -w S    warm-up after that (0)                    -d S    the measured window (5)\n"
    "  -D S    how long running answers may end (5)      -n N    requests in all (as many as fit)\n"
    "  -R N    requests a second, whether answered or not\n"
    "  -W      ask for whole answers instead of streams  -e N    content events that an answer must have\n"
    "  -H 'K: V'  a header more (may be repeated)        -i N    sessions, used in turn (one a request)\n"
    "  -I N    number of the first session               -a N    leave after N events, again and again\n"
    "  -s N    read N bytes a second and client          -B N    receive buffer in bytes\n"
    "  -p PID,...  process trees whose CPU is counted; the memory is that of the first\n";

static void take_options(int argc, char **argv) {
    size_t used = 0;
    options.streaming = 1;
    for (int o; (o = getopt(argc, argv, "c:r:w:d:D:n:R:We:H:i:I:a:s:B:p:h")) != -1;) switch (o) {
    case 'c': options.clients = atoi(optarg); break;
    case 'r': options.ramp = atof(optarg); break;
    case 'w': options.warm = atof(optarg); break;
    case 'd': options.seconds = atof(optarg); break;
    case 'D': options.drain = atof(optarg); break;
    case 'n': options.requests = strtoul(optarg, NULL, 10); break;
    case 'R': options.rate = atof(optarg); break;
    case 'W': options.streaming = 0; break;
    case 'e': options.expected = atoi(optarg); break;
    case 'H': used += (size_t)snprintf(options.headers + used, sizeof options.headers - used, "%s\r\n", optarg); break;
    case 'i': options.sessions = strtoul(optarg, NULL, 10); break;
    case 'I': options.first_session = strtoul(optarg, NULL, 10); break;
    case 'a': options.leave_after = atoi(optarg); break;
    case 's': options.slow = atof(optarg); break;
    case 'B': options.receive_buffer = atoi(optarg); break;
    case 'p':
        for (char *at = strtok(optarg, ","); at && options.trees < MAX_TREES; at = strtok(NULL, ",")) options.pids[options.trees++] = atoi(at);
        break;
    default: fputs(HELP, o == 'h' ? stdout : stderr), exit(o == 'h' ? 0 : 2);
    }
    int bad = argc - optind != 2 || options.clients < 1 || options.clients > MAX_CLIENTS || used >= sizeof options.headers;
    if (bad) fputs(HELP, stderr), exit(2);
    options.port = atoi(argv[optind]), options.model = argv[optind + 1];
}

static void prepare(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    alarm((unsigned)(options.ramp + options.warm + options.seconds + options.drain) + 30);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc((size_t)options.clients, sizeof *clients);
    idle = calloc((size_t)options.clients, sizeof *idle);
    if (!clients || !idle) die("calloc");
    for (int i = options.clients - 1; i >= 0; i--) {
        clients[i].fd = -1;
        if (options.rate > 0) idle[idle_len++] = i;
    }
}

static void print_trees(const struct usage *before, const struct usage *after) {
    printf(",\"cpu_us\":[");
    for (int i = 0; i < options.trees; i++) printf("%s%.1f", i ? "," : "", (double)(after[i].cpu_ns - before[i].cpu_ns) / 1e3);
    printf("]");
}

static double own_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--help")) return fputs(HELP, stdout), 0;
    take_options(argc, argv);
    prepare();
    struct usage before[MAX_TREES], after[MAX_TREES];
    long rss_at_first = options.trees ? tree_usage(options.pids[0]).rss_kib : 0;
    uint64_t start = now();
    serve(start + ns(options.ramp + options.warm), start);
    for (int i = 0; i < options.trees; i++) before[i] = tree_usage(options.pids[i]);
    double own_before = own_seconds();
    uint64_t from = now();
    /* Where nothing came before the window, the first request is due at its beginning. */
    if (options.ramp + options.warm == 0) start = from;
    window_open = 1;
    serve(from + ns(options.seconds), start);
    double took = (double)(now() - from) / 1e9, own = own_seconds() - own_before;
    for (int i = 0; i < options.trees; i++) after[i] = tree_usage(options.pids[i]);
    window_open = 0, ending = 1;
    unsigned long late_then = late;
    sample_memory();
    serve(now() + ns(options.drain), start);
    printf("{\"seconds\":%.3f,\"answered\":%lu,\"requests\":%lu,\"events\":%lu,\"errors\":%lu,\"first_error\":\"%s\",\"unfinished\":%d,\"late\":%lu,"
           "\"most_running\":%d,\"own_busy\":%.3f", took, answered_count, requests, events, errors, first_error, running, late_then, most_running, own / took);
    print_trees(before, after);
    printf(",\"rss_kib\":{\"before\":%ld,\"begin\":%ld,\"end\":%ld,\"highest\":%ld}", rss_at_first,
           options.trees ? before[0].rss_kib : 0, options.trees ? after[0].rss_kib : 0, highest_rss_kib);
    print_quantiles("age_us", &ages);
    print_quantiles("first_age_us", &first_ages);
    print_quantiles("first_event_us", &first_events);
    print_quantiles("total_us", &totals);
    printf(",\"left\":[");
    for (unsigned long i = 0; i < left_len; i++) printf("%s[%lu,%lu]", i ? "," : "", left_streams[i].stream, (unsigned long)left_streams[i].at);
    puts("]}");
    return 0;
}
