// handshakes PORT SECONDS CLIENTS new|resumed 1.2|1.3: sets up TLS sessions with 127.0.0.1:PORT, one after the other in each of CLIENTS
// processes, for so many seconds, and prints how many there were, how many of them were resumed, and the processor time that the clients
// took. In each the greeting is read and QUIT is said.
//
// As light as OpenSSL lets a client be, so that it is the server that is measured: one context for all, X25519 for keys, no certificate
// verified, no session kept but the one to resume.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct count { long made, resumed; } *counts;
static SSL_SESSION *kept;

static void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int keep(SSL *session, SSL_SESSION *new) {
    (void)session;
    if (kept) return 0;
    kept = new;
    return 1;
}

/// Whether it was resumed.
static int set_up(SSL_CTX *context, const struct sockaddr_in *address) {
    int descriptor = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (descriptor < 0 || connect(descriptor, (const struct sockaddr *)address, sizeof *address)) fail("connect");
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SSL *session = SSL_new(context);
    SSL_set_fd(session, descriptor);
    if (kept) SSL_set_session(session, kept);
    char reply[512];
    if (SSL_connect(session) != 1) fail("handshake");
    if (SSL_read(session, reply, sizeof reply) < 3 || memcmp(reply, "220", 3)) fail("greeting");
    // The server closes first: no port of the clients' waits for a minute.
    if (SSL_write(session, "QUIT\r\n", 6) != 6) fail("QUIT");
    while (SSL_read(session, reply, sizeof reply) > 0) continue;
    int resumed = SSL_session_reused(session);
    // However the server ended, the session may be resumed.
    SSL_set_shutdown(session, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(session);
    close(descriptor);
    return resumed;
}

int main(int argc, char **argv) {
    if (argc != 6) return 64;
    double seconds = atof(argv[2]);
    int clients = atoi(argv[3]), resumes = !strcmp(argv[4], "resumed"), version = strcmp(argv[5], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    counts = mmap(NULL, clients * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    // P-256 for the certificate, which TLS 1.2 wants among them.
    SSL_CTX_set1_groups_list(context, "X25519:P-256");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (resumes) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep);
        set_up(context, &address);
        if (!kept) fail("no session to resume");
        // Else OpenSSL would use a ticket of TLS 1.3 once only.
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
    double end = now() + seconds;
    for (int number = 0; number < clients; number++) {
        if (fork()) continue;
        while (now() < end) {
            counts[number].resumed += set_up(context, &address);
            counts[number].made++;
        }
        exit(0);
    }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    long made = 0, resumed = 0;
    for (int number = 0; number < clients; number++) made += counts[number].made, resumed += counts[number].resumed;
    printf("%ld %ld %.2f\n", made, resumed, usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    return failed != 0;
}
