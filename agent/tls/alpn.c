/* A server's choice among the protocols that a client offers (RFC 7301 section 3.2), as SSL_CTX_set_alpn_select_cb(3) calls it.
 *
 * It is C because a callback that is Python takes memory that is written and executed (libffi's closures), which a worker may
 * not have: systemd's MemoryDenyWriteExecute=. It calls nothing of OpenSSL, so it does not matter which OpenSSL calls it. */

#include <string.h>

enum { OK = 0, ALERT_FATAL = 2 }; /* SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL of tls1.h */

/* `wanted`: the one name that is spoken here, behind a byte with its length, as each name in `offered` stands. */
static int hg_choose_protocol(void *session, const unsigned char **chosen, unsigned char *chosen_size, const unsigned char *offered,
                              unsigned int size, void *wanted)
{
    const unsigned char *name = wanted;
    unsigned int at = 0;
    (void)session;
    while (at < size) {
        unsigned int length = offered[at];
        if (length >= size - at)
            break; /* OpenSSL passes on whole lists only */
        if (length == name[0] && memcmp(offered + at + 1, name + 1, length) == 0) {
            *chosen = offered + at + 1;
            *chosen_size = (unsigned char)length;
            return OK;
        }
        at += 1 + length;
    }
    return ALERT_FATAL;
}

/* As a number: the caller's types are those of another library's bindings. */
size_t hg_protocol_chooser(void)
{
    return (size_t)hg_choose_protocol;
}
