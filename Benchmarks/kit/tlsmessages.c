// tlsmessages PORT SESSIONS MESSAGES RECIPIENT SIZE: sends MESSAGES of SIZE octets to RECIPIENT at 127.0.0.1:PORT from SESSIONS
// processes at once, each in one session after STARTTLS, and prints the processor time that they took. Fails where anything is refused.
//
// A transaction is two writes: MAIL, RCPT and DATA in one, which PIPELINING allows, then the content. No certificate is verified.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int descriptor;
static SSL *session;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void say(const char *octets, int count) {
    int written = session ? SSL_write(session, octets, count) : (int)write(descriptor, octets, count);
    if (written != count) fail("a write failed");
}

/// Reads until so many replies are there, of several lines each or of one, and checks that none refuses.
static void hear(int replies) {
    static char said[65536];
    int count = 0, start = 0;
    while (replies > 0) {
        int more = session ? SSL_read(session, said + count, sizeof said - 1 - count) : (int)read(descriptor, said + count, sizeof said - 1 - count);
        if (more <= 0) fail("the server closed the connection");
        count += more;
        said[count] = 0;
        for (char *end; (end = strstr(said + start, "\r\n")); start = (int)(end - said) + 2) {
            if (said[start] != '2' && said[start] != '3') fail(said + start);
            if (said[start + 3] == ' ') replies--;
        }
    }
}

static void send_messages(SSL_CTX *context, int port, int messages, const char *recipient, const char *content, int size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0 || connect(descriptor, (const struct sockaddr *)&address, sizeof address)) fail("no connection");
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    hear(1);
    say("EHLO client.example.net\r\n", 25);
    hear(1);
    say("STARTTLS\r\n", 10);
    hear(1);
    SSL *made = SSL_new(context);
    SSL_set_fd(made, descriptor);
    if (SSL_connect(made) != 1) fail("handshake");
    session = made;
    say("EHLO client.example.net\r\n", 25);
    hear(1);
    char envelope[1024];
    int length = snprintf(envelope, sizeof envelope, "MAIL FROM:<sender@example.net>\r\nRCPT TO:<%s>\r\nDATA\r\n", recipient);
    while (messages-- > 0) {
        say(envelope, length);
        hear(3);
        say(content, size);
        hear(1);
    }
    say("QUIT\r\n", 6);
    hear(1);
}

int main(int argc, char **argv) {
    if (argc != 6) return 64;
    int sessions = atoi(argv[2]) > 0 ? atoi(argv[2]) : 1, messages = atoi(argv[3]), size = atoi(argv[5]), status, failed = 0;
    char *content = malloc(size + 128);
    int length = sprintf(content, "Subject: x\r\n\r\n");
    while (length < size) length += sprintf(content + length, "%.*s\r\n", 76, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    length += sprintf(content + length, ".\r\n");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    for (int number = 0; number < sessions; number++) {
        pid_t child = fork();
        if (child < 0) fail("no process");
        if (child) continue;
        send_messages(context, atoi(argv[1]), messages / sessions, argv[4], content, length);
        exit(0);
    }
    while (wait(&status) > 0) failed |= status;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("%.2f\n", usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    return failed != 0;
}
