/* Records what a server writes and syncs, so that a test can cut its files back to what a power cut would leave.
 *
 *   cc -shared -fPIC -O1 -o recorder.so recorder.c
 *   LD_PRELOAD=recorder.so POWER_CUT_LOG=<file> POWER_CUT_ROOT=<folder> server ...
 *
 * Each record goes to the log with one append, after the call and before it returns to the server, so whatever happens
 * after a call is recorded after it. A sync also says how long the log was when it began: only what was recorded before
 * that is surely covered by it. Only regular files on the root's device are recorded. Calls made inside libc
 * (stdio) are not seen, but for fopen and fwrite where POWER_CUT_STDIO is set: Valkey rewrites its append-only file that
 * way. Such a file is then unbuffered, so that what is recorded as written has left the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, SYNC, RENAME, UNLINK, TRUNCATE, MKDIR, SYNC_FOLDER, EXTEND };

struct header { /* as power_cut.py reads it: <IB3xQqq */
    uint32_t payload_bytes;
    uint8_t op;
    uint8_t pad[3];
    uint64_t inode;
    int64_t number; /* offset, size or flags */
    int64_t begin;  /* of a sync: length of the log when it began */
};

static int log_fd = -1;
static dev_t device;
static int stdio_too;
static FILE *(*libc_fopen)(const char *, const char *);
static size_t (*libc_fwrite)(const void *, size_t, size_t, FILE *);

__attribute__((constructor)) static void begin_recording(void) {
    const char *log = getenv("POWER_CUT_LOG"), *root = getenv("POWER_CUT_ROOT");
    struct stat st;
    libc_fopen = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    libc_fwrite = (size_t(*)(const void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fwrite");
    if (!log || !root || stat(root, &st)) return;
    device = st.st_dev;
    stdio_too = getenv("POWER_CUT_STDIO") != NULL;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND, 0);
    /* A high number, so that servers which close all low descriptors leave it alone. */
    if (fd >= 0) {
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, fd);
    }
}

static int64_t log_length(void) {
    struct stat st;
    return log_fd >= 0 && !fstat(log_fd, &st) ? st.st_size : 0;
}

static void record(int op, uint64_t inode, int64_t number, int64_t begin, const struct iovec *data, int n, size_t size) {
    if (log_fd < 0) return;
    int saved = errno;
    struct iovec parts[130];
    size_t left = size;
    int used = 1;
    for (int i = 0; i < n && left > 0 && used < 130; i++) {
        size_t take = data[i].iov_len < left ? data[i].iov_len : left;
        parts[used].iov_base = data[i].iov_base;
        parts[used++].iov_len = take;
        left -= take;
    }
    struct header head = {(uint32_t)(size - left), (uint8_t)op, {0}, inode, number, begin};
    parts[0].iov_base = &head;
    parts[0].iov_len = sizeof head;
    if (syscall(SYS_writev, log_fd, parts, used) != (long)(sizeof head + size - left) || left > 0) abort();
    errno = saved;
}

static int ours(int fd, struct stat *st) {
    int saved = errno;
    int yes = log_fd >= 0 && fd != log_fd && !fstat(fd, st) && st->st_dev == device;
    errno = saved;
    return yes;
}

/* "dir/path" made absolute into out; its length, or 0. */
static size_t absolute(int dir, const char *path, char *out) {
    char folder[PATH_MAX], link[64];
    if (path[0] == '/') return (size_t)snprintf(out, PATH_MAX, "%s", path);
    if (dir == AT_FDCWD) {
        if (!getcwd(folder, sizeof folder)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t n = readlink(link, folder, sizeof folder - 1);
        if (n <= 0) return 0;
        folder[n] = 0;
    }
    return (size_t)snprintf(out, PATH_MAX, "%.2000s/%.2000s", folder, path);
}

static void record_path(int op, uint64_t inode, int64_t number, int64_t begin, int dir, const char *path) {
    char whole[PATH_MAX];
    int saved = errno;
    size_t size = absolute(dir, path, whole);
    struct iovec part = {whole, size};
    if (size) record(op, inode, number, begin, &part, 1, size);
    errno = saved;
}

static int opened(int dir, const char *path, int flags, mode_t mode) {
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    struct stat st;
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)) && ours(fd, &st) && S_ISREG(st.st_mode))
        record_path(OPEN, st.st_ino, (flags & O_TRUNC) != 0, 0, dir, path);
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags, mode) return opened(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags, mode) return opened(dir, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* A write at the descriptor's own place ended where the place is now; O_APPEND included. */
static void wrote(int fd, int64_t offset, const struct iovec *data, int n, ssize_t size) {
    struct stat st;
    if (size <= 0 || !ours(fd, &st) || !S_ISREG(st.st_mode)) return;
    if (offset < 0) offset = (int64_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) - size;
    record(WRITE, st.st_ino, offset, 0, data, n, (size_t)size);
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t done = syscall(SYS_write, fd, data, size);
    struct iovec part = {(void *)data, size};
    wrote(fd, -1, &part, 1, done);
    return done;
}
ssize_t writev(int fd, const struct iovec *data, int n) {
    ssize_t done = syscall(SYS_writev, fd, data, n);
    wrote(fd, -1, data, n, done);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
    struct iovec part = {(void *)data, size};
    wrote(fd, offset, &part, 1, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }
ssize_t pwritev64(int fd, const struct iovec *data, int n, off64_t offset) {
    ssize_t done = syscall(SYS_pwritev, fd, data, n, (long)offset, 0L);
    wrote(fd, offset, data, n, done);
    return done;
}
ssize_t pwritev(int fd, const struct iovec *data, int n, off_t offset) { return pwritev64(fd, data, n, offset); }

FILE *fopen(const char *path, const char *mode) {
    if (!libc_fopen) libc_fopen = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");
    FILE *file = libc_fopen(path, mode);
    struct stat st;
    if (stdio_too && file && mode[0] != 'r' && ours(fileno(file), &st) && S_ISREG(st.st_mode)) {
        setvbuf(file, NULL, _IONBF, 0);
        record_path(OPEN, st.st_ino, mode[0] == 'w', 0, AT_FDCWD, path);
    }
    return file;
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    if (!libc_fwrite) libc_fwrite = (size_t(*)(const void *, size_t, size_t, FILE *))dlsym(RTLD_NEXT, "fwrite");
    size_t done = libc_fwrite(data, size, count, file);
    struct iovec part = {(void *)data, size * done};
    if (stdio_too) wrote(fileno(file), -1, &part, 1, (ssize_t)(size * done));
    return done;
}

static int synced(int fd, long call) {
    int64_t begin = log_length();
    int result = (int)syscall(call, fd);
    struct stat st;
    if (result == 0 && ours(fd, &st)) {
        if (S_ISDIR(st.st_mode)) record_path(SYNC_FOLDER, st.st_ino, 0, begin, fd, ".");
        else record(SYNC, st.st_ino, 0, begin, NULL, 0, 0);
    }
    return result;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int ftruncate64(int fd, off64_t size) {
    int result = (int)syscall(SYS_ftruncate, fd, size);
    struct stat st;
    if (result == 0 && ours(fd, &st)) record(TRUNCATE, st.st_ino, size, 0, NULL, 0, 0);
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int extended(int fd, int mode, off64_t offset, off64_t size) {
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, size);
    struct stat st;
    if (result == 0 && mode == 0 && ours(fd, &st)) record(EXTEND, st.st_ino, offset + size, 0, NULL, 0, 0);
    return result;
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return extended(fd, 0, offset, size) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }
int fallocate64(int fd, int mode, off64_t offset, off64_t size) { return extended(fd, mode, offset, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) { return extended(fd, mode, offset, size); }

static int renamed(int dir, const char *from, int to_dir, const char *to) {
    int result = (int)syscall(SYS_renameat2, dir, from, to_dir, to, 0);
    char names[2 * PATH_MAX];
    if (result == 0) {
        int saved = errno;
        size_t first = absolute(dir, from, names);
        size_t second = absolute(to_dir, to, names + first + 1);
        struct iovec part = {names, first + 1 + second};
        if (first && second) record(RENAME, 0, 0, 0, &part, 1, part.iov_len);
        errno = saved;
    }
    return result;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int dir, const char *from, int to_dir, const char *to) { return renamed(dir, from, to_dir, to); }

static int unlinked(int dir, const char *path, int flags) {
    int result = (int)syscall(SYS_unlinkat, dir, path, flags);
    if (result == 0 && !(flags & AT_REMOVEDIR)) record_path(UNLINK, 0, 0, 0, dir, path);
    return result;
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int dir, const char *path, int flags) { return unlinked(dir, path, flags); }

int mkdir(const char *path, mode_t mode) {
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0) record_path(MKDIR, 0, 0, 0, AT_FDCWD, path);
    return result;
}
