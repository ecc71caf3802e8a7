// OpenSSL 3: TLS and digests.
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <openssl/rand.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

// Macros of OpenSSL, which the importer does not see, as functions.

static inline int valija_SSL_CTX_set_protocols(SSL_CTX *context, int lowest, int highest) {
    return SSL_CTX_set_min_proto_version(context, lowest) && SSL_CTX_set_max_proto_version(context, highest);
}
static inline void valija_SSL_CTX_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }
static inline void valija_SSL_CTX_set_session_cache_mode(SSL_CTX *context, long mode) { SSL_CTX_set_session_cache_mode(context, mode); }
static inline int valija_SSL_CTX_set_groups(SSL_CTX *context, const char *groups) { return SSL_CTX_set1_groups_list(context, groups) == 1; }
static inline int valija_SSL_CTX_add1_chain_cert(SSL_CTX *context, X509 *certificate) {
    return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}
static inline void valija_SSL_CTX_set_servername_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}
static inline int valija_SSL_set_servername(SSL *session, const char *name) { return SSL_set_tlsext_host_name(session, name) == 1; }
static inline int valija_SSL_has_extended_secret(SSL *session) { return SSL_get_extms_support(session) == 1; }

static inline void valija_BIO_set_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void valija_BIO_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

static inline EVP_PKEY *valija_new_P256_key(void) { return EVP_EC_gen("P-256"); }

// The HMAC of a session ticket (SSL_CTX_set_tlsext_ticket_key_evp_cb(3)).
static inline int valija_set_ticket_mac(EVP_MAC_CTX *context, unsigned char *key, size_t length) {
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, length),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(context, parameters);
}
