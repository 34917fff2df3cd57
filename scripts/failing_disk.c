/* A disk that fails, for scripts/campaign.py: cc -shared -fPIC -o failing_disk.so failing_disk.c -ldl
 *
 * FAILING_DISK=CALL:N:ERROR:COUNT makes COUNT calls from the N-th on fail with ERROR (a number); CALL is
 * write, fsync, rename, open or mkdir. Only regular files below FAILING_DISK_ROOT count.
 * FAILING_DISK_LOG gets a line for each such call (C call), each write (W inode) and each sync (S inode).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME, OPEN, MKDIR, CALLS };
static const char *NAMES[CALLS] = {"write", "fsync", "rename", "open", "mkdir"};
static long counts[CALLS];
static int which = -1, error_number, log_fd = -1;
static long first, last;
static char root[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *below = getenv("FAILING_DISK_ROOT"), *fail = getenv("FAILING_DISK");
    const char *log = getenv("FAILING_DISK_LOG");
    if (!below || !realpath(below, root)) root[0] = 0;
    if (log) log_fd = syscall(SYS_open, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    char call[16];
    long count;
    if (fail && sscanf(fail, "%15[a-z]:%ld:%d:%ld", call, &first, &error_number, &count) == 4) {
        for (int i = 0; i < CALLS; i++)
            if (!strcmp(call, NAMES[i])) which = i;
        last = first + count;
    }
}

static void say(const char *line, int length) {
    if (log_fd >= 0) syscall(SYS_write, log_fd, line, length);
}

static int is_below(const char *path) {
    size_t n = strlen(root);
    return n && !strncmp(path, root, n);
}

static int path_counts(const char *path) {
    char whole[PATH_MAX * 2], cwd[PATH_MAX];
    if (path[0] == '/') return is_below(path);
    if (!getcwd(cwd, sizeof cwd)) return 0;
    snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    return is_below(whole);
}

static int file_counts(int fd, struct stat *found) {
    char link[64], path[PATH_MAX];
    if (fstat(fd, found) || !(S_ISREG(found->st_mode) || S_ISDIR(found->st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

static int fails(int call) {
    long now = __atomic_add_fetch(&counts[call], 1, __ATOMIC_SEQ_CST);
    char line[32];
    say(line, snprintf(line, sizeof line, "C %s\n", NAMES[call]));
    if (call != which || now < first || now >= last) return 0;
    errno = error_number;
    return 1;
}

static void note(char what, const struct stat *file) {
    char line[64];
    say(line, snprintf(line, sizeof line, "%c %lu\n", what, (unsigned long)file->st_ino));
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int write_fails(int fd) {
    struct stat file;
    if (!file_counts(fd, &file)) return 0;
    if (fails(WRITE)) return 1;
    note('W', &file);
    return 0;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return write_fails(fd) ? -1 : REAL(write)(fd, bytes, count);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_fails(fd) ? -1 : REAL(writev)(fd, parts, count);
}
ssize_t copy_file_range(int in, off_t *a, int out, off_t *b, size_t count, unsigned flags) {
    return write_fails(out) ? -1 : REAL(copy_file_range)(in, a, out, b, count, flags);
}

static int sync_fails(int fd) {
    struct stat file;
    if (!file_counts(fd, &file)) return 0;
    if (fails(FSYNC)) return 1;
    return 0;
}
static void synced(int fd, int result) {
    struct stat file;
    if (!result && file_counts(fd, &file)) note('S', &file);
}
int fsync(int fd) {
    if (sync_fails(fd)) return -1;
    int result = REAL(fsync)(fd);
    synced(fd, result);
    return result;
}
int fdatasync(int fd) {
    if (sync_fails(fd)) return -1;
    int result = REAL(fdatasync)(fd);
    synced(fd, result);
    return result;
}

int rename(const char *from, const char *to) {
    return path_counts(to) && fails(RENAME) ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return path_counts(path) && fails(MKDIR) ? -1 : REAL(mkdir)(path, mode);
}

static int open_fails(const char *path, int flags) {
    return flags & (O_WRONLY | O_RDWR) && path_counts(path) && fails(OPEN);
}
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return open_fails(path, flags) ? -1 : REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return open_fails(path, flags) ? -1 : REAL(open64)(path, flags, mode);
}
