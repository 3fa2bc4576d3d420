/* A custom runtime in C: the Runtime API over one socket, and nothing else. The event says what it does. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];
static int api;

static void give_up(const char *why) {
    perror(why);
    exit(1);
}

static void connect_to(const char *address) {
    char host[64];
    const char *colon = strrchr(address, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(colon + 1))};
    inet_pton(AF_INET, host, &there.sin_addr);
    api = socket(AF_INET, SOCK_STREAM, 0);
    if (api < 0 || connect(api, (struct sockaddr *)&there, sizeof there) < 0) give_up("connect");
}

/* Sends a request; returns the body of the answer, whose head is at the beginning of the buffer. */
static char *ask(const char *method, const char *path, const char *headers, const char *body) {
    int length = snprintf(buffer, sizeof buffer, "%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
                          method, path, getenv("AWS_LAMBDA_RUNTIME_API"), headers, strlen(body), body);
    if (write(api, buffer, (size_t)length) != length) give_up("write");
    size_t have = 0, need = 0;
    char *start = NULL;
    while (start == NULL || have < need) {
        ssize_t got = read(api, buffer + have, sizeof buffer - 1 - have);
        if (got <= 0) give_up("read");
        have += (size_t)got;
        buffer[have] = 0;
        if (start == NULL && (start = strstr(buffer, "\r\n\r\n")) != NULL) {
            start += 4;
            need = (size_t)(start - buffer) + strtoul(strcasestr(buffer, "content-length:") + 15, NULL, 10);
        }
    }
    return start;
}

int main(void) {
    char path[256], id[64], answer[4096], event[2048];
    int invocations = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    connect_to(getenv("AWS_LAMBDA_RUNTIME_API"));
    if (getenv("FAIL_INIT")) {
        ask("POST", "init/error", "Lambda-Runtime-Function-Error-Type: C.Init\r\n",
            "{\"errorMessage\":\"cannot start\",\"errorType\":\"C.Init\"}");
        return 1;
    }
    for (;;) {
        char *body = ask("GET", "invocation/next", "", "");
        sscanf(strcasestr(buffer, "lambda-runtime-aws-request-id:") + 30, " %63[^\r]", id);
        snprintf(event, sizeof event, "%s", body);
        invocations++;
        if (strstr(event, "print")) printf("a line of C in %s\n", getenv("_HANDLER"));
        if (strstr(event, "crash")) abort();
        if (strstr(event, "fail")) {
            snprintf(path, sizeof path, "invocation/%s/error", id);
            ask("POST", path, "Lambda-Runtime-Function-Error-Type: C.Failure\r\n",
                "{\"errorMessage\":\"it failed\",\"errorType\":\"C.Failure\"}");
        } else {
            snprintf(path, sizeof path, "invocation/%s/response", id);
            snprintf(answer, sizeof answer, "{\"event\":%s,\"invocations\":%d,\"directory\":\"%s\"}", event, invocations,
                     getenv("LAMBDA_TASK_ROOT"));
            ask("POST", path, "Content-Type: application/json\r\n", answer);
        }
    }
}
