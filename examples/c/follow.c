/*
 * Follows a linewatch service: prints defects and alarms, fetches what it missed, and says when nobody inspects.
 *
 *   cc -std=c11 -Wall -Wextra -Werror -O2 -o follow follow.c -lzmq -ljansson     (Debian: libzmq3-dev, libjansson-dev)
 *   ./follow tcp://127.0.0.1:5570 tcp://127.0.0.1:5571                           ([wire] publish and serve)
 *
 * docs/wire.md describes the protocol. A service with keys asks for CURVE as well: set ZMQ_CURVE_SERVERKEY,
 * ZMQ_CURVE_PUBLICKEY and ZMQ_CURVE_SECRETKEY on both sockets before they connect.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { SCHEMA_VERSION = 1, POLL_MS = 100, ANSWER_MS = 5000, SILENCE_MS = 1000, MAX_PARTS = 3 };
static const int MAX_MESSAGE_BYTES = 12 << 20;

/* Where this consumer stands in a topic: it has every message before (epoch, next). */
struct topic {
    const char *name;
    json_int_t epoch, next; /* epoch 0: none was heard yet */
};

static struct topic topics[] = {{"defect", 0, 0}, {"alarm", 0, 0}};
enum { TOPICS = sizeof topics / sizeof *topics };

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Connects a socket; ends the program where that cannot be. */
static void *open_socket(void *context, int kind, const char *endpoint) {
    void *socket = zmq_socket(context, kind);
    int linger = 0;
    int64_t most = MAX_MESSAGE_BYTES;
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) ||
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) || zmq_connect(socket, endpoint)) {
        fprintf(stderr, "cannot connect to %s: %s; expected tcp://HOST:PORT or ipc://PATH\n", endpoint,
                zmq_strerror(zmq_errno()));
        exit(3);
    }
    return socket;
}

/*
 * Parses a header. Unknown keys are of a later minor version, and are ignored: nothing here asks for them. Returns NULL
 * for what is no message of this schema version.
 */
static json_t *parse(zmq_msg_t *part) {
    json_t *header = json_loadb(zmq_msg_data(part), zmq_msg_size(part), 0, NULL);
    if (json_integer_value(json_object_get(header, "schema_version")) != SCHEMA_VERSION) {
        json_decref(header);
        return NULL;
    }
    return header;
}

static const char *text(const json_t *header, const char *key) {
    const char *value = json_string_value(json_object_get(header, key));
    return value == NULL ? "" : value;
}

static double number(const json_t *header, const char *key, size_t at) {
    const json_t *value = json_object_get(header, key);
    return json_number_value(json_is_array(value) ? json_array_get(value, at) : value);
}

static void show(const json_t *header) {
    if (strcmp(text(header, "topic"), "defect") == 0)
        printf("defect %s %s at %.3f-%.3f m, %.1f mm2\n", text(header, "state"), text(header, "defect_class"),
               number(header, "along_mm", 0) / 1000, number(header, "along_mm", 1) / 1000,
               number(header, "area_mm2", 0));
    else
        printf("alarm %s %s: %s\n", text(header, "state"), text(header, "rule"), text(header, "text"));
}

/* Receives the parts of one message, and drops those beyond `most`. Returns how many there are. */
static int receive(void *socket, zmq_msg_t *parts, int most) {
    int count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            break;
        }
        more = zmq_msg_more(&part);
        if (count < most) {
            zmq_msg_init(&parts[count]);
            zmq_msg_move(&parts[count], &part);
        }
        zmq_msg_close(&part);
        count++;
    }
    return count;
}

static void close_parts(zmq_msg_t *parts, int count) {
    for (int i = 0; i < count; i++) zmq_msg_close(&parts[i]);
}

/* Says that the messages before `end` cannot be had, and moves on. */
static void lose(struct topic *topic, json_int_t end) {
    if (topic->next < end)
        printf("lost %s %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT "\n", topic->name, topic->next, end - 1);
    topic->next = end;
}

/* Shows one message and moves on. What lies between is no longer in the journal. */
static void take(struct topic *topic, const json_t *header) {
    json_int_t sequence = json_integer_value(json_object_get(header, "sequence"));
    lose(topic, sequence);
    topic->next = sequence + 1;
    show(header);
}

/* Fetches [next, end) of a topic from the journal, page by page. What cannot be had is told as lost. */
static void fetch(void *context, const char *serve, struct topic *topic, json_int_t end) {
    while (topic->next < end) {
        void *socket = open_socket(context, ZMQ_REQ, serve); /* a new one: an answer that came late belongs to nobody */
        json_t *request =
            json_pack("{s:i, s:s, s:i, s:s, s:I, s:I, s:I}", "schema_version", SCHEMA_VERSION, "request", "replay", "id",
                      1, "topic", topic->name, "epoch", topic->epoch, "from_sequence", topic->next, "to_sequence", end);
        char *body = json_dumps(request, JSON_COMPACT);
        json_int_t before = topic->next;
        zmq_pollitem_t item = {socket, 0, ZMQ_POLLIN, 0};
        zmq_msg_t part;
        bool more = false;
        zmq_send(socket, body, strlen(body), 0);
        if (zmq_poll(&item, 1, ANSWER_MS) > 0) {
            int at = 0;
            do { /* the reply's header, then topic, header and payload of each message */
                zmq_msg_init(&part);
                if (zmq_msg_recv(&part, socket, 0) < 0) break;
                if (at == 0 || at % 3 == 2) {
                    json_t *header = parse(&part);
                    if (at > 0 && header != NULL) take(topic, header);
                    json_decref(header);
                }
                more = zmq_msg_more(&part);
                zmq_msg_close(&part);
                at++;
            } while (more);
        }
        free(body);
        json_decref(request);
        zmq_close(socket);
        if (topic->next == before) lose(topic, end); /* gone from the journal, or no answer */
    }
}

/* Brings a topic up to (epoch, end), which the service has told of. */
static void catch_up(void *context, const char *serve, struct topic *topic, json_int_t epoch, json_int_t end) {
    if (topic->epoch == 0) { /* begin with the service's present start */
        topic->epoch = epoch;
    } else if (topic->epoch != epoch) {
        printf("the service was started anew: the end of epoch %" JSON_INTEGER_FORMAT " of %s is not fetched here\n",
               topic->epoch, topic->name);
        topic->epoch = epoch, topic->next = 0;
    }
    fetch(context, serve, topic, end);
}

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: %s PUBLISH SERVE, for example tcp://127.0.0.1:5570 tcp://127.0.0.1:5571\n", *arguments);
        return 2;
    }
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *serve = arguments[2];
    void *context = zmq_ctx_new(), *live = open_socket(context, ZMQ_SUB, arguments[1]);
    zmq_setsockopt(live, ZMQ_SUBSCRIBE, "status", strlen("status"));
    for (int i = 0; i < TOPICS; i++) zmq_setsockopt(live, ZMQ_SUBSCRIBE, topics[i].name, strlen(topics[i].name));

    json_int_t heartbeat = -1;
    int64_t beaten_ms = now_ms();
    bool inspected = true;
    while (!stopped) {
        zmq_pollitem_t item = {live, 0, ZMQ_POLLIN, 0};
        zmq_msg_t parts[MAX_PARTS];
        if (zmq_poll(&item, 1, POLL_MS) > 0) {
            int received = receive(live, parts, MAX_PARTS), kept = received < MAX_PARTS ? received : MAX_PARTS;
            json_t *header = received == MAX_PARTS ? parse(&parts[1]) : NULL;
            if (header == NULL) {
                fprintf(stderr, "a message that schema version %d does not have was left out\n", SCHEMA_VERSION);
            } else {
                json_int_t epoch = json_integer_value(json_object_get(header, "epoch"));
                json_t *sequences = json_object_get(header, "sequences");
                for (int i = 0; i < TOPICS; i++) {
                    if (sequences != NULL) { /* a status: it tells of what nobody sent, too */
                        catch_up(context, serve, &topics[i], epoch,
                                 json_integer_value(json_object_get(sequences, topics[i].name)));
                    } else if (strcmp(text(header, "topic"), topics[i].name) == 0) {
                        json_int_t sequence = json_integer_value(json_object_get(header, "sequence"));
                        catch_up(context, serve, &topics[i], epoch, sequence);
                        if (sequence == topics[i].next) take(&topics[i], header); /* else: it was fetched already */
                    }
                }
                json_t *beat = json_object_get(header, "heartbeat");
                if (beat != NULL && json_integer_value(beat) != heartbeat) {
                    heartbeat = json_integer_value(beat);
                    beaten_ms = now_ms();
                }
            }
            json_decref(header);
            close_parts(parts, kept);
        }
        bool inspects = now_ms() - beaten_ms < SILENCE_MS;
        if (inspects != inspected) printf(inspects ? "inspecting\n" : "NOT INSPECTED: the heartbeat stands\n");
        inspected = inspects;
    }
    zmq_close(live);
    zmq_ctx_term(context);
    return 0;
}
