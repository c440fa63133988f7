/* Records what a process does to the files of one folder, in order: see power_cut.py, which cuts the record anywhere.
 *
 * gcc -shared -fPIC -o recorder.so recorder.c -ldl; LD_PRELOAD=recorder.so RECORD_FOLDER=... RECORD_ACKS=... RECORD_TO=...
 * A record: kind, descriptor, offset, length, then as many bytes of data. A sync is written down when it has returned,
 * everything else before it is done.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 1024
enum { NOT_OURS, OURS, FOLDER, ACKS };

static char folder[PATH_MAX], acks[PATH_MAX];
static char kinds[DESCRIPTORS];
static int record = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    strcpy(folder, getenv("RECORD_FOLDER"));
    strcpy(acks, getenv("RECORD_ACKS"));
    record = syscall(SYS_open, getenv("RECORD_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, int descriptor, uint64_t offset, const void *data, uint32_t length) {
    struct __attribute__((packed)) { char kind; int32_t descriptor; uint64_t offset; uint32_t length; } head =
        {kind, descriptor, offset, length};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
    pthread_mutex_lock(&turn);
    syscall(SYS_writev, record, parts, 2);
    pthread_mutex_unlock(&turn);
}

static int kind_of(int descriptor) {
    return descriptor >= 0 && descriptor < DESCRIPTORS ? kinds[descriptor] : NOT_OURS;
}

static const char *inside(const char *path) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

static int opened(int descriptor, const char *path, int flags) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return descriptor;
    const char *name = inside(path);
    kinds[descriptor] = name ? OURS : strcmp(path, folder) == 0 ? FOLDER : strcmp(path, acks) == 0 ? ACKS : NOT_OURS;
    if (name) note('O', descriptor, flags & O_TRUNC ? 1 : 0, name, strlen(name));
    return descriptor;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
        return opened(REAL(name)(path, flags, mode), path, flags); }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
        return opened(REAL(name)(at, path, flags, mode), path, flags); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

#define PWRITE(name, off) \
    ssize_t name(int descriptor, const void *data, size_t length, off offset) { \
        if (kind_of(descriptor) == OURS) note('W', descriptor, offset, data, length); \
        return REAL(name)(descriptor, data, length, offset); }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t length) {
    if (kind_of(descriptor) == OURS) note('W', descriptor, lseek(descriptor, 0, SEEK_CUR), data, length);
    if (kind_of(descriptor) == ACKS) note('A', descriptor, 0, data, length);
    return REAL(write)(descriptor, data, length);
}

#define TRUNCATE(name, off) \
    int name(int descriptor, off length) { \
        if (kind_of(descriptor) == OURS) note('T', descriptor, length, "", 0); \
        return REAL(name)(descriptor, length); }
TRUNCATE(ftruncate, off_t) TRUNCATE(ftruncate64, off64_t)

#define ALLOCATE(name, off) \
    int name(int descriptor, off offset, off length) { \
        if (kind_of(descriptor) == OURS) note('L', descriptor, offset + length, "", 0); \
        return REAL(name)(descriptor, offset, length); }
ALLOCATE(posix_fallocate, off_t) ALLOCATE(posix_fallocate64, off64_t)

#define SYNC(name) \
    int name(int descriptor) { \
        int result = REAL(name)(descriptor); \
        if (result == 0 && kind_of(descriptor) == OURS) note('S', descriptor, 0, "", 0); \
        if (result == 0 && kind_of(descriptor) == FOLDER) note('D', descriptor, 0, "", 0); \
        return result; }
SYNC(fsync) SYNC(fdatasync)

int rename(const char *from, const char *to) {
    char both[2 * PATH_MAX];
    if (inside(from)) note('R', 0, 0, both, sprintf(both, "%s/%s", inside(from), inside(to)));
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (inside(path)) note('U', 0, 0, inside(path), strlen(inside(path)));
    return REAL(unlink)(path);
}
