// Loaded before libc into a process of a test: one write of it to a certain file takes fewer bytes than it was given, for real.
//
//   SHORT_MATCH   part of the file's path
//   SHORT_WHEN    the how-manieth write to such files is short; with a + behind it, all from there on
//   SHORT_BYTES   how many bytes it takes at most
//   SHORT_MET     a file that gets a byte for each short write

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_meant(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, getenv("SHORT_MATCH")) != NULL;
}

static size_t taken(int fd, size_t count) {
    static int seen;
    const char *when = getenv("SHORT_WHEN");
    if (!when || !is_meant(fd)) return count;
    int wanted = atoi(when), now = ++seen;
    size_t most = strtoul(getenv("SHORT_BYTES"), NULL, 10);
    if ((now != wanted && !(now > wanted && strchr(when, '+'))) || count <= most) return count;
    int met = open(getenv("SHORT_MET"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (syscall(1, met, "!", 1) != 1) abort();
    close(met);
    return most;
}

ssize_t write(int fd, const void *data, size_t count) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return next(fd, data, taken(fd, count));
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    return next(fd, data, taken(fd, count), at);
}
